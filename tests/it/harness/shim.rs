//! A host that spawned `postern connect` with exactly the environment that the SDKs pass on.

use std::{ffi::OsStr, path::Path, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{bridge::Bridge, program, within};

/// Returns the only variables that the official SDKs pass on.
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

/// Returns the arguments of `postern connect` for `server`.
pub(crate) fn arguments(server: &str, root: &Path) -> [String; 4] {
    [
        "connect".to_owned(),
        server.to_owned(),
        "--home".to_owned(),
        root.display().to_string(),
    ]
}

/// Returns the command of a shim for `server`, as a host starts it.
pub(crate) fn command(bridge: &Bridge, server: &str) -> Command {
    let arguments = arguments(server, bridge.root());
    configured(bridge, program::postern(), &arguments)
}

/// Returns the command of a host's configuration, as a host starts it.
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
    /// Messages that arrived while another was awaited, in order.
    pub(crate) notifications: Vec<Value>,
}

impl Shim {
    /// Spawns the shim.
    pub(crate) fn spawn(bridge: &Bridge, server: &str) -> Self {
        Self::from_command(command(bridge, server))
    }

    /// Spawns the command of a host's configuration.
    pub(crate) fn spawn_program(bridge: &Bridge, program: &str, arguments: &[&str]) -> Self {
        Self::from_command(configured(bridge, program, arguments))
    }

    /// Spawns the shim with a command.
    pub(crate) fn from_command(mut command: Command) -> Self {
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

    /// Spawns the shim and performs the handshake.
    pub(crate) async fn connect(bridge: &Bridge, server: &str) -> Self {
        let mut shim = Self::spawn(bridge, server);
        shim.initialize().await;
        shim
    }

    /// Performs the handshake of the legacy era and returns the response to `initialize`.
    pub(crate) async fn initialize(&mut self) -> Value {
        let response = self
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
        response
    }

    /// Sends a request and returns the response: the whole message.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send_request(method, params).await;
        self.response(id).await
    }

    /// Sends a request and returns its id.
    pub(crate) async fn send_request(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    /// Waits for the response to a request.
    pub(crate) async fn response(&mut self, id: u64) -> Value {
        loop {
            let message = self.next().await;
            if message["id"] == id {
                return message;
            }
            self.notifications.push(message);
        }
    }

    /// Calls a tool. Returns its text, or the whole message as the error.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Result<String, Value> {
        let params = json!({ "name": tool, "arguments": arguments });
        super::wire::tool_text(self.request("tools/call", params).await)
    }

    /// Waits for a notification.
    pub(crate) async fn notification(&mut self, method: &str) -> Value {
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

    /// Returns the id of the latest request.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Sends a notification.
    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
            .await;
    }

    /// Responds to a request of the server.
    pub(crate) async fn reply(&mut self, question: &Value, result: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }))
            .await;
    }

    /// Closes stdin, waits for a successful exit, and returns the remaining messages.
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

    /// Returns the process id of the shim.
    pub(crate) fn process(&self) -> u32 {
        self.process.id().expect("a shim that runs")
    }

    /// Says a message as it is.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_raw(message.to_string().as_bytes()).await;
    }

    /// Sends a line unchanged, even if it is not a message.
    pub(crate) async fn send_raw(&mut self, line: &[u8]) {
        let line = [line, b"\n"].concat();
        self.input.write_all(&line).await.expect("the shim reads");
    }

    /// Returns the next message. Fails if a line is not a JSON-RPC message.
    pub(crate) async fn next(&mut self) -> Value {
        message(&self.line().await)
    }

    /// Returns the next line.
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
