//! Servers that want something other than a sign-in, or do not exist.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use control::api::{DoctorCheck, DoctorOutcome, Reply, Request, ServerState, SignInWay};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bridge::{Bridge, Host};

/// How a server answers at `/mcp` without its key. It has no other path.
type Refusal = Arc<Mutex<Option<(u16, &'static str)>>>;

struct Server {
    url: String,
    refusal: Refusal,
}

impl Server {
    async fn start(status: u16, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let refusal = Refusal::new(Mutex::new(Some((status, body))));
        let router = Router::new()
            .route("/mcp", post(answer).fallback(answer))
            .with_state(Arc::clone(&refusal));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, refusal }
    }

    fn open(&self) {
        *self.refusal.lock().unwrap() = None;
    }
}

async fn answer(State(refusal): State<Refusal>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers.get("x-api-key").map(|key| key.to_str().unwrap());
    let refusal = refusal.lock().unwrap().filter(|_| key != Some("right-key"));
    if let Some((status, body)) = refusal {
        let status = StatusCode::from_u16(status).unwrap();
        let body = body.replace("{key}", key.unwrap_or("no key"));
        return (status, body).into_response();
    }
    let message: Value = match serde_json::from_slice(&body) {
        Ok(message) => message,
        Err(_) => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    let result = match message["method"].as_str() {
        Some("initialize") => json!({ "protocolVersion": "2025-06-18",
            "capabilities": { "tools": {} }, "serverInfo": { "name": "keys", "version": "1" } }),
        Some("tools/list") => json!({ "tools": [] }),
        Some("tools/call") => json!({ "content": [] }),
        Some("notifications/initialized") => return StatusCode::ACCEPTED.into_response(),
        _ => return StatusCode::BAD_REQUEST.into_response(),
    };
    let id = &message["id"];
    axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
}

const MISSING: &str = r#"{"error":"X-Api-Key is\r\n missing, not {key}"}"#;

async fn test(bridge: &Bridge) -> Result<Reply, String> {
    let name = "one".to_owned();
    let tested = bridge.call(Request::TestServer { name }).await;
    tested.map_err(|problem| problem.to_string())
}

async fn sign_in(bridge: &Bridge) -> String {
    let request = Request::SignIn {
        server: "one".to_owned(),
        way: SignInWay::Local,
    };
    bridge.call(request).await.unwrap_err().to_string()
}

async fn call(host: &mut Host, id: i64) -> Value {
    let params = json!({ "name": "x", "arguments": {} });
    host.request(id, "tools/call", params).await
}

async fn doctor(bridge: &Bridge) -> Vec<DoctorCheck> {
    match bridge.call(Request::Doctor).await.unwrap() {
        Reply::Doctor(checks) => checks,
        other => panic!("{other:?}"),
    }
}

/// The findings of `doctor` about the server, by subject.
async fn findings(bridge: &Bridge) -> Vec<(String, DoctorOutcome, String)> {
    let checks = doctor(bridge).await.into_iter();
    let of_server = checks.filter(|check| check.subject.starts_with("server one"));
    of_server
        .map(|check| {
            let subject = check.subject.replace("server one", "");
            let subject = subject.trim_start_matches(", ").to_owned();
            (subject, check.outcome, check.finding)
        })
        .collect()
}

#[tokio::test]
async fn server_requiring_api_key_is_reported_as_such() {
    let server = Server::start(401, MISSING).await;
    let bridge = Bridge::start(&server.url).await;
    let said = "answers 401 and names no way to sign in: X-Api-Key is missing, not no key";
    for problem in [test(&bridge).await.unwrap_err(), sign_in(&bridge).await] {
        assert!(problem.contains(said), "{problem}");
        for hint in [
            "`headers = {",
            "[servers.one]",
            "postern secrets set one-key",
        ] {
            assert!(problem.contains(hint), "{problem}");
        }
    }
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let answer = call(&mut host, 1).await;
    let error = &answer["error"];
    assert!(
        error["message"].as_str().unwrap().contains(said),
        "{answer}"
    );
    assert_eq!(error["data"]["kind"], "not-offered", "{answer}");
    assert!(bridge.state().await.sign_ins.is_empty());

    let found = findings(&bridge).await;
    let (subject, outcome, finding) = &found[0];
    assert_eq!((subject.as_str(), *outcome), ("", DoctorOutcome::Failed));
    assert!(finding.contains(said), "{finding}");
    let (subject, outcome, finding) = &found[1];
    assert_eq!(subject, "discovery");
    assert_eq!(*outcome, DoctorOutcome::Ok);
    assert!(
        finding.starts_with("it names no way to sign in"),
        "{finding}"
    );
    let others: Vec<_> = found[2..].iter().map(|(subject, ..)| subject).collect();
    assert_eq!(others, ["reach", "proxy"]);
}

#[tokio::test]
async fn rejected_key_is_not_shown_and_can_be_replaced() {
    let server = Server::start(401, MISSING).await;
    let bridge = Bridge::start(&server.url).await;
    let mut text = std::fs::read_to_string(bridge.home.config_file()).unwrap();
    text.push_str("headers = { X-Api-Key = { secret = 'one-key' } }\n");
    std::fs::write(bridge.home.config_file(), text).unwrap();
    let store = async |value: &str| {
        let request = Request::SetSecret {
            name: "one-key".to_owned(),
            value: value.into(),
        };
        bridge.call(request).await.unwrap();
    };
    store("wrong-key-12345").await;
    bridge
        .until_state(|state| !state.servers[0].headers.is_empty())
        .await;
    let problem = test(&bridge).await.unwrap_err();
    assert!(problem.contains("X-Api-Key is missing, not …"), "{problem}");
    assert!(!problem.contains("12345"), "{problem}");
    assert!(problem.contains("postern secrets set one-key"), "{problem}");

    let mut host = bridge.host("one").await;
    host.initialize().await;
    let refused = call(&mut host, 1).await;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("names no way to sign in"), "{refused}");
    assert!(!message.contains("12345"), "{refused}");
    store("right-key").await;
    bridge.until(|state| *state == ServerState::Ready).await;
    let answer = call(&mut host, 2).await;
    assert!(answer["result"]["content"].is_array(), "{answer}");
    test(&bridge).await.unwrap();
}

#[tokio::test]
async fn forbidden_error_is_quoted_without_sign_in_hint() {
    let server = Server::start(403, "Your plan\n has no MCP").await;
    let bridge = Bridge::start(&server.url).await;
    let problem = test(&bridge).await.unwrap_err();
    assert!(
        problem.contains("(HTTP 403): Your plan has no MCP"),
        "{problem}"
    );
    assert!(!problem.contains("sign in"), "{problem}");
    let problem = sign_in(&bridge).await;
    assert!(
        problem.contains("answers 403 and names no way to sign in: Your plan has no MCP"),
        "{problem}"
    );
}

#[tokio::test]
async fn open_server_needs_no_sign_in() {
    let server = Server::start(401, "").await;
    server.open();
    let bridge = Bridge::start(&server.url).await;
    let found = findings(&bridge).await;
    let (subject, outcome, finding) = &found[1];
    assert_eq!(subject, "discovery");
    assert_eq!(*outcome, DoctorOutcome::Ok);
    assert_eq!(finding, "it asks for no sign-in");
    let others: Vec<_> = found[2..].iter().map(|(subject, ..)| subject).collect();
    assert_eq!(others, ["reach", "proxy"]);
}

#[tokio::test]
async fn missing_server_has_no_sign_in_findings() {
    let server = Server::start(404, "nothing").await;
    let bridge = Bridge::start(&server.url).await;
    let found = findings(&bridge).await;
    assert_eq!(found[0].1, DoctorOutcome::Failed);
    let others: Vec<_> = found[1..].iter().map(|(subject, ..)| subject).collect();
    assert_eq!(others, ["reach", "proxy"]);
}

#[tokio::test]
async fn gateway_without_server_is_named() {
    let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":1102,"message":"no such server at this gateway (https://gateway.example)","data":{"kind":"no-such-server","server":null,"hint":"x"}}}"#;
    let server = Server::start(404, body).await;
    let bridge = Bridge::start(&server.url).await;
    let problem = test(&bridge).await.unwrap_err();
    let named = "no such server at this gateway (https://gateway.example)";
    assert!(problem.contains(named), "{problem}");
    assert!(problem.contains("check the path"), "{problem}");
    let problem = sign_in(&bridge).await;
    let origin = server.url.trim_end_matches("/mcp");
    let named = format!("no such server at this gateway ({origin})");
    assert!(problem.contains(&named), "{problem}");
    let mut host = bridge.host("one").await;
    let answer = host.initialize().await;
    assert_eq!(answer["error"]["code"], 1102, "{answer}");
    assert!(bridge.state().await.sign_ins.is_empty());
}
