//! The demo's MCP client, which uses each of the bridge's transports and prints all messages.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use control::hello::MAX_LINE;
use control::lines::Lines;
use mcp::memory::Budget;
use mcp::upstream::{Client, ClientOptions, Upstream, UpstreamEvent, UpstreamOptions};
use mcp::{Kind, LATEST_LEGACY, Message, RequestId};
use model::config::{Proxy, Transport};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::files::SERVER;
use super::stack::DemoStack;
use crate::context::{Context, VERSION};
use crate::random;
use crate::terminal;

/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One session.
pub(super) struct DemoClient {
    connection: Connection,
    next_id: i64,
}

enum Connection {
    Stdio {
        child: Box<Child>,
        stdin: ChildStdin,
        lines: Lines<ChildStdout>,
    },
    Upstream {
        upstream: Upstream,
        events: mpsc::Receiver<UpstreamEvent>,
    },
}

impl DemoClient {
    /// Spawns the shim like a host does: with almost no environment variables.
    pub(super) fn stdio(stack: &DemoStack, context: &Context) -> anyhow::Result<Self> {
        let mut command = Command::new(&context.program);
        command
            .args(["connect", SERVER, "--home"])
            .arg(stack.folder());
        command.env_clear().env("HOME", stack.folder());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("the shim cannot be started")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = child.stdout.take().context("no stdout")?;
        Ok(Self::over(Connection::Stdio {
            child: Box::new(child),
            stdin,
            lines: Lines::new(stdout, MAX_LINE),
        }))
    }

    /// Connects over Streamable HTTP.
    pub(super) fn http(url: &str) -> anyhow::Result<Self> {
        Self::remote(url, Transport::Http)
    }

    /// Connects over HTTP+SSE.
    pub(super) fn sse(url: &str) -> anyhow::Result<Self> {
        Self::remote(url, Transport::Sse)
    }

    fn remote(url: &str, transport: Transport) -> anyhow::Result<Self> {
        let client = Client::new(ClientOptions {
            extra_roots: Vec::new(),
            proxy: Proxy::None,
            max_connections: None,
        })?;
        let options = UpstreamOptions {
            url: url.parse()?,
            transport,
            headers: Vec::new(),
            learned: Arc::default(),
            nonce: random::secret()?.expose_secret().into(),
            memory: Budget::default().account(),
        };
        let (sender, events) = mpsc::channel(16);
        let upstream = Upstream::open(client, options, sender);
        Ok(Self::over(Connection::Upstream { upstream, events }))
    }

    fn over(connection: Connection) -> Self {
        Self {
            connection,
            next_id: 1,
        }
    }

    pub(super) async fn initialize(&mut self) -> anyhow::Result<()> {
        let params = json!({
            "protocolVersion": LATEST_LEGACY,
            "capabilities": {},
            "clientInfo": { "name": "postern-demo", "version": VERSION },
        });
        self.request("initialize", params).await?;
        self.send(Message::notification("notifications/initialized", None))
            .await
    }

    /// Calls a tool and returns the text of its result.
    pub(super) async fn call(&mut self, tool: &str, arguments: Value) -> anyhow::Result<String> {
        let params = json!({ "name": tool, "arguments": arguments });
        let result = self.request("tools/call", params).await?;
        anyhow::ensure!(result["isError"] != true, "{tool} failed");
        let texts = result["content"].as_array().into_iter().flatten();
        Ok(texts
            .filter_map(|content| content["text"].as_str())
            .collect())
    }

    /// Closes the session and waits for its end.
    pub(super) async fn end(self) {
        match self.connection {
            Connection::Stdio {
                mut child, stdin, ..
            } => {
                drop(stdin);
                if tokio::time::timeout(TIMEOUT, child.wait()).await.is_err() {
                    tracing::warn!("the shim did not exit after its stdin was closed");
                }
            }
            Connection::Upstream { upstream, .. } => upstream.close().await,
        }
    }

    async fn request(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        let id = RequestId::number(self.next_id);
        self.next_id += 1;
        self.send(Message::request(&id, method, Some(params)))
            .await?;
        let response = tokio::time::timeout(TIMEOUT, self.response(&id));
        let response = response
            .await
            .with_context(|| format!("no response to {method} within {TIMEOUT:?}"))??;
        terminal::print(format_args!("  < {}", text(&response)));
        match (response.result(), response.error()) {
            (Some(result), _) => Ok(serde_json::from_str(result.get())?),
            (None, error) => {
                anyhow::bail!("{method} failed: {}", error.map_or("", |error| error.get()))
            }
        }
    }

    async fn send(&mut self, message: Message) -> anyhow::Result<()> {
        terminal::print(format_args!("  > {}", text(&message)));
        match &mut self.connection {
            Connection::Stdio { stdin, .. } => {
                let mut line = message.line().to_vec();
                line.push(b'\n');
                stdin.write_all(&line).await.context("the shim has exited")
            }
            Connection::Upstream { upstream, .. } => {
                upstream.send(message, None);
                Ok(())
            }
        }
    }

    async fn response(&mut self, id: &RequestId) -> anyhow::Result<Message> {
        loop {
            let message = self.receive().await?;
            if matches!(message.kind(), Kind::Response { id: of, .. } if of == id) {
                return Ok(message);
            }
            terminal::print(format_args!("  < {}", text(&message)));
        }
    }

    async fn receive(&mut self) -> anyhow::Result<Message> {
        match &mut self.connection {
            Connection::Stdio { lines, .. } => {
                let line = lines.next().await?.context("the shim has exited")?;
                Ok(Message::parse(line)?)
            }
            Connection::Upstream { events, .. } => {
                match events.recv().await.context("the connection ended")? {
                    UpstreamEvent::Message { message, .. } => Ok(message),
                    UpstreamEvent::Failed { failure, .. } | UpstreamEvent::StreamLost(failure) => {
                        Err(anyhow::anyhow!("{failure}"))
                    }
                    other => Err(anyhow::anyhow!("unexpected event: {other:?}")),
                }
            }
        }
    }
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.line()).into_owned()
}
