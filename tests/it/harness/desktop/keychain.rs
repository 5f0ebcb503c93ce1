//! The Secret Service, as gnome-keyring provides it, and its lock.

use std::{collections::HashMap, fs, process::Stdio};

use tokio::{io::AsyncWriteExt, process::Child};
use zbus::{
    Proxy,
    zvariant::{OwnedObjectPath, OwnedValue},
};

use super::{
    super::bridge::Bridge,
    session::{Session, object},
};

const NAME: &str = "org.freedesktop.secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const ITEM: &str = "org.freedesktop.Secret.Item";

/// What the question for the password is called.
pub(crate) const PROMPT: &str = "Unlock Login Keyring";

/// What unlocks it.
pub(crate) const PASSWORD: &str = "a password that is typed at login";

/// Leaves the key file behind that other cases have chosen: the keychain is what people have.
pub(super) fn choose(bridge: &Bridge) {
    fs::remove_file(bridge.root().join("state/vault/key")).expect("the key file");
}

/// The keychain. It ends with this value.
pub(crate) struct Keychain {
    service: Proxy<'static>,
    _process: Child,
}

impl Keychain {
    /// Starts it as a login does: unlocked by the person's password.
    pub(crate) async fn start(session: &Session) -> Self {
        let mut process = session.spawn(
            session
                .command("gnome-keyring-daemon")
                .args(["--unlock", "--components=secrets", "--foreground"])
                .stdin(Stdio::piped()),
        );
        let mut input = process.stdin.take().expect("its input");
        input
            .write_all(PASSWORD.as_bytes())
            .await
            .expect("it reads");
        drop(input);
        session.owned(NAME).await;
        Self {
            service: session
                .object(NAME, "/org/freedesktop/secrets", SERVICE)
                .await,
            _process: process,
        }
    }

    /// Locks what is unlocked, as a screen lock may.
    pub(crate) async fn lock(&self) {
        let collection = self.collection().await;
        let (locked, _): (Vec<OwnedObjectPath>, OwnedObjectPath) = self
            .service
            .call("Lock", &(vec![&collection],))
            .await
            .expect("it locks");
        assert_eq!(locked, [collection]);
    }

    /// The labels of what is in it.
    pub(crate) async fn labels(&self) -> Vec<String> {
        let everything: HashMap<&str, &str> = HashMap::new();
        let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) = self
            .service
            .call("SearchItems", &(everything,))
            .await
            .expect("its items");
        let mut labels = Vec::new();
        for path in unlocked.into_iter().chain(locked) {
            let item = object(self.service.connection(), NAME, path.to_string(), ITEM).await;
            let label: OwnedValue = item.get_property("Label").await.expect("a label");
            labels.push(String::try_from(label).expect("a text"));
        }
        labels
    }

    async fn collection(&self) -> OwnedObjectPath {
        self.service
            .call("ReadAlias", &("default",))
            .await
            .expect("a default collection")
    }
}
