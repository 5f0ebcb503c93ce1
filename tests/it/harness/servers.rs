//! The organisation's side: the emulator as Entra, the gateway, the snippets server behind it.

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

/// The key that the gateway sends to the server behind it.
pub(crate) const FUNCTIONS_KEY: &str = "the-functions-key-of-these-cases";

/// Three servers, with a proxy before the gateway and one before its backend.
pub(crate) struct Servers {
    /// Where clients reach the gateway.
    pub(crate) front: RecordingProxy,
    /// Where the gateway reaches the snippets server.
    pub(crate) back: RecordingProxy,
    /// `{emulator}/{tenant}/v2.0`.
    pub(crate) authority: String,
    gateway: Mutex<Server>,
    _others: [Server; 2],
    folder: PathBuf,
}

impl Servers {
    pub(crate) async fn start(folder: &Path) -> Self {
        let (front, back) = (RecordingProxy::open().await, RecordingProxy::open().await);
        let gateway_url = format!("http://{}", front.address());
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
        back.lead_to(Some(behind));
        let authority = format!("http://{entra_address}/{}/v2.0", demo::TENANT_ID);
        let configuration = gateway_toml(&gateway_url, &authority, back.address());
        fs::write(folder.join("gateway.toml"), configuration).expect("a gateway.toml");
        let gateway = start_gateway(folder, &front).await;
        Self {
            front,
            back,
            authority,
            gateway: Mutex::new(gateway),
            _others: [snippets, entra],
            folder: folder.to_owned(),
        }
    }

    /// Where clients reach the gateway, without a slash at the end.
    pub(crate) fn gateway_url(&self) -> String {
        format!("http://{}", self.front.address())
    }

    /// The process of the gateway.
    pub(crate) async fn gateway_process(&self) -> u32 {
        let gateway = self.gateway.lock().await;
        gateway.process.id().expect("it runs")
    }

    /// Ends the gateway at once, as `kill -9` does.
    pub(crate) async fn kill_gateway(&self) {
        self.gateway.lock().await.kill().await;
    }

    /// Starts it again, where it was.
    pub(crate) async fn restart_gateway(&self) {
        *self.gateway.lock().await = start_gateway(&self.folder, &self.front).await;
    }
}

/// The emulator; a gateway takes its codes at `callback`.
pub(super) async fn start_entra(folder: &Path, callback: &str) -> (Server, SocketAddr) {
    Server::start(folder, "emulator", &["--gateway-callback", callback]).await
}

async fn start_gateway(folder: &Path, front: &RecordingProxy) -> Server {
    let arguments = ["--config", "gateway.toml", "--data-dir", "gateway"];
    let (server, address) = Server::start(folder, "gateway", &arguments).await;
    front.lead_to(Some(address));
    server
}

fn gateway_toml(public: &str, authority: &str, back: SocketAddr) -> String {
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
url = "http://{back}/mcp"
sse_url = "http://{back}/sse"
title = "Snippets"
headers = {{ x-functions-key = "{{{{functions-key}}}}" }}
"#,
        client = demo::GATEWAY_CLIENT_ID,
        secret = demo::GATEWAY_SECRET,
    )
}

/// One of our servers as a process of its own. It ends with this value.
pub(crate) struct Server {
    process: Child,
}

impl Server {
    /// Runs `postern NAME ARGUMENTS` in `folder`, and returns when it listens.
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

/// The address at the start of a text, with or without a scheme.
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
