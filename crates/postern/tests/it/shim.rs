//! `postern connect` as hosts run it: a process, with the environment that the official SDKs
//! leave it, against a bridge of the test's own that speaks the sockets' protocol.

use std::time::Duration;

use serde_json::Value;

use rustix::fs::{OFlags, fcntl_getfl};
use tokio::process::Command;

use crate::fake_bridge::{FakeBridge, Session};
use crate::host::{Ends, Host, PATIENCE, six_variables};

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#;

fn call(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"x"}}}}"#)
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#)
}

/// A host and a bridge with the handshake between them done.
async fn established() -> (FakeBridge, Session, Host) {
    established_over(Ends::pipes()).await
}

async fn established_over(ends: Ends) -> (FakeBridge, Session, Host) {
    let mut bridge = FakeBridge::new();
    let mut host = Host::over(ends, bridge.folder(), "snippets");
    let mut session = bridge.accept().await;
    host.say(INITIALIZE).await;
    assert_eq!(session.hear().await.unwrap(), INITIALIZE);
    session.say(ANSWER).await;
    assert_eq!(host.hear().await.unwrap(), ANSWER);
    host.say(INITIALIZED).await;
    assert_eq!(session.hear().await.unwrap(), INITIALIZED);
    (bridge, session, host)
}

#[tokio::test]
async fn every_byte_passes_unchanged_and_stdout_carries_nothing_else() {
    let (_bridge, mut session, mut host) = established().await;
    assert_eq!(session.server, "snippets");
    assert!(!session.resumed);
    let odd = [
        r#"{ "jsonrpc" : "2.0",  "id":"\u00e9", "method":"tools/call", "params":{"n":1.0,"e":1E2,"big":123456789012345678901234567890}, "extra":null }"#,
        r#"{"jsonrpc":"2.0","method":"x/unknown","params":["a",{"é":"ü\u2028"}]}"#,
    ];
    for line in odd {
        host.say(line).await;
        assert_eq!(session.hear().await.unwrap(), line);
    }
    let answers = [
        r#"{"unknown":1,"id":"é","result":{"n":1.0,"tab":"\t"},"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":"s-1","method":"roots/list"}"#,
    ];
    session.say("#a word of a later version").await;
    session.say("not MCP at all").await;
    for line in answers {
        session.say(line).await;
        assert_eq!(host.hear().await.unwrap(), line);
    }
    let (rest, stderr, status) = host.end().await;
    assert_eq!(rest, "");
    assert!(stderr.contains("not MCP"), "{stderr}");
    assert!(status.success());
}

#[tokio::test]
async fn a_mebibyte_and_256_calls_at_once_pass() {
    for ends in [Ends::pipes(), Ends::sockets()] {
        much_passes(ends).await;
    }
}

async fn much_passes(ends: Ends) {
    let (_bridge, mut session, mut host) = established_over(ends).await;
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"text":"{}"}}}}"#,
        "x".repeat(1 << 20)
    );
    host.say(&large).await;
    assert_eq!(session.hear().await.unwrap(), large);
    let answer = large.replace("\"method\":\"tools/call\",\"params\"", "\"result\"");
    session.say(&answer).await;
    assert_eq!(host.hear().await.unwrap(), answer);
    // The host reads nothing until it has said everything.
    for id in 0..256 {
        host.say(&call(id)).await;
        session.hear().await.unwrap();
        session.say(&result(id)).await;
    }
    for id in 0..256 {
        assert_eq!(host.hear().await.unwrap(), result(id));
    }
}

/// What a process has in memory now, and had at most, in KiB.
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
    // As hosts on the TypeScript SDK write one, with the id at the end.
    let text = "x".repeat(200_000_000);
    let long = |member: &str, end: &str| format!(r#"{{{member}:{{"text":"{text}"}}{end}}}"#);
    host.say(&long(
        r#""method":"tools/call","params""#,
        r#","jsonrpc":"2.0","id":7"#,
    ))
    .await;
    let error: Value = serde_json::from_str(&host.hear().await.unwrap()).unwrap();
    assert_eq!(error["id"], 7);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("longer than 64 MiB; hint: "), "{message}");
    host.say(&call(8)).await;
    assert_eq!(session.hear().await.unwrap(), call(8));
    let [now, most] = memory(process);
    assert!(now < before + 8 * 1024, "{now} KiB, {before} before");
    assert!(most < before + 96 * 1024, "{most} KiB at most");

    // An answer to the server that is too long becomes an error for the server.
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage"}"#;
    session.say(question).await;
    assert_eq!(host.hear().await.unwrap(), question);
    host.say(&long(r#""jsonrpc":"2.0","id":"q","result""#, ""))
        .await;
    let answer: Value = serde_json::from_str(&session.hear().await.unwrap()).unwrap();
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
        host.say(&long).await;
        assert!(session.hear().await.unwrap() == long);
        let answer = result(id).replace("[]", &format!(r#"["{}"]"#, "x".repeat(40 << 20)));
        session.say(&answer).await;
        assert!(host.hear().await.unwrap() == answer);
    }
    host.say(&call(4)).await;
    session.hear().await.unwrap();
    session.say(&result(4)).await;
    host.hear().await.unwrap();
    let [now, _] = memory(process);
    assert!(now < before + 8 * 1024, "{now} KiB, {before} before");
}

#[tokio::test]
async fn a_lost_bridge_is_found_again_and_told_the_handshake() {
    let (mut bridge, mut session, mut host) = established().await;
    host.say(&call(1)).await;
    session.hear().await.unwrap();
    drop(session);
    let error: Value = serde_json::from_str(&host.hear().await.unwrap()).unwrap();
    assert_eq!(error["id"], 1);
    assert_eq!(error["error"]["code"], 1002);
    assert_eq!(error["error"]["data"]["server"], "snippets");

    let mut session = bridge.accept().await;
    assert!(session.resumed);
    host.say(&call(2)).await;
    assert_eq!(session.hear().await.unwrap(), INITIALIZE);
    session.say(ANSWER).await;
    assert_eq!(session.hear().await.unwrap(), INITIALIZED);
    assert_eq!(session.hear().await.unwrap(), call(2));
    session.say(&result(2)).await;
    // The second answer to the handshake was swallowed.
    assert_eq!(host.hear().await.unwrap(), result(2));
}

#[tokio::test]
async fn a_bridge_that_makes_room_answers_what_it_owes_and_the_next_gets_the_rest() {
    let (mut bridge, mut session, mut host) = established().await;
    host.say(&call(1)).await;
    session.hear().await.unwrap();
    session.say("#yielding").await;
    // The shim closes its side: nothing more will come.
    assert_eq!(session.hear().await, None);
    host.say(&call(2)).await;
    session.say(&result(1)).await;
    assert_eq!(host.hear().await.unwrap(), result(1));
    drop(session);

    let mut session = bridge.accept().await;
    assert_eq!(session.hear().await.unwrap(), INITIALIZE);
    session.say(ANSWER).await;
    assert_eq!(session.hear().await.unwrap(), INITIALIZED);
    assert_eq!(session.hear().await.unwrap(), call(2));
    session.say(&result(2)).await;
    assert_eq!(host.hear().await.unwrap(), result(2));
}

#[tokio::test]
async fn pending_answers_are_delivered_after_stdin_ended() {
    let (_bridge, mut session, mut host) = established().await;
    host.say(&call(1)).await;
    session.hear().await.unwrap();
    host.close_stdin();
    assert_eq!(session.hear().await, None);
    session.say(&result(1)).await;
    assert_eq!(host.hear().await.unwrap(), result(1));
    let (rest, stderr, status) = host.end().await;
    assert_eq!((rest.as_str(), stderr.as_str()), ("", ""));
    assert!(status.success());
}

/// Others may hold them too, and do not expect to be told that they are not ready.
#[tokio::test]
async fn what_the_host_gave_stays_as_it_was() {
    for ends in [Ends::pipes(), Ends::sockets()] {
        let its_own = ends.its_own();
        let flags = || its_own.each_ref().map(|end| fcntl_getfl(end).unwrap());
        let before = flags();
        let (_bridge, mut session, mut host) = established_over(ends).await;
        session.say(&call(1)).await;
        host.hear().await.unwrap();
        assert_eq!(flags(), before);
        assert!(!before.iter().any(|flags| flags.contains(OFlags::NONBLOCK)));
    }
}

#[tokio::test]
async fn files_will_do() {
    let mut bridge = FakeBridge::new();
    let (said, heard) = (bridge.folder().join("said"), bridge.folder().join("heard"));
    std::fs::write(&said, format!("{INITIALIZE}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command
        .args(["connect", "snippets", "--home"])
        .arg(bridge.folder());
    six_variables(&mut command, bridge.folder());
    command
        .stdin(std::fs::File::open(&said).unwrap())
        .stdout(std::fs::File::create(&heard).unwrap());
    let mut shim = command.kill_on_drop(true).spawn().unwrap();
    let mut session = bridge.accept().await;
    assert_eq!(session.hear().await.unwrap(), INITIALIZE);
    session.say(ANSWER).await;
    let status = tokio::time::timeout(PATIENCE, shim.wait()).await;
    assert!(status.unwrap().unwrap().success());
    assert_eq!(
        std::fs::read_to_string(heard).unwrap(),
        format!("{ANSWER}\n")
    );
}

#[tokio::test]
async fn a_host_that_reads_late_gets_the_last_answer_whole() {
    for ends in [Ends::pipes(), Ends::sockets()] {
        late_answer_is_whole(ends).await;
    }
}

async fn late_answer_is_whole(ends: Ends) {
    let (_bridge, mut session, mut host) = established_over(ends).await;
    host.say(&call(1)).await;
    session.hear().await.unwrap();
    host.close_stdin();
    let long = result(1).replace("[]", &format!("\"{}\"", "x".repeat(1 << 20)));
    session.say(&long).await;
    drop(session);
    assert!(host.lives(Duration::from_secs(2)).await);
    assert_eq!(host.hear().await.unwrap(), long);
    assert!(host.wait().await.success());
}

#[tokio::test]
async fn everything_said_before_the_end_of_stdin_is_passed_on() {
    let mut bridge = FakeBridge::new();
    let mut host = Host::spawn(bridge.folder(), "snippets");
    host.say(INITIALIZE).await;
    host.say(INITIALIZED).await;
    host.say(&call(1)).await;
    host.close_stdin();
    let mut session = bridge.accept().await;
    for expected in [INITIALIZE, INITIALIZED, &call(1)] {
        assert_eq!(session.hear().await.unwrap(), expected);
    }
    assert_eq!(session.hear().await, None);
    session.say(ANSWER).await;
    session.say(&result(1)).await;
    let (stdout, _, status) = host.end().await;
    assert_eq!(stdout, format!("{ANSWER}\n{}\n", result(1)));
    assert!(status.success());
}

#[tokio::test]
async fn a_host_that_died_is_not_waited_for() {
    let (_bridge, mut session, mut host) = established().await;
    host.say(&call(1)).await;
    session.hear().await.unwrap();
    host.close_stdin();
    host.close_stdout();
    assert!(host.wait().await.success());
}

#[tokio::test]
async fn signals_end_it_quietly() {
    for signal in [
        rustix::process::Signal::TERM,
        rustix::process::Signal::INT,
        rustix::process::Signal::HUP,
    ] {
        let (_bridge, mut session, host) = established().await;
        host.signal(signal);
        assert_eq!(session.hear().await, None);
        let (stdout, stderr, status) = host.end().await;
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
        assert!(status.success());
    }
}

#[tokio::test]
async fn lines_that_are_no_messages_are_answered_and_survived() {
    let (_bridge, mut session, mut host) = established().await;
    for (line, code) in [
        ("{", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, -32600),
    ] {
        host.say(line).await;
        let answer: Value = serde_json::from_str(&host.hear().await.unwrap()).unwrap();
        assert_eq!(answer["error"]["code"], code);
    }
    host.say(&call(1)).await;
    assert_eq!(session.hear().await.unwrap(), call(1));
}

#[tokio::test]
async fn an_unknown_server_is_an_error_that_may_pass() {
    let mut bridge = FakeBridge::new();
    let mut host = Host::spawn(bridge.folder(), "typo");
    bridge
        .refuse(
            "there is no server called `typo`",
            "see `postern servers list`",
        )
        .await;
    host.say(INITIALIZE).await;
    let error: Value = serde_json::from_str(&host.hear().await.unwrap()).unwrap();
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
    // It was added meanwhile: the host's next attempt finds it.
    let mut id = 1;
    let mut accepted = loop {
        host.say(&INITIALIZE.replace("\"id\":0", &format!("\"id\":{id}")))
            .await;
        tokio::select! {
            session = bridge.accept() => break session,
            refused = host.hear() => assert!(refused.unwrap().contains("1005")),
        }
        id += 1;
    };
    assert_eq!(accepted.server, "typo");
    assert!(accepted.hear().await.unwrap().contains("initialize"));
    let answer = ANSWER.replace("\"id\":0", &format!("\"id\":{id}"));
    accepted.say(&answer).await;
    assert_eq!(host.hear().await.unwrap(), answer);
    let (_, stderr, status) = host.end().await;
    assert!(
        stderr.contains("there is no server called `typo`") && stderr.contains("hint: "),
        "{stderr}"
    );
    assert!(status.success());
}
