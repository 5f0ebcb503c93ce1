//! A running server and clients for it.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const KEY: &str = "a functions key for tests";

/// A server with its own port and its own data folder.
pub(crate) struct Harness {
    pub(crate) url: String,
    pub(crate) folder: tempfile::TempDir,
    shutdown: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: tempfile::TempDir) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let options = snippets::Options {
            functions_key: SecretString::from(KEY),
            data_dir: folder.path().join("data"),
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(snippets::serve(options, listener, shutdown.clone()));
        Self {
            url,
            folder,
            shutdown,
            serving,
        }
    }

    /// Stops the server, which must end without error and in time. Returns its folder.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        soon(self.serving).await.unwrap().unwrap();
        self.folder
    }

    /// Stops this server and starts another one on the same folder.
    pub(crate) async fn restart(self) -> Self {
        Self::start_in(self.stop().await).await
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// Returns an HTTP client that sends the functions key and, if given, a user.
pub(crate) fn http_client(user: Option<&str>) -> reqwest::Client {
    let mut headers = HeaderMap::new();
    headers.insert("x-functions-key", HeaderValue::from_static(KEY));
    if let Some(user) = user {
        headers.insert("x-postern-user", user.parse().unwrap());
    }
    build(headers)
}

/// Returns an HTTP client that sends neither.
pub(crate) fn bare_client() -> reqwest::Client {
    build(HeaderMap::new())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's client, for loopback only"
)]
fn build(headers: HeaderMap) -> reqwest::Client {
    reqwest::Client::builder()
        .default_headers(headers)
        .no_proxy()
        .build()
        .unwrap()
}

/// Fails the test if `future` takes more than ten seconds.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("the future ends within ten seconds")
}

pub(crate) fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

pub(crate) fn initialize(id: u64, version: &str) -> Value {
    let client = json!({ "name": "test", "version": "1" });
    request(
        id,
        "initialize",
        json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client }),
    )
}

/// Returns the text of a tool's result and whether it is an error.
pub(crate) fn outcome(result: &Value) -> (&str, bool) {
    let text = result["content"][0]["text"]
        .as_str()
        .expect("a text result");
    (text, result["isError"].as_bool().unwrap_or(false))
}
