//! Refreshes one sign-in of a vault on disk, stores a secret there, and ends. The crash tests kill
//! it at random times. `renew_once FOLDER URL NOW VALUE`, with the time in seconds since 1970.
//! Without a sign-in it stores the secret only.

use std::path::Path;
use std::time::{Duration, SystemTime};

use auth::{ClientMetadata, Identity, IdentityOptions, Target, Vault};
use model::Clock;
use model::config::{Proxy, ServerAuth};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, url, now, value] = arguments.as_slice() else {
        panic!("renew_once FOLDER URL NOW VALUE");
    };
    let now = Duration::from_secs(now.parse().expect("seconds"));
    let identity = Identity::new(IdentityOptions {
        http: auth::http::HttpClients::new([], &Proxy::None).expect("clients"),
        vault: Vault::file(Path::new(folder)),
        clock: Clock::fixed(SystemTime::UNIX_EPOCH + now),
        client: ClientMetadata {
            name: "Postern".to_owned(),
            document_url: None,
        },
        is_other_user: |_, _| false,
    });
    let target = Target::new(url.parse().expect("a URL"), ServerAuth::Discover);
    // The test checks an expired sign-in.
    let _ = identity.authorization(&target).await;
    identity.settled().await;
    let name = "changed".parse().expect("a name");
    let kept = identity.keep_secret(name, value).await;
    kept.expect("a secret is kept");
}
