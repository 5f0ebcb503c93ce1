//! Inspection of a URL: before a server is added, by a test, by a sign-in and by a host.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::Request as HttpRequest;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use control::api::{Inspection, Problem, ProblemKind, Reply, Request, SignInWay};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bridge::Bridge;
use crate::server::Server;

/// A web site that records its requests.
struct Site {
    origin: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// Answers each request by its method, path and body.
    async fn start(answer: fn(&Method, &str, &Value) -> Response) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let app = Router::new().fallback(async move |request: HttpRequest| {
            let (head, body) = request.into_parts();
            let path = head.uri.path().to_owned();
            noted
                .lock()
                .unwrap()
                .push(format!("{} {path}", head.method));
            let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            answer(&head.method, &path, &body)
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { origin, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn nothing(_: &Method, _: &str, _: &Value) -> Response {
    (StatusCode::NOT_FOUND, "Cannot GET or POST").into_response()
}

/// An MCP server at /mcp, and nothing at other paths.
fn at_mcp(method: &Method, path: &str, body: &Value) -> Response {
    if path != "/mcp" {
        return nothing(method, path, body);
    }
    let result = match body["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "site\u{1b}[2J", "version": "1" },
        }),
        Some("tools/list") => json!({ "tools": [{ "name": "one" }, { "name": "two" }] }),
        Some(_) => return StatusCode::ACCEPTED.into_response(),
        None => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    let answer = json!({ "jsonrpc": "2.0", "id": body["id"], "result": result });
    ([("content-type", "application/json")], answer.to_string()).into_response()
}

/// 401 without a way to sign in.
fn key_wanted(method: &Method, path: &str, body: &Value) -> Response {
    match path {
        "/mcp" => (StatusCode::UNAUTHORIZED, "no key").into_response(),
        _ => nothing(method, path, body),
    }
}

/// A gateway of MCP 2025-03-26 without metadata.
fn undescribed_gateway(method: &Method, path: &str, body: &Value) -> Response {
    match path {
        "/mcp" => StatusCode::UNAUTHORIZED.into_response(),
        "/authorize" => StatusCode::BAD_REQUEST.into_response(),
        _ => nothing(method, path, body),
    }
}

/// A bridge with an unrelated server.
async fn bridge() -> (Bridge, Server) {
    let server = Server::start().await;
    (Bridge::start(&server.url()).await, server)
}

async fn inspect(bridge: &Bridge, url: &str) -> Inspection {
    let request = Request::InspectServer {
        name: "new".to_owned(),
        url: url.to_owned(),
        allow_http: false,
    };
    match bridge.call(request).await.unwrap() {
        Reply::Inspection(inspection) => inspection,
        other => panic!("{other:?}"),
    }
}

async fn added(bridge: &Bridge, url: &str) {
    let request = Request::AddServer {
        name: "new".to_owned(),
        url: url.to_owned(),
        allow_http: false,
    };
    assert_eq!(bridge.call(request).await.unwrap(), Reply::Done);
}

async fn refused(bridge: &Bridge, request: Request) -> Problem {
    match bridge.call(request).await.unwrap_err() {
        control::CallError::Problem(problem) => problem,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn open_server_is_ready_and_nothing_is_written() {
    let (bridge, _server) = bridge().await;
    let site = Site::start(at_mcp).await;
    let before = std::fs::read(bridge.home.config_file()).unwrap();
    let Inspection::Ready { report } = inspect(&bridge, &format!("{}/mcp", site.origin)).await
    else {
        panic!("not ready");
    };
    assert_eq!(report.tools, ["one", "two"]);
    assert_eq!(report.server_info, "site[2J 1", "no control characters");
    assert_eq!(std::fs::read(bridge.home.config_file()).unwrap(), before);
    assert_eq!(bridge.state().await.servers.len(), 1);
}

#[tokio::test]
async fn missing_path_is_found_at_usual_place() {
    let (bridge, _server) = bridge().await;
    let site = Site::start(at_mcp).await;
    for path in ["", "/", "/api"] {
        let given = format!("{}{path}", site.origin);
        let Inspection::Elsewhere {
            problem,
            url,
            found,
        } = inspect(&bridge, &given).await
        else {
            panic!("{given} is not proposed");
        };
        assert_eq!(url, format!("{}/mcp", site.origin));
        assert!(matches!(*found, Inspection::Ready { .. }), "{found:?}");
        assert!(
            problem.message.contains("nothing at this path"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn missing_path_in_json_rpc_error_is_searched() {
    let (bridge, _server) = bridge().await;
    let site = Site::start(|method, path, body| {
        if path == "/mcp" {
            return at_mcp(method, path, body);
        }
        let error = json!({ "code": -32600, "message": "no such server" });
        let answer = json!({ "jsonrpc": "2.0", "id": null, "error": error });
        (StatusCode::NOT_FOUND, axum::Json(answer)).into_response()
    })
    .await;
    let Inspection::Elsewhere { problem, .. } = inspect(&bridge, &site.origin).await else {
        panic!("it is not proposed");
    };
    assert_eq!(problem.message, "the server says: no such server");
}

#[tokio::test]
async fn found_server_is_proposed_though_other_path_is_silent() {
    let (bridge, _server) = bridge().await;
    let site = Site::start(|method, path, body| match (method, path) {
        (&Method::GET, "/sse") => {
            let silence = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            let body = axum::body::Body::from_stream(silence);
            ([("content-type", "text/event-stream")], body).into_response()
        }
        _ => at_mcp(method, path, body),
    })
    .await;
    let begun = Instant::now();
    let inspection = inspect(&bridge, &site.origin).await;
    assert!(
        matches!(inspection, Inspection::Elsewhere { .. }),
        "{inspection:?}"
    );
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn complete_path_or_query_is_not_searched() {
    let (bridge, _server) = bridge().await;
    let site = Site::start(at_mcp).await;
    for path in ["/other/mcp", "/?key=secret"] {
        let inspection = inspect(&bridge, &format!("{}{path}", site.origin)).await;
        let Inspection::NoServer { problem } = inspection else {
            panic!("{inspection:?}");
        };
        assert_eq!(problem.kind, ProblemKind::NotMcp);
    }
    assert!(!site.asked().iter().any(|asked| asked.ends_with(" /mcp")));
}

#[tokio::test]
async fn redirect_to_other_origin_is_not_followed() {
    static OTHER: Mutex<String> = Mutex::new(String::new());
    let (bridge, _server) = bridge().await;
    let other = Site::start(at_mcp).await;
    OTHER.lock().unwrap().clone_from(&other.origin);
    let site = Site::start(|_, path, _| {
        let location = format!("{}{path}", OTHER.lock().unwrap());
        (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response()
    })
    .await;
    let inspection = inspect(&bridge, &site.origin).await;
    assert!(
        matches!(inspection, Inspection::NoServer { .. }),
        "{inspection:?}"
    );
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}

#[tokio::test]
async fn protected_server_needs_sign_in_or_header() {
    let (bridge, server) = bridge().await;
    server.record.want_sign_in();
    assert_eq!(inspect(&bridge, &server.url()).await, Inspection::SignIn);
    let gateway = Site::start(undescribed_gateway).await;
    let url = format!("{}/mcp", gateway.origin);
    assert_eq!(inspect(&bridge, &url).await, Inspection::SignIn);
    let site = Site::start(key_wanted).await;
    let url = format!("{}/mcp", site.origin);
    let words = Some("no key".to_owned());
    let header_needed = Inspection::HeaderNeeded { words };
    assert_eq!(inspect(&bridge, &url).await, header_needed);
    assert!(bridge.state().await.sign_ins.is_empty());
}

#[tokio::test]
async fn inspection_sends_no_credentials() {
    let (mut bridge, server) = bridge().await;
    let config = format!(
        "[bridge]\nport = 0\n[servers.one]\nurl = '{}'\nheaders = {{ X-Api-Key = 'k' }}\n",
        server.url()
    );
    std::fs::write(bridge.home.config_file(), config).unwrap();
    bridge.restart().await;
    server.record.want_sign_in();
    let sign_in = Request::SignIn {
        server: "one".to_owned(),
        way: SignInWay::Local,
    };
    let (ended, ()) = tokio::join!(bridge.call(sign_in), bridge.browse());
    ended.unwrap();
    bridge
        .until(|state| *state == control::api::ServerState::Ready)
        .await;
    server.record.take_keys();
    assert_eq!(inspect(&bridge, &server.url()).await, Inspection::SignIn);
    let keys = server.record.take_keys();
    assert!(
        !keys.is_empty() && keys.iter().all(|[_, key, _]| key.is_empty()),
        "{keys:?}"
    );
}

#[tokio::test]
async fn inspection_reports_absent_server_as_unreachable() {
    let (bridge, _server) = bridge().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let inspection = inspect(&bridge, &url).await;
    let Inspection::NotNow { problem } = inspection else {
        panic!("{inspection:?}");
    };
    assert_eq!(problem.kind, ProblemKind::Unreachable);
}

#[tokio::test]
async fn existing_name_is_rejected_before_inspection() {
    let (bridge, _server) = bridge().await;
    let site = Site::start(at_mcp).await;
    let request = Request::InspectServer {
        name: "one".to_owned(),
        url: site.origin.clone(),
        allow_http: false,
    };
    let problem = refused(&bridge, request).await;
    assert_eq!(problem.kind, ProblemKind::InUse, "{problem}");
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn inspection_of_silent_server_times_out_in_ten_seconds() {
    let (bridge, _server) = bridge().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    added(&bridge, &url).await;
    let begun = Instant::now();
    let request = Request::TestServer {
        name: "new".to_owned(),
    };
    let other = Request::InspectServer {
        name: "other".to_owned(),
        url,
        allow_http: false,
    };
    let (problem, inspected) = tokio::join!(refused(&bridge, request), bridge.call(other));
    assert_eq!(problem.message, "new has not answered within 10 seconds");
    let Reply::Inspection(Inspection::NotNow { problem }) = inspected.unwrap() else {
        panic!("it answered");
    };
    assert!(problem.message.contains("10 seconds"), "{problem}");
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn wrong_path_is_reported_by_test_sign_in_and_host() {
    let (bridge, _server) = bridge().await;
    let site = Site::start(nothing).await;
    added(&bridge, &format!("{}/api", site.origin)).await;
    let server = "new".to_owned();
    let test = Request::TestServer {
        name: server.clone(),
    };
    let way = SignInWay::Local;
    for request in [test, Request::SignIn { server, way }] {
        let problem = refused(&bridge, request).await;
        assert_eq!(problem.kind, ProblemKind::NotMcp);
        assert_eq!(problem.message, "new has nothing at this path (HTTP 404)");
        let hint = problem.hint.unwrap();
        assert!(hint.contains("it usually ends in /mcp"), "{hint}");
    }
    let mut host = bridge.host("new").await;
    host.initialize().await;
    let answer = host.request(1, "tools/call", json!({})).await;
    assert_eq!(answer["error"]["code"], 1004, "{answer}");
    assert!(
        answer["error"]["data"]["hint"].to_string().contains("/mcp"),
        "{answer}"
    );
}

#[tokio::test]
async fn post_only_server_still_signs_in() {
    let (bridge, _server) = bridge().await;
    // It answers 404 to GET, as web frameworks do where only POST has a route.
    let site = Site::start(|method, path, body| match (method, path) {
        (&Method::POST, "/mcp") => StatusCode::UNAUTHORIZED.into_response(),
        (&Method::GET, "/authorize") => StatusCode::BAD_REQUEST.into_response(),
        _ => nothing(method, path, body),
    })
    .await;
    added(&bridge, &format!("{}/mcp", site.origin)).await;
    let request = Request::SignIn {
        server: "new".to_owned(),
        way: SignInWay::Local,
    };
    let problem = refused(&bridge, request).await;
    assert_ne!(problem.kind, ProblemKind::NotMcp, "{problem}");
    assert!(site.asked().contains(&"POST /register".to_owned()));
}
