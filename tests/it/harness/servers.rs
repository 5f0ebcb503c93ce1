//! The organisation's servers: the emulator as Entra, the gateway, and the snippets server behind
//! it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use emulator::demo;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::Mutex,
};

use super::{program, recording_proxy::RecordingProxy, within};

/// The key that the gateway sends to its backend.
pub(crate) const FUNCTIONS_KEY: &str = "the-functions-key-of-these-cases";

/// The three servers, with a proxy in front of the gateway and of its backend.
pub(crate) struct Servers {
    /// The address at which clients reach the gateway.
    pub(crate) gateway_proxy: RecordingProxy,
    /// The address at which the gateway reaches the snippets server.
    pub(crate) backend_proxy: RecordingProxy,
    /// `{emulator}/{tenant}/v2.0`.
    pub(crate) authority: String,
    gateway: Mutex<Server>,
    _others: [Server; 2],
    folder: PathBuf,
}

impl Servers {
    pub(crate) async fn start(folder: &Path) -> Self {
        let (gateway_proxy, backend_proxy) =
            (RecordingProxy::open().await, RecordingProxy::open().await);
        let gateway_url = format!("http://{}", gateway_proxy.address());
        fs::write(folder.join("functions-key"), FUNCTIONS_KEY).expect("a key");
        let callback = format!("{gateway_url}/oauth-callback");
        let ((snippets, behind), (entra, entra_address)) = tokio::join!(
            Server::start(
                folder,
                "snippets",
                &[
                    "--functions-key-file",
                    "functions-key",
                    "--data-dir",
                    "snippets"
                ],
            ),
            start_entra(folder, &callback),
        );
        backend_proxy.forward_to(Some(behind));
        let authority = format!("http://{entra_address}/{}/v2.0", demo::TENANT_ID);
        let configuration = gateway_toml(&gateway_url, &authority, backend_proxy.address());
        fs::write(folder.join("gateway.toml"), configuration).expect("a gateway.toml");
        let gateway = start_gateway(folder, &gateway_proxy).await;
        Self {
            gateway_proxy,
            backend_proxy,
            authority,
            gateway: Mutex::new(gateway),
            _others: [snippets, entra],
            folder: folder.to_owned(),
        }
    }

    /// Returns the gateway's URL for clients, without a trailing slash.
    pub(crate) fn gateway_url(&self) -> String {
        format!("http://{}", self.gateway_proxy.address())
    }

    /// Returns the gateway's process id.
    pub(crate) async fn gateway_process(&self) -> u32 {
        let gateway = self.gateway.lock().await;
        gateway.process.id().expect("it runs")
    }

    /// Kills the gateway, as `kill -9` does.
    pub(crate) async fn kill_gateway(&self) {
        self.gateway.lock().await.kill().await;
    }

    /// Starts the gateway again at the same address.
    pub(crate) async fn restart_gateway(&self) {
        *self.gateway.lock().await = start_gateway(&self.folder, &self.gateway_proxy).await;
    }
}

/// Starts the emulator for a gateway with this callback.
pub(super) async fn start_entra(folder: &Path, callback: &str) -> (Server, SocketAddr) {
    Server::start(folder, "emulator", &["--gateway-callback", callback]).await
}

async fn start_gateway(folder: &Path, gateway_proxy: &RecordingProxy) -> Server {
    let arguments = ["--config", "gateway.toml", "--data-dir", "gateway"];
    let (server, address) = Server::start(folder, "gateway", &arguments).await;
    gateway_proxy.forward_to(Some(address));
    server
}

fn gateway_toml(public: &str, authority: &str, backend_proxy: SocketAddr) -> String {
    format!(
        r#"
public_url = "{public}"
listen = "127.0.0.1:0"
name = "Contoso MCP gateway"
root_server = "snippets"
trusted_proxies = ["127.0.0.1"]

[entra]
authority = "{authority}"
client_id = "{client}"
client_secret = "{{{{entra}}}}"

[secrets]
entra = {{ value = "{secret}" }}
functions-key = {{ file = "functions-key" }}

[servers.snippets]
url = "http://{backend_proxy}/mcp"
sse_url = "http://{backend_proxy}/sse"
title = "Snippets"
headers = {{ x-functions-key = "{{{{functions-key}}}}" }}
"#,
        client = demo::GATEWAY_CLIENT_ID,
        secret = demo::GATEWAY_SECRET,
    )
}

/// One of our servers as a process of its own. It stops when it is dropped.
pub(crate) struct Server {
    process: Child,
}

impl Server {
    /// Runs `postern NAME ARGUMENTS` in `folder` and returns once it listens.
    pub(crate) async fn start(folder: &Path, name: &str, arguments: &[&str]) -> (Self, SocketAddr) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join(format!("{name}.log")))
            .expect("a log");
        let mut process = Command::new(program::postern())
            .arg(name)
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("POSTERN_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("postern starts");
        let output = process.stdout.take().expect("its output");
        let mut lines = BufReader::new(output).lines();
        let address = loop {
            let line = within(name, lines.next_line()).await.expect("its output");
            let line =
                line.unwrap_or_else(|| panic!("{name} ended; its log is in {}", folder.display()));
            if let Some((_, address)) = line.split_once("listens on ") {
                break address_in(address);
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        (Self { process }, address)
    }

    async fn kill(&mut self) {
        within("its end", self.process.kill())
            .await
            .expect("a process that ran");
    }
}

/// Parses the address at the start of a text, with or without a scheme.
fn address_in(text: &str) -> SocketAddr {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':')
        .unwrap_or(text.len());
    let address = text[..end].trim_end_matches('.');
    address
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}
