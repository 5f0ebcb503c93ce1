//! Renews one sign-in in a vault on disk, stores a secret there, and ends: what the case about
//! crashes kills on its way. `renew_once FOLDER URL NOW VALUE`, the time in seconds since 1970.
//! A folder without a sign-in gets the secret alone.

use std::path::Path;
use std::time::{Duration, SystemTime};

use auth::{Identity, IdentityOptions, Program, Target, Vault};
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
        http: auth::http::Clients::new([], &Proxy::None).expect("clients"),
        vault: Vault::file(Path::new(folder)),
        clock: Clock::fixed(SystemTime::UNIX_EPOCH + now),
        program: Program {
            name: "Postern".to_owned(),
            metadata: None,
        },
        is_other_user: |_, _| false,
    });
    let target = Target {
        url: url.parse().expect("a URL"),
        auth: ServerAuth::Discover,
    };
    // A sign-in that is over is the case's to see.
    let _ = identity.authorization(&target).await;
    identity.settled().await;
    let name = "changed".parse().expect("a name");
    let kept = identity.keep_secret(name, value).await;
    kept.expect("a secret is kept");
}
