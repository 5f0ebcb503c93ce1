//! The gateway under test and everything around it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gateway::{Options, Secrets};
use http::StatusCode;
use http::header::AUTHORIZATION;
use model::ManualClock;
use model::config::gateway::GatewayConfig;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::browser::{self, Browser};
use super::client::{Client, Tokens};
use super::identity_provider::{CLIENT_ID, CLIENT_SECRET, IdentityProvider};

pub(crate) const FUNCTIONS_KEY: &str = "canary-functions-key";
/// The redirect URI of most clients here.
pub(crate) const REDIRECT: &str = "http://127.0.0.1:7777/cb";

/// A running gateway, its provider, its backend and the time.
pub(crate) struct World {
    pub(crate) origin: String,
    pub(crate) provider: IdentityProvider,
    pub(crate) backend: Backend,
    pub(crate) clock: ManualClock,
    pub(crate) http: reqwest::Client,
    config: GatewayConfig,
    text: String,
    folder: tempfile::TempDir,
    running: Running,
}

struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    /// Starts a gateway with one server, `snippets`, which is also the root server.
    pub(crate) async fn start() -> Self {
        Self::start_with(|text| text).await
    }

    /// Starts a gateway with a changed `gateway.toml`, in which `{backend}` stands for the backend's
    /// origin.
    pub(crate) async fn start_with(change: impl FnOnce(String) -> String) -> Self {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let provider = IdentityProvider::start(clock.clock()).await;
        let backend = Backend::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let text = change(config(&origin, &provider.authority()));
        let text = text.replace("{backend}", &backend.origin);
        let config = GatewayConfig::parse(&text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(&config, folder.path(), &clock, listener);
        Self {
            origin,
            provider,
            backend,
            clock,
            http: browser::http(),
            config,
            text,
            folder,
            running,
        }
    }

    /// Stops the gateway and starts it again on the same data.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let listener =
            TcpListener::bind(self.config.public_url.url().socket_addrs(|| None).unwrap()[0])
                .await
                .unwrap();
        self.running = Running::start(&self.config, self.folder.path(), &self.clock, listener);
    }

    /// Like [`Self::restart`], with a changed `gateway.toml`.
    pub(crate) async fn restart_with(&mut self, change: impl FnOnce(String) -> String) {
        self.text = change(std::mem::take(&mut self.text));
        self.config = GatewayConfig::parse(&self.text).unwrap();
        self.restart().await;
    }

    /// Stops the gateway gracefully.
    pub(crate) async fn stop(&mut self) {
        self.running.shutdown.cancel();
        (&mut self.running.task).await.unwrap().unwrap();
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Advances the timers without waiting. The clock does not change.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn url_with(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        url::Url::parse_with_params(&self.url(path), parameters)
            .unwrap()
            .into()
    }

    /// Registers a client.
    pub(crate) async fn client(&self) -> Client<'_> {
        Client::register(self, REDIRECT).await
    }

    /// Signs in with a new client in a new browser.
    pub(crate) async fn session(&self) -> (Client<'_>, Tokens) {
        let client = self.client().await;
        let tokens = client.sign_in(&Browser::new()).await;
        (client, tokens)
    }

    pub(crate) async fn get_json(&self, path: &str) -> (StatusCode, Value) {
        json(self.http.get(self.url(path))).await
    }

    pub(crate) async fn get_as(&self, path: &str, token: &str) -> (StatusCode, Value) {
        json(
            self.http
                .get(self.url(path))
                .header(AUTHORIZATION, format!("Bearer {token}")),
        )
        .await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        json(self.http.post(self.url(path)).json(body)).await
    }

    pub(crate) async fn post_form(&self, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        json(self.http.post(self.url(path)).form(form)).await
    }

    /// Posts an MCP message to a server.
    pub(crate) fn mcp(&self, path: &str, token: &str) -> reqwest::RequestBuilder {
        let request = self
            .http
            .post(self.url(path))
            .header(AUTHORIZATION, format!("Bearer {token}"));
        request
            .header("content-type", "application/json")
            .body(MESSAGE)
    }

    /// Opens a stream of a server.
    pub(crate) async fn open(&self, path: &str, token: &str) -> reqwest::Response {
        let request = self.http.get(self.url(path));
        request.bearer_auth(token).send().await.unwrap()
    }

    /// Returns the bytes of a request, with `token` as its authorization unless it is empty.
    pub(crate) fn raw(&self, line: &str, token: &str, form: &str) -> String {
        let host = self.origin.trim_start_matches("http://");
        let authorization = match token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\n{authorization}\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        )
    }

    /// Sends a request and disconnects before the response.
    pub(crate) async fn send_and_leave(&self, request: &str) {
        let host = self.origin.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The gateway closes the connection as soon as it notices.
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(String::from_utf8_lossy(&answer), "");
    }

    /// Returns the `gateway.toml`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Removes a client, as the sweep does.
    pub(crate) fn remove_client(&self, id: &str) {
        let database = rusqlite::Connection::open(self.data_dir().join("gateway.sqlite")).unwrap();
        database
            .execute("DELETE FROM clients WHERE id = ?1", [id])
            .unwrap();
    }

    /// Blocks the store until the transaction of the returned connection ends.
    pub(crate) fn lock_store(&self) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(self.data_dir().join("gateway.sqlite")).unwrap();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        database
    }

    /// Returns the status of an MCP message to the root server.
    pub(crate) async fn mcp_status(&self, token: &str) -> StatusCode {
        self.mcp("/mcp", token).send().await.unwrap().status()
    }
}

/// A message that re-serialising would change.
pub(crate) const MESSAGE: &str =
    "{\"jsonrpc\":\"2.0\", \"id\":1.0,\"method\":\"tools/call\",\"params\":{\"x\":1e2,\"x\":2}}";

impl Running {
    fn start(
        config: &GatewayConfig,
        data_dir: &Path,
        clock: &ManualClock,
        listener: TcpListener,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let options = Options {
            config: config.clone(),
            data_dir: data_dir.to_owned(),
            secrets: Secrets::resolve(config, data_dir, |_| None).unwrap(),
            clock: clock.clock(),
            descriptors: None,
        };
        let task = tokio::spawn(gateway::serve(options, listener, || {}, shutdown.clone()));
        Self { shutdown, task }
    }
}

fn config(origin: &str, authority: &str) -> String {
    format!(
        r#"
version = 1
public_url = "{origin}"
name = "Contoso tools"
root_server = "snippets"

[entra]
authority = "{authority}"
client_id = "{CLIENT_ID}"
client_secret = "{{{{entra}}}}"

[secrets.entra]
value = "{CLIENT_SECRET}"

[secrets.functions-key]
value = "{FUNCTIONS_KEY}"

[servers.snippets]
url = "{{backend}}/mcp"
sse_url = "{{backend}}/sse"
title = "Snippets"
headers = {{ "x-functions-key" = "{{{{functions-key}}}}" }}
"#
    )
}

/// Sends a request. Returns null for a response that is not JSON.
pub(crate) async fn json(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    (status, response.json().await.unwrap_or(Value::Null))
}

impl World {
    /// Returns the data folder of a stopped gateway.
    pub(crate) fn into_folder(self) -> tempfile::TempDir {
        self.folder
    }
}
