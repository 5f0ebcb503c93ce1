//! A host that spawned `postern connect`, with exactly the environment that the SDKs give.

use std::{ffi::OsStr, path::Path, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{bridge::Bridge, program, within};

/// The variables that the official SDKs pass on, and nothing else.
pub(crate) fn environment(bridge: &Bridge) -> [(&'static str, std::ffi::OsString); 6] {
    [
        ("HOME", bridge.root().into()),
        ("LOGNAME", "someone".into()),
        ("PATH", bridge.browser.search_path()),
        ("SHELL", "/bin/sh".into()),
        ("TERM", "dumb".into()),
        ("USER", "someone".into()),
    ]
}

/// The arguments of `postern` that lead to `server`.
pub(crate) fn arguments(server: &str, root: &Path) -> [String; 4] {
    [
        "connect".to_owned(),
        server.to_owned(),
        "--home".to_owned(),
        root.display().to_string(),
    ]
}

/// The shim that leads to `server`, as a host starts it.
pub(crate) fn command(bridge: &Bridge, server: &str) -> Command {
    let arguments = arguments(server, bridge.root());
    configured(bridge, program::postern(), &arguments)
}

/// What a host's configuration says, as a host starts it.
fn configured(
    bridge: &Bridge,
    program: impl AsRef<OsStr>,
    arguments: &[impl AsRef<OsStr>],
) -> Command {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(bridge.root().join("shim.log"))
        .expect("a log");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment(bridge))
        .stderr(log);
    command
}

/// The host's end of the shim.
pub(crate) struct Shim {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    last_id: u64,
    /// What came without being asked for, in order.
    pub(crate) notifications: Vec<Value>,
}

impl Shim {
    /// Spawns the shim.
    pub(crate) fn spawn(bridge: &Bridge, server: &str) -> Self {
        Self::of(command(bridge, server))
    }

    /// Spawns what a host's configuration says.
    pub(crate) fn spawn_program(bridge: &Bridge, program: &str, arguments: &[&str]) -> Self {
        Self::of(configured(bridge, program, arguments))
    }

    /// Spawns what a host starts, as it starts it.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("postern starts");
        let input = process.stdin.take().expect("its input");
        let output = process.stdout.take().expect("its output");
        Self {
            process,
            input,
            output: BufReader::new(output).lines(),
            last_id: 0,
            notifications: Vec::new(),
        }
    }

    /// Spawns the shim and shakes hands.
    pub(crate) async fn connect(bridge: &Bridge, server: &str) -> Self {
        let mut shim = Self::spawn(bridge, server);
        shim.initialize().await;
        shim
    }

    /// The handshake of the legacy era; the server's answer to it.
    pub(crate) async fn initialize(&mut self) -> Value {
        let answer = self
            .request(
                "initialize",
                json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "clientInfo": { "name": "a test's host", "version": "1.0.0" },
                }),
            )
            .await;
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        answer
    }

    /// Sends a request and waits for its answer: the whole message.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        self.answer(id).await
    }

    /// Sends a request; its id.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    /// Waits for the answer to a request.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.next().await;
            if message["id"] == id {
                return message;
            }
            self.notifications.push(message);
        }
    }

    /// Calls a tool; the text it answers, or the whole message if that is an error.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Result<String, Value> {
        let params = json!({ "name": tool, "arguments": arguments });
        super::wire::tool_text(self.request("tools/call", params).await)
    }

    /// Waits for a notification.
    pub(crate) async fn notified(&mut self, method: &str) -> Value {
        if let Some(at) = self
            .notifications
            .iter()
            .position(|one| one["method"] == method)
        {
            return self.notifications.remove(at);
        }
        loop {
            let message = self.next().await;
            if message["method"] == method {
                return message;
            }
            self.notifications.push(message);
        }
    }

    /// The id of the latest request.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Says something that wants no answer.
    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
            .await;
    }

    /// Answers a question of the server's.
    pub(crate) async fn reply(&mut self, question: &Value, result: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }))
            .await;
    }

    /// Says nothing more; what the shim still says before it ends in order.
    pub(crate) async fn end(self) -> Vec<Value> {
        let Self {
            mut process,
            input,
            mut output,
            ..
        } = self;
        drop(input);
        let mut rest = Vec::new();
        while let Some(line) = within("the shim's last lines", output.next_line())
            .await
            .expect("the shim's output")
        {
            rest.push(message(&line));
        }
        let status = within("the shim's end", process.wait()).await;
        assert!(status.expect("its end").success());
        rest
    }

    /// The shim's process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id().expect("a shim that runs")
    }

    /// Says a message as it is.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.say(message.to_string().as_bytes()).await;
    }

    /// Says a line as it is, whatever it is.
    pub(crate) async fn say(&mut self, line: &[u8]) {
        let line = [line, b"\n"].concat();
        self.input.write_all(&line).await.expect("the shim reads");
    }

    /// Whatever comes next; every line is a JSON-RPC message and nothing else.
    pub(crate) async fn next(&mut self) -> Value {
        message(&self.line().await)
    }

    /// The next line as it is.
    pub(crate) async fn line(&mut self) -> String {
        within("a line of the shim", self.output.next_line())
            .await
            .expect("the shim's output")
            .expect("the shim goes on")
    }
}

fn message(line: &str) -> Value {
    let message: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(message["jsonrpc"], "2.0", "{line}");
    message
}
