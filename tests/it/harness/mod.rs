//! The environment of the cases: an Entra, a gateway, a server behind it, a user with a browser,
//! and hosts with their shims.
//!
//! Each of them is the real program in a process of its own. Everything listens on a free loopback
//! port and writes into one folder. All of it ends when the [`Harness`] is dropped.

pub(crate) mod apim_gateway;
pub(crate) mod bridge;
pub(crate) mod browser;
pub(crate) mod desktop;
pub(crate) mod disk;
pub(crate) mod entra;
pub(crate) mod entra_servers;
pub(crate) mod events;
pub(crate) mod fake_browser;
pub(crate) mod fixture;
pub(crate) mod oauth;
pub(crate) mod os_user;
pub(crate) mod program;
pub(crate) mod recording_proxy;
pub(crate) mod relay;
pub(crate) mod secrets;
pub(crate) mod servers;
pub(crate) mod shim;
pub(crate) mod sign_in_pages;
pub(crate) mod upstream;
pub(crate) mod wire;

use std::{future::Future, io, path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use bridge::Bridge;
use browser::Browser;
pub(crate) use servers::Servers;

/// The timeout of every step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Entra, the gateway and its backend, with a folder of their own.
pub(crate) struct Harness {
    pub(crate) servers: Servers,
    folder: TempDir,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-it-")
            .tempdir()
            .expect("a temporary folder");
        let servers = Servers::start(folder.path()).await;
        Self { servers, folder }
    }

    /// Returns a bridge that knows the gateway's server and does not run yet.
    pub(crate) fn bridge(&self) -> Bridge {
        let config = format!(
            "[bridge]\nport = 0\n[servers.snippets]\nurl = \"{}/snippets/mcp\"\n",
            self.servers.gateway_url()
        );
        Bridge::configured(self.folder(), &config)
    }

    /// Signs in at a page that was opened for a sign-in, as a user does.
    pub(crate) async fn sign_in_at(&self, page: &str) {
        let browser = Browser::open().await;
        browser.go_to(page).await;
        sign_in_pages::consent_at_gateway(&browser).await;
        sign_in_pages::sign_in_at_entra(&browser, emulator::demo::ADELE).await;
        sign_in_pages::expect_signed_in(&browser).await;
    }

    /// The folder with everything that the harness writes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Waits for `work`. Panics after [`TIMEOUT`].
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIMEOUT, work).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("{what}: nothing within {} s", TIMEOUT.as_secs()),
    }
}

/// Polls `look` until it returns a value. For conditions that no event reports.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut rounds = tokio::time::interval(Duration::from_millis(30));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    within(what, async {
        loop {
            rounds.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    })
    .await
}

/// Returns a free port for a program that must be told its port.
///
/// The port holds a closed connection in `TIME_WAIT`, so for a minute the system assigns it to no
/// other program that asks for any IPv4 port. The program itself can bind it, because servers set
/// `SO_REUSEADDR`.
pub(crate) async fn free_port() -> u16 {
    let reserve = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut client = TcpStream::connect(address).await?;
        // The side that closes first holds the state. Connections of others are closed.
        while listener.accept().await?.1 != client.local_addr()? {}
        client.read_to_end(&mut Vec::new()).await?;
        io::Result::Ok(address.port())
    };
    within("a port", reserve).await.expect("a free port")
}

/// Returns the claims of a token without verifying it.
pub(crate) fn claims(token: &Value) -> Value {
    let payload = token.as_str().and_then(|token| token.split('.').nth(1));
    let payload = payload.unwrap_or_else(|| panic!("not a JWT: {token}"));
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("claims")
}
