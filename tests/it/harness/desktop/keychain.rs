//! The Secret Service of gnome-keyring, and its lock.

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

/// The title of the password prompt.
pub(crate) const PROMPT: &str = "Unlock Login Keyring";

/// The password that unlocks it.
pub(crate) const PASSWORD: &str = "a password that is typed at login";

/// Removes the key file that other cases use, so that the bridge uses the keychain as on a user's
/// desktop.
pub(super) fn remove_key_file(bridge: &Bridge) {
    fs::remove_file(bridge.root().join("state/vault/key")).expect("the key file");
}

/// The keychain. It stops when it is dropped.
pub(crate) struct Keychain {
    service: Proxy<'static>,
    _process: Child,
}

impl Keychain {
    /// Starts the keychain as a login does: unlocked with the user's password.
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
        session.until_owned(NAME).await;
        Self {
            service: session
                .object(NAME, "/org/freedesktop/secrets", SERVICE)
                .await,
            _process: process,
        }
    }

    /// Locks the default collection, as a screen lock may.
    pub(crate) async fn lock(&self) {
        let collection = self.collection().await;
        let (locked, _): (Vec<OwnedObjectPath>, OwnedObjectPath) = self
            .service
            .call("Lock", &(vec![&collection],))
            .await
            .expect("it locks");
        assert_eq!(locked, [collection]);
    }

    /// Returns the labels of all items.
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
