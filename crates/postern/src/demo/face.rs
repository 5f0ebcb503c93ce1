//! A host of our own on each of the bridge's faces, which says aloud what it says and hears.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use control::hello::LONGEST_LINE;
use control::lines::Lines;
use mcp::memory::Budget;
use mcp::up::{Client, ClientOptions, Upstream, UpstreamEvent, UpstreamOptions};
use mcp::{Kind, LATEST_LEGACY, Message, RequestId};
use model::config::{Proxy, Transport};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::files::random;
use super::world::{SERVER, World};
use crate::context::{Context, VERSION};
use crate::terminal;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One conversation.
pub(super) struct Face {
    way: Way,
    next_id: i64,
}

enum Way {
    Stdio {
        child: Box<Child>,
        stdin: ChildStdin,
        lines: Lines<ChildStdout>,
    },
    Remote {
        upstream: Upstream,
        events: mpsc::Receiver<UpstreamEvent>,
    },
}

impl Face {
    /// Spawns the shim as a host does: with almost no environment.
    pub(super) fn stdio(world: &World, context: &Context) -> anyhow::Result<Self> {
        let mut command = Command::new(&context.program);
        command
            .args(["connect", SERVER, "--home"])
            .arg(world.folder());
        command.env_clear().env("HOME", world.folder());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("the shim cannot be started")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = child.stdout.take().context("no stdout")?;
        Ok(Self::over(Way::Stdio {
            child: Box::new(child),
            stdin,
            lines: Lines::new(stdout, LONGEST_LINE),
        }))
    }

    /// Streamable HTTP.
    pub(super) fn http(url: &str) -> anyhow::Result<Self> {
        Self::remote(url, Transport::Http)
    }

    /// HTTP+SSE.
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
            nonce: random()?.into(),
            memory: Budget::default().account(),
        };
        let (sender, events) = mpsc::channel(16);
        let upstream = Upstream::open(client, options, sender);
        Ok(Self::over(Way::Remote { upstream, events }))
    }

    fn over(way: Way) -> Self {
        Self { way, next_id: 1 }
    }

    pub(super) async fn shake_hands(&mut self) -> anyhow::Result<()> {
        let params = json!({
            "protocolVersion": LATEST_LEGACY,
            "capabilities": {},
            "clientInfo": { "name": "postern-demo", "version": VERSION },
        });
        self.ask("initialize", params).await?;
        self.say(Message::notification("notifications/initialized", None))
            .await
    }

    /// Calls a tool and returns the text of its answer.
    pub(super) async fn call(&mut self, tool: &str, arguments: Value) -> anyhow::Result<String> {
        let params = json!({ "name": tool, "arguments": arguments });
        let result = self.ask("tools/call", params).await?;
        anyhow::ensure!(result["isError"] != true, "{tool} failed");
        let texts = result["content"].as_array().into_iter().flatten();
        Ok(texts
            .filter_map(|content| content["text"].as_str())
            .collect())
    }

    /// Ends the conversation in good order.
    pub(super) async fn end(self) {
        match self.way {
            Way::Stdio {
                mut child, stdin, ..
            } => {
                drop(stdin);
                if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
                    tracing::warn!("the shim did not end with its stdin");
                }
            }
            Way::Remote { upstream, .. } => upstream.close().await,
        }
    }

    async fn ask(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        let id = RequestId::number(self.next_id);
        self.next_id += 1;
        self.say(Message::request(&id, method, Some(params)))
            .await?;
        let answer = tokio::time::timeout(PATIENCE, self.answer(&id));
        let answer = answer
            .await
            .with_context(|| format!("no answer to {method} within {PATIENCE:?}"))??;
        terminal::say(format_args!("  < {}", text(&answer)));
        match (answer.result(), answer.error()) {
            (Some(result), _) => Ok(serde_json::from_str(result.get())?),
            (None, error) => {
                anyhow::bail!("{method} failed: {}", error.map_or("", |error| error.get()))
            }
        }
    }

    async fn say(&mut self, message: Message) -> anyhow::Result<()> {
        terminal::say(format_args!("  > {}", text(&message)));
        match &mut self.way {
            Way::Stdio { stdin, .. } => {
                let mut line = message.line().to_vec();
                line.push(b'\n');
                stdin.write_all(&line).await.context("the shim is gone")
            }
            Way::Remote { upstream, .. } => {
                upstream.send(message, None);
                Ok(())
            }
        }
    }

    async fn answer(&mut self, id: &RequestId) -> anyhow::Result<Message> {
        loop {
            let message = self.hear().await?;
            if matches!(message.kind(), Kind::Response { id: of, .. } if of == id) {
                return Ok(message);
            }
            terminal::say(format_args!("  < {}", text(&message)));
        }
    }

    async fn hear(&mut self) -> anyhow::Result<Message> {
        match &mut self.way {
            Way::Stdio { lines, .. } => {
                let line = lines.next().await?.context("the shim ended")?;
                Ok(Message::parse(line)?)
            }
            Way::Remote { events, .. } => {
                match events.recv().await.context("the connection ended")? {
                    UpstreamEvent::Message { message, .. } => Ok(message),
                    UpstreamEvent::Failed { failure, .. } | UpstreamEvent::Away(failure) => {
                        Err(anyhow::anyhow!("{failure}"))
                    }
                    other => Err(anyhow::anyhow!("not expected: {other:?}")),
                }
            }
        }
    }
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.line()).into_owned()
}
