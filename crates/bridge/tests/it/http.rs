//! Hosts over HTTP that disconnect.

use control::api::{ProblemKind, Request, SessionState, State};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::server::Server;

fn client() -> reqwest::Client {
    auth::http::client([], &model::config::Proxy::None).unwrap()
}

fn sessions(state: &State) -> usize {
    state.sessions.len()
}

/// Returns the state of the only session, if it is listed.
fn only(state: &State) -> Option<SessionState> {
    assert!(state.sessions.len() <= 1, "{:?}", state.sessions);
    state.sessions.first().map(|session| session.state)
}

/// Seconds since 1970 now.
fn now() -> u64 {
    model::Clock::system().unix()
}

fn modern(id: i64, method: &str) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "_meta": meta } })
}

/// Posts a request of the modern era.
async fn post_modern(url: &str, id: i64, method: &str) -> reqwest::Response {
    let request = client()
        .post(url)
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method)
        .json(&modern(id, method));
    request.send().await.unwrap()
}

async fn session(url: &str) -> String {
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    let answer = client().post(url).json(&initialize).send().await.unwrap();
    answer.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn modern_subscription_lasts_until_disconnect() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let listening = post_modern(&url, 1, "subscriptions/listen").await;
    assert_eq!(listening.status(), 200);
    let mut frames = listening.bytes_stream();
    let first = frames.next().await.unwrap().unwrap();
    assert!(
        std::str::from_utf8(&first)
            .unwrap()
            .contains("notifications/said")
    );
    server.record.hanging((1, 0)).await;
    let state = bridge.state().await;
    let [listed] = &*state.sessions else {
        panic!("{:?}", state.sessions)
    };
    assert_eq!(
        (&*listed.transport, listed.state),
        ("http", SessionState::Active)
    );
    drop(frames);
    server.record.hanging((1, 1)).await;
    bridge.until_state(|state| sessions(state) == 0).await;
}

#[tokio::test]
async fn closed_stream_ends_session() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let stream = client()
        .get(format!("{}/one/sse", bridge.http().await))
        .send()
        .await
        .unwrap();
    bridge.until_state(|state| sessions(state) == 1).await;
    drop(stream);
    bridge.until_state(|state| sessions(state) == 0).await;
}

#[tokio::test]
async fn yielding_bridge_answers_http_hosts() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let session = session(&url).await;
    let late = json!({ "jsonrpc": "2.0", "id": 1, "method": "late" });
    let posting = client()
        .post(&url)
        .header("mcp-session-id", &session)
        .json(&late)
        .send();
    let mut shim = bridge.host("one").await;
    let yielding = async { bridge.call(Request::Yield).await.unwrap() };
    let hosts = async {
        server.record.hanging((1, 0)).await;
        while shim.receive().await != control::hello::YIELDING.as_bytes() {}
        assert!(shim.end().await);
        bridge
            .until_state(|state| {
                state
                    .sessions
                    .iter()
                    .all(|session| session.transport == "http")
            })
            .await;
        server.record.release();
    };
    let (posted, _, ()) = tokio::join!(posting, yielding, hosts);
    let answer: Value = posted.unwrap().json().await.unwrap();
    assert!(answer["result"].is_object(), "{answer}");
    bridge.ended().await;
}

#[tokio::test]
async fn port_in_use_on_one_family_is_in_use() {
    let Ok(other) = std::net::TcpListener::bind("[::1]:0") else {
        return;
    };
    let port = other.local_addr().unwrap().port();
    let bridge = Bridge::start_with("http://127.0.0.1:9/mcp", |options| {
        let config = format!("[bridge]\nport = {port}\n");
        std::fs::write(options.home.config_file(), config).unwrap();
    })
    .await;
    let state = bridge.state().await.bridge;
    assert_eq!(state.http, None);
    assert_eq!(state.http_problem.unwrap().kind, ProblemKind::InUse);
}

#[tokio::test]
async fn cancelled_request_ends_without_response() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let session = session(&url).await;
    let post = |body: Value| {
        client()
            .post(&url)
            .header("mcp-session-id", &session)
            .json(&body)
            .send()
    };
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    post(initialized).await.unwrap();
    let hanging = post(json!({ "jsonrpc": "2.0", "id": 1, "method": "hang" }))
        .await
        .unwrap();
    server.record.hanging((1, 0)).await;
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(post(cancel).await.unwrap().status(), 202);
    let text = tokio::time::timeout(crate::bridge::TIMEOUT, hanging.text())
        .await
        .expect("the response ends")
        .unwrap();
    assert_eq!(text.matches("data: ").count(), 1, "{text}");
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "x": 1 } });
    let answer: Value = post(call).await.unwrap().json().await.unwrap();
    assert_eq!(answer["result"]["x"], 1);
}

#[tokio::test]
async fn host_with_unread_stream_gets_responses() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let session = session(&url).await;
    let stream = client()
        .get(&url)
        .header("mcp-session-id", &session)
        .send()
        .await
        .unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let removed = client()
        .delete(&url)
        .header("mcp-session-id", &session)
        .send()
        .await
        .unwrap();
    assert_eq!(removed.status(), 204);
    let rest = tokio::time::timeout(crate::bridge::TIMEOUT, stream.text()).await;
    assert_eq!(rest.expect("the stream ends with its session").unwrap(), "");
    bridge.until_state(|state| sessions(state) == 0).await;
}

#[tokio::test]
async fn session_over_http_is_active_then_idle_then_ended() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let begun = now();
    let session = session(&url).await;
    assert_eq!(only(&bridge.state().await), Some(SessionState::Active));
    let is_idle = |state: &State| matches!(only(state), Some(SessionState::Idle { .. }));
    let state = bridge.until_state(is_idle).await;
    let Some(SessionState::Idle { since }) = only(&state) else {
        panic!("{state:?}")
    };
    assert!((begun..=now()).contains(&since), "{since}");

    let stream = client()
        .get(&url)
        .header("mcp-session-id", &session)
        .send()
        .await
        .unwrap();
    assert_eq!(only(&bridge.state().await), Some(SessionState::Active));
    drop(stream);
    bridge.until_state(is_idle).await;

    let late = json!({ "jsonrpc": "2.0", "id": 1, "method": "late" });
    let post = |body: &Value| {
        client()
            .post(&url)
            .header("mcp-session-id", &session)
            .json(body)
            .send()
    };
    let asking = tokio::spawn(post(&late));
    server.record.hanging((1, 0)).await;
    assert_eq!(only(&bridge.state().await), Some(SessionState::Active));
    server.record.release();
    assert_eq!(asking.await.unwrap().unwrap().status(), 200);

    let ended = client()
        .delete(&url)
        .header("mcp-session-id", &session)
        .send();
    assert_eq!(ended.await.unwrap().status(), 204);
    bridge.until_state(|state| only(state).is_none()).await;
}

#[tokio::test]
async fn single_requests_are_not_listed() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let hanging = post_modern(&url, 1, "hang").await;
    server.record.hanging((1, 0)).await;
    assert_eq!(only(&bridge.state().await), None);
    drop(hanging);
    server.record.hanging((1, 1)).await;
    assert_eq!(only(&bridge.state().await), None);
}

#[tokio::test]
async fn modern_hosts_are_listed_by_name() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    let mut call = modern(1, "tools/list");
    let client = json!({ "name": "new", "version": "2" });
    call["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] = client;
    host.send(&call.to_string()).await;
    host.answer(1, &mut Vec::new()).await;
    assert_eq!(bridge.state().await.sessions[0].host, "new 2");
}

/// A separate program that opens a session and then does nothing, as if it hung or was killed.
#[cfg(target_os = "linux")]
async fn other_process(base: &str) -> (tokio::process::Child, String) {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let address = base.strip_prefix("http://").unwrap();
    let (host, port) = address.rsplit_once(':').unwrap();
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    let body = initialize.to_string();
    let request = format!(
        "POST /one/mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let script = format!("exec 3<>/dev/tcp/{host}/{port}; printf %s \"$1\" >&3; exec cat <&3");
    let mut child = tokio::process::Command::new("bash")
        .args(["-c", &script, "bash", &request])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let session = tokio::time::timeout(crate::bridge::TIMEOUT, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("an answer");
            if let Some(id) = line.strip_prefix("mcp-session-id: ") {
                return id.trim().to_owned();
            }
        }
    });
    (child, session.await.expect("a session"))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn session_of_ended_process_continues_unlisted() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let base = bridge.http().await;
    let (mut child, session) = other_process(&base).await;
    bridge
        .until_state(|state| matches!(only(state), Some(SessionState::Idle { .. })))
        .await;
    child.kill().await.unwrap();
    bridge.until_state(|state| only(state).is_none()).await;

    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "x": 1 } });
    let answer = client()
        .post(format!("{base}/one/mcp"))
        .header("mcp-session-id", &session)
        .json(&call)
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["result"]["x"], 1);
    assert_eq!(only(&bridge.state().await), Some(SessionState::Active));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn session_of_ended_process_does_not_keep_bridge_running() {
    let server = Server::start().await;
    let bridge = Bridge::start_with(&server.url(), |options| {
        options.idle_exit = Some(std::time::Duration::from_secs(1));
    })
    .await;
    let window = control::Client::connect(&bridge.home, "1.0.0", true).await;
    let (mut child, _) = other_process(&bridge.http().await).await;
    bridge
        .until_state(|state| matches!(only(state), Some(SessionState::Idle { .. })))
        .await;
    drop(window);
    child.kill().await.unwrap();
    bridge.ended().await;
}
