//! A stopped bridge: the system accepts connections for it, and it does not respond.

use std::process::Stdio;
use std::time::Duration;

use control::CallError;
use control::api::Request;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::host::{Host, TIMEOUT};
use crate::installation::{Ended, Installation};
use crate::shim::INITIALIZE;

/// How long a command may take: five seconds, plus a margin for a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

const CALL: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x"}}"#;

/// A bridge process, which is killed at the end of the test, even if it is stopped.
struct Bridge {
    process: Child,
    pid: u32,
}

impl Bridge {
    async fn start(installation: &Installation) -> Self {
        let mut command = installation.command(&["bridge"]);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let listens = async {
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("the bridge listens") {
                    return;
                }
            }
            panic!("the bridge ended before it listened");
        };
        timeout(TIMEOUT, listens).await.unwrap();
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let pid = process.id().unwrap();
        Self { process, pid }
    }

    /// Stops the process and waits until it is stopped.
    fn stop(&self) {
        self.send(Signal::STOP);
        let stopped = waitpid(Some(self.process_id()), WaitOptions::UNTRACED).unwrap();
        assert!(stopped.unwrap().1.stopped());
    }

    fn send(&self, signal: Signal) {
        kill_process(self.process_id(), signal).unwrap();
    }

    fn process_id(&self) -> Pid {
        Pid::from_raw(self.pid.cast_signed()).unwrap()
    }

    fn is_named_in(&self, text: &str) -> bool {
        text.contains(&format!("(process {}) does not react", self.pid))
            && text.contains("postern bridge --replace --detach")
    }
}

async fn run(installation: &Installation, arguments: &[&str]) -> Ended {
    let ended = timeout(COMMAND_TIMEOUT, installation.run(arguments)).await;
    ended.unwrap_or_else(|_| panic!("{arguments:?} hangs"))
}

/// Creates an installation with one unreachable server.
async fn with_server() -> (Installation, Bridge) {
    let installation = Installation::new();
    let bridge = Bridge::start(&installation).await;
    let add = ["servers", "add", "nowhere", "http://127.0.0.1:9/mcp"];
    assert_eq!(installation.run(&add).await.code, Some(0));
    (installation, bridge)
}

async fn receive_json(host: &mut Host) -> Value {
    let line = timeout(COMMAND_TIMEOUT, host.receive())
        .await
        .expect("the host waits");
    serde_json::from_str(&line.unwrap()).unwrap()
}

async fn expect_list_changes(host: &mut Host) {
    for list in ["tools", "prompts", "resources"] {
        let method = format!("notifications/{list}/list_changed");
        assert_eq!(receive_json(host).await["method"], *method);
    }
}

#[tokio::test]
async fn commands_name_process_of_hung_bridge() {
    let installation = Installation::new();
    let bridge = Bridge::start(&installation).await;
    bridge.stop();
    let commands: [&[&str]; 5] = [
        &["status"],
        &["servers", "list"],
        &["sign-out", "--all"],
        &["bridge", "--detach"],
        &["bridge", "--detach", "--replace=older"],
    ];
    let started = commands.map(|arguments| tokio::spawn(installation.command(arguments).output()));
    for (arguments, output) in commands.into_iter().zip(started) {
        let output = timeout(COMMAND_TIMEOUT, output).await.expect("it hangs");
        let ended = Ended::from(output.unwrap().unwrap());
        assert_eq!(ended.code, Some(4), "{arguments:?}: {ended:?}");
        assert!(
            bridge.is_named_in(&ended.stderr),
            "{arguments:?}: {ended:?}"
        );
    }
    let ended = run(&installation, &["doctor"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("FAILED   bridge: "), "{ended:?}");
    assert!(bridge.is_named_in(&ended.stdout), "{ended:?}");
}

#[tokio::test]
async fn bridge_that_hangs_during_call_is_reported() {
    let installation = Installation::new();
    let bridge = Bridge::start(&installation).await;
    let mut client = installation.client().await.unwrap();
    bridge.stop();
    let called = timeout(COMMAND_TIMEOUT, client.call(&Request::Status)).await;
    let Err(CallError::Hung(pid)) = called.expect("the call hangs") else {
        panic!("a stopped bridge answers");
    };
    assert_eq!(pid, Some(bridge.pid));
}

#[tokio::test]
async fn bridge_that_hangs_under_watch_is_reported() {
    let installation = Installation::new();
    let bridge = Bridge::start(&installation).await;
    let mut watch = installation.client().await.unwrap().watch().await.unwrap();
    watch.next().await.unwrap();
    bridge.stop();
    let hung = async {
        loop {
            match watch.next().await {
                Ok(_) => {}
                Err(CallError::Hung(pid)) => return pid,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let pid = timeout(TIMEOUT, hung).await.expect("the watch hangs");
    assert_eq!(pid, Some(bridge.pid));
}

#[tokio::test]
async fn call_under_way_is_answered_when_bridge_hangs() {
    let (installation, bridge) = with_server().await;
    let mut host = Host::spawn(installation.folder(), "nowhere");
    host.send(INITIALIZE).await;
    assert!(receive_json(&mut host).await["result"].is_object());
    host.send(INITIALIZED).await;
    bridge.stop();
    host.send(CALL).await;
    let answer: Value = serde_json::from_str(&host.receive().await.unwrap()).unwrap();
    assert_eq!(answer["error"]["code"], 1002, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap().to_lowercase();
    assert!(bridge.is_named_in(&message), "{answer}");
    bridge.send(Signal::CONT);
    host.send(LIST).await;
    assert!(receive_json(&mut host).await["result"]["tools"].is_array());
}

#[tokio::test]
async fn replace_ends_hung_bridge() {
    let installation = Installation::new();
    let mut bridge = Bridge::start(&installation).await;
    bridge.stop();
    let ended = run(&installation, &["bridge", "--replace", "--detach"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let status = timeout(COMMAND_TIMEOUT, bridge.process.wait())
        .await
        .unwrap();
    assert!(!status.unwrap().success());
    let state = installation.state().await;
    assert_ne!(state.bridge.pid, bridge.pid);
}

#[tokio::test]
async fn new_host_is_answered_while_bridge_hangs() {
    let (installation, bridge) = with_server().await;
    bridge.stop();
    let mut host = Host::spawn(installation.folder(), "nowhere");
    host.send(INITIALIZE).await;
    let answer = receive_json(&mut host).await;
    assert_eq!(
        answer["result"]["protocolVersion"], "2025-11-25",
        "{answer}"
    );
    host.send(INITIALIZED).await;
    host.send(LIST).await;
    let answer = receive_json(&mut host).await;
    assert_eq!(answer["error"]["code"], 1002, "{answer}");
    assert_eq!(answer["error"]["data"]["kind"], "unreachable", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap().to_lowercase();
    assert!(bridge.is_named_in(&message), "{answer}");

    bridge.send(Signal::CONT);
    expect_list_changes(&mut host).await;
    host.send(LIST).await;
    let answer = receive_json(&mut host).await;
    assert!(answer["result"]["tools"].is_array(), "{answer}");
    let (rest, stderr, status) = host.end().await;
    assert!(status.success(), "{rest} {stderr}");
    assert!(bridge.is_named_in(&stderr), "{stderr}");
}

#[tokio::test]
async fn host_of_hung_bridge_gets_its_replacement() {
    let (installation, bridge) = with_server().await;
    bridge.stop();
    let mut host = Host::spawn(installation.folder(), "nowhere");
    host.send(INITIALIZE).await;
    assert!(receive_json(&mut host).await["result"].is_object());
    host.send(INITIALIZED).await;
    let ended = run(&installation, &["bridge", "--replace", "--detach"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    expect_list_changes(&mut host).await;
}
