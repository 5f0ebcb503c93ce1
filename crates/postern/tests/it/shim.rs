//! `postern connect` as hosts run it, with the environment of the official SDKs, against a fake
//! bridge.

use std::time::Duration;

use serde_json::Value;

use rustix::fs::{OFlags, fcntl_getfl};
use tokio::process::Command;

use crate::fake_bridge::{FakeBridge, Session};
use crate::host::{Ends, Host, TIMEOUT, set_host_environment};

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#;

fn call(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"x"}}}}"#)
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#)
}

/// Returns a host and a bridge after the handshake.
async fn established() -> (FakeBridge, Session, Host) {
    established_over(Ends::pipes()).await
}

async fn established_over(ends: Ends) -> (FakeBridge, Session, Host) {
    let mut bridge = FakeBridge::new();
    let mut host = Host::over(ends, bridge.folder(), "snippets");
    let mut session = bridge.accept().await;
    host.send(INITIALIZE).await;
    assert_eq!(session.receive().await.unwrap(), INITIALIZE);
    session.send(ANSWER).await;
    assert_eq!(host.receive().await.unwrap(), ANSWER);
    host.send(INITIALIZED).await;
    assert_eq!(session.receive().await.unwrap(), INITIALIZED);
    (bridge, session, host)
}

#[tokio::test]
async fn messages_are_relayed_unchanged() {
    let (_bridge, mut session, mut host) = established().await;
    assert_eq!(session.server, "snippets");
    assert!(!session.resumed);
    let odd = [
        r#"{ "jsonrpc" : "2.0",  "id":"\u00e9", "method":"tools/call", "params":{"n":1.0,"e":1E2,"big":123456789012345678901234567890}, "extra":null }"#,
        r#"{"jsonrpc":"2.0","method":"x/unknown","params":["a",{"é":"ü\u2028"}]}"#,
    ];
    for line in odd {
        host.send(line).await;
        assert_eq!(session.receive().await.unwrap(), line);
    }
    let answers = [
        r#"{"unknown":1,"id":"é","result":{"n":1.0,"tab":"\t"},"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":"s-1","method":"roots/list"}"#,
    ];
    session.send("#a word of a later version").await;
    session.send("not MCP at all").await;
    for line in answers {
        session.send(line).await;
        assert_eq!(host.receive().await.unwrap(), line);
    }
    let (rest, stderr, status) = host.end().await;
    assert_eq!(rest, "");
    assert!(stderr.contains("not MCP"), "{stderr}");
    assert!(status.success());
}

#[tokio::test]
async fn one_mebibyte_and_256_concurrent_calls_are_relayed() {
    for ends in [Ends::pipes(), Ends::sockets()] {
        relay_large_and_many(ends).await;
    }
}

async fn relay_large_and_many(ends: Ends) {
    let (_bridge, mut session, mut host) = established_over(ends).await;
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"text":"{}"}}}}"#,
        "x".repeat(1 << 20)
    );
    host.send(&large).await;
    assert_eq!(session.receive().await.unwrap(), large);
    let answer = large.replace("\"method\":\"tools/call\",\"params\"", "\"result\"");
    session.send(&answer).await;
    assert_eq!(host.receive().await.unwrap(), answer);
    // The host reads nothing until it has sent all calls.
    for id in 0..256 {
        host.send(&call(id)).await;
        session.receive().await.unwrap();
        session.send(&result(id)).await;
    }
    for id in 0..256 {
        assert_eq!(host.receive().await.unwrap(), result(id));
    }
}

/// Returns the current and the peak resident memory of a process, in KiB.
fn memory(process: u32) -> [u64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    ["VmRSS:", "VmHWM:"].map(|name| {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    })
}

#[tokio::test]
async fn line_of_200_mb_is_answered_and_not_kept() {
    let (_bridge, mut session, mut host) = established().await;
    let process = host.process();
    let [before, _] = memory(process);
    // Hosts on the TypeScript SDK write the ID at the end.
    let text = "x".repeat(200_000_000);
    let long = |member: &str, end: &str| format!(r#"{{{member}:{{"text":"{text}"}}{end}}}"#);
    host.send(&long(
        r#""method":"tools/call","params""#,
        r#","jsonrpc":"2.0","id":7"#,
    ))
    .await;
    let error: Value = serde_json::from_str(&host.receive().await.unwrap()).unwrap();
    assert_eq!(error["id"], 7);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("longer than 64 MiB; hint: "), "{message}");
    host.send(&call(8)).await;
    assert_eq!(session.receive().await.unwrap(), call(8));
    let [now, most] = memory(process);
    assert!(now < before + 8 * 1024, "{now} KiB, {before} before");
    assert!(most < before + 96 * 1024, "{most} KiB at most");

    // For an oversized response of the host, the server gets an error.
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage"}"#;
    session.send(question).await;
    assert_eq!(host.receive().await.unwrap(), question);
    host.send(&long(r#""jsonrpc":"2.0","id":"q","result""#, ""))
        .await;
    let answer: Value = serde_json::from_str(&session.receive().await.unwrap()).unwrap();
    assert_eq!(answer["id"], "q");
    assert!(answer["error"]["message"].is_string(), "{answer}");
}

#[tokio::test]
async fn memory_shrinks_after_long_messages_both_ways() {
    let (_bridge, mut session, mut host) = established().await;
    let process = host.process();
    let [before, _] = memory(process);
    for id in 1..=3 {
        let long = call(id).replace(r#""x""#, &format!(r#""{}""#, "x".repeat(40 << 20)));
        host.send(&long).await;
        assert!(session.receive().await.unwrap() == long);
        let answer = result(id).replace("[]", &format!(r#"["{}"]"#, "x".repeat(40 << 20)));
        session.send(&answer).await;
        assert!(host.receive().await.unwrap() == answer);
    }
    host.send(&call(4)).await;
    session.receive().await.unwrap();
    session.send(&result(4)).await;
    host.receive().await.unwrap();
    let [now, _] = memory(process);
    assert!(now < before + 8 * 1024, "{now} KiB, {before} before");
}

#[tokio::test]
async fn handshake_is_replayed_to_next_bridge() {
    let (mut bridge, mut session, mut host) = established().await;
    host.send(&call(1)).await;
    session.receive().await.unwrap();
    drop(session);
    let error: Value = serde_json::from_str(&host.receive().await.unwrap()).unwrap();
    assert_eq!(error["id"], 1);
    assert_eq!(error["error"]["code"], 1002);
    assert_eq!(error["error"]["data"]["server"], "snippets");

    let mut session = bridge.accept().await;
    assert!(session.resumed);
    host.send(&call(2)).await;
    assert_eq!(session.receive().await.unwrap(), INITIALIZE);
    session.send(ANSWER).await;
    assert_eq!(session.receive().await.unwrap(), INITIALIZED);
    assert_eq!(session.receive().await.unwrap(), call(2));
    session.send(&result(2)).await;
    // The response to the replayed handshake was dropped.
    assert_eq!(host.receive().await.unwrap(), result(2));
}

#[tokio::test]
async fn yielding_bridge_answers_pending_requests() {
    let (mut bridge, mut session, mut host) = established().await;
    host.send(&call(1)).await;
    session.receive().await.unwrap();
    session.send("#yielding").await;
    // The shim closes its side and sends nothing more.
    assert_eq!(session.receive().await, None);
    host.send(&call(2)).await;
    session.send(&result(1)).await;
    assert_eq!(host.receive().await.unwrap(), result(1));
    drop(session);

    let mut session = bridge.accept().await;
    assert_eq!(session.receive().await.unwrap(), INITIALIZE);
    session.send(ANSWER).await;
    assert_eq!(session.receive().await.unwrap(), INITIALIZED);
    assert_eq!(session.receive().await.unwrap(), call(2));
    session.send(&result(2)).await;
    assert_eq!(host.receive().await.unwrap(), result(2));
}

#[tokio::test]
async fn pending_responses_are_delivered_after_stdin_ends() {
    let (_bridge, mut session, mut host) = established().await;
    host.send(&call(1)).await;
    session.receive().await.unwrap();
    host.close_stdin();
    assert_eq!(session.receive().await, None);
    session.send(&result(1)).await;
    assert_eq!(host.receive().await.unwrap(), result(1));
    let (rest, stderr, status) = host.end().await;
    assert_eq!((rest.as_str(), stderr.as_str()), ("", ""));
    assert!(status.success());
}

/// Other processes may share the descriptors and do not expect them to be non-blocking.
#[tokio::test]
async fn descriptor_flags_of_host_are_unchanged() {
    for ends in [Ends::pipes(), Ends::sockets()] {
        let descriptors = ends.descriptors();
        let flags = || descriptors.each_ref().map(|end| fcntl_getfl(end).unwrap());
        let before = flags();
        let (_bridge, mut session, mut host) = established_over(ends).await;
        session.send(&call(1)).await;
        host.receive().await.unwrap();
        assert_eq!(flags(), before);
        assert!(!before.iter().any(|flags| flags.contains(OFlags::NONBLOCK)));
    }
}

#[tokio::test]
async fn files_work_as_stdin_and_stdout() {
    let mut bridge = FakeBridge::new();
    let (said, heard) = (bridge.folder().join("said"), bridge.folder().join("heard"));
    std::fs::write(&said, format!("{INITIALIZE}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command
        .args(["connect", "snippets", "--home"])
        .arg(bridge.folder());
    set_host_environment(&mut command, bridge.folder());
    command
        .stdin(std::fs::File::open(&said).unwrap())
        .stdout(std::fs::File::create(&heard).unwrap());
    let mut shim = command.kill_on_drop(true).spawn().unwrap();
    let mut session = bridge.accept().await;
    assert_eq!(session.receive().await.unwrap(), INITIALIZE);
    session.send(ANSWER).await;
    let status = tokio::time::timeout(TIMEOUT, shim.wait()).await;
    assert!(status.unwrap().unwrap().success());
    assert_eq!(
        std::fs::read_to_string(heard).unwrap(),
        format!("{ANSWER}\n")
    );
}

#[tokio::test]
async fn slow_host_gets_complete_last_response() {
    for ends in [Ends::pipes(), Ends::sockets()] {
        check_late_response(ends).await;
    }
}

async fn check_late_response(ends: Ends) {
    let (_bridge, mut session, mut host) = established_over(ends).await;
    host.send(&call(1)).await;
    session.receive().await.unwrap();
    host.close_stdin();
    let long = result(1).replace("[]", &format!("\"{}\"", "x".repeat(1 << 20)));
    session.send(&long).await;
    drop(session);
    assert!(host.is_running_after(Duration::from_secs(2)).await);
    assert_eq!(host.receive().await.unwrap(), long);
    assert!(host.wait().await.success());
}

#[tokio::test]
async fn messages_before_end_of_stdin_are_relayed() {
    let mut bridge = FakeBridge::new();
    let mut host = Host::spawn(bridge.folder(), "snippets");
    host.send(INITIALIZE).await;
    host.send(INITIALIZED).await;
    host.send(&call(1)).await;
    host.close_stdin();
    let mut session = bridge.accept().await;
    for expected in [INITIALIZE, INITIALIZED, &call(1)] {
        assert_eq!(session.receive().await.unwrap(), expected);
    }
    assert_eq!(session.receive().await, None);
    session.send(ANSWER).await;
    session.send(&result(1)).await;
    let (stdout, _, status) = host.end().await;
    assert_eq!(stdout, format!("{ANSWER}\n{}\n", result(1)));
    assert!(status.success());
}

#[tokio::test]
async fn shim_exits_after_host_died() {
    let (_bridge, mut session, mut host) = established().await;
    host.send(&call(1)).await;
    session.receive().await.unwrap();
    host.close_stdin();
    host.close_stdout();
    assert!(host.wait().await.success());
}

#[tokio::test]
async fn signals_end_shim_without_output() {
    for signal in [
        rustix::process::Signal::TERM,
        rustix::process::Signal::INT,
        rustix::process::Signal::HUP,
    ] {
        let (_bridge, mut session, host) = established().await;
        host.signal(signal);
        assert_eq!(session.receive().await, None);
        let (stdout, stderr, status) = host.end().await;
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
        assert!(status.success());
    }
}

#[tokio::test]
async fn invalid_line_is_answered_with_error() {
    let (_bridge, mut session, mut host) = established().await;
    for (line, code) in [
        ("{", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, -32600),
    ] {
        host.send(line).await;
        let answer: Value = serde_json::from_str(&host.receive().await.unwrap()).unwrap();
        assert_eq!(answer["error"]["code"], code);
    }
    host.send(&call(1)).await;
    assert_eq!(session.receive().await.unwrap(), call(1));
}

#[tokio::test]
async fn unknown_server_error_ends_after_server_is_added() {
    let mut bridge = FakeBridge::new();
    let mut host = Host::spawn(bridge.folder(), "typo");
    bridge
        .refuse(
            "there is no server called `typo`",
            "see `postern servers list`",
        )
        .await;
    host.send(INITIALIZE).await;
    let error: Value = serde_json::from_str(&host.receive().await.unwrap()).unwrap();
    assert_eq!(error["id"], 0);
    assert_eq!(error["error"]["code"], 1005);
    assert_eq!(
        error["error"]["message"],
        "there is no server called `typo`. See `postern servers list`."
    );
    assert_eq!(
        error["error"]["data"],
        serde_json::json!({
            "kind": "not-found", "server": "typo", "hint": "see `postern servers list`"
        })
    );
    // After the server was added, one of the host's next requests succeeds.
    let mut id = 1;
    let mut accepted = loop {
        host.send(&INITIALIZE.replace("\"id\":0", &format!("\"id\":{id}")))
            .await;
        tokio::select! {
            session = bridge.accept() => break session,
            refused = host.receive() => assert!(refused.unwrap().contains("1005")),
        }
        id += 1;
    };
    assert_eq!(accepted.server, "typo");
    assert!(accepted.receive().await.unwrap().contains("initialize"));
    let answer = ANSWER.replace("\"id\":0", &format!("\"id\":{id}"));
    accepted.send(&answer).await;
    assert_eq!(host.receive().await.unwrap(), answer);
    let (_, stderr, status) = host.end().await;
    assert!(
        stderr.contains("there is no server called `typo`") && stderr.contains("hint: "),
        "{stderr}"
    );
    assert!(status.success());
}
