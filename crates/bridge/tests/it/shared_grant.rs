//! Two servers of one Entra block, of which one refuses tokens, and tokens that are refreshed
//! beside the calls that use them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use control::api::{AccountState, ProblemKind, Reply, Request, ServerState, SignInWay};
use model::ManualClock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::bridge::{Bridge, Host, TIMEOUT};

/// Wants `{"access_token":{"nbf":{"essential":true}}}`.
const CHALLENGE: &str = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#;

type Parameters = HashMap<String, String>;

/// An Entra-like authority and the servers `bad` and `good`, at one address.
#[derive(Clone)]
struct Net(Arc<Inner>);

struct Inner {
    origin: String,
    books: Mutex<Books>,
    /// Whether the token endpoint answers.
    answers: watch::Sender<bool>,
    /// The requested refreshes.
    refreshes: watch::Sender<Vec<Parameters>>,
}

#[derive(Default)]
struct Books {
    /// The response of `bad` to every token.
    refusal: Option<&'static str>,
    /// The response of the token endpoint to a refresh.
    trouble: Option<StatusCode>,
    issued: u32,
    /// Access tokens that were accepted by `good`, in order.
    accepted: Vec<String>,
}

impl Net {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let net = Self(Arc::new(Inner {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            books: Mutex::default(),
            answers: watch::Sender::new(true),
            refreshes: watch::Sender::default(),
        }));
        let app = Router::new()
            .route("/{server}/mcp", post(answer))
            .route("/t/v2.0/.well-known/openid-configuration", get(metadata))
            .route("/token", post(token))
            .with_state(net.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        net
    }

    fn issuer(&self) -> String {
        format!("{}/t/v2.0", self.0.origin)
    }

    fn set(&self, change: impl FnOnce(&mut Books)) {
        change(&mut self.0.books.lock().unwrap());
    }

    fn accepted(&self) -> Vec<String> {
        self.0.books.lock().unwrap().accepted.clone()
    }

    fn refreshes(&self) -> Vec<Parameters> {
        self.0.refreshes.borrow().clone()
    }

    /// Waits for this number of refreshes.
    async fn refreshed(&self, times: usize) {
        let mut refreshes = self.0.refreshes.subscribe();
        let there = refreshes.wait_for(|asked| asked.len() == times);
        let there = tokio::time::timeout(TIMEOUT, there).await;
        there.expect("a refresh is asked for").unwrap();
    }

    /// A bridge with both servers and a manual clock, signed in to `good`.
    async fn bridge(&self) -> (Bridge, ManualClock) {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000));
        let good = format!("{}/good/mcp", self.0.origin);
        let entra = format!(
            "auth = {{ kind = 'entra', authority = '{}', client_id = 'app', resource = 'api://api', scopes = ['mcp'] }}\n",
            self.issuer()
        );
        let bad = format!("[servers.bad]\nurl = '{}/bad/mcp'\n", self.0.origin);
        let bridge = Bridge::start_with(&good, |options| {
            let file = options.home.config_file();
            let config = std::fs::read_to_string(&file).unwrap();
            std::fs::write(file, format!("{config}{entra}{bad}{entra}")).unwrap();
            options.clock = clock.clock();
        })
        .await;
        let (reply, ()) = tokio::join!(bridge.call(sign_in("one")), bridge.browse());
        reply.unwrap();
        (bridge, clock)
    }
}

fn sign_in(server: &str) -> Request {
    Request::SignIn {
        server: server.to_owned(),
        way: SignInWay::Local,
    }
}

async fn metadata(State(net): State<Net>) -> Json<Value> {
    let origin = &net.0.origin;
    Json(json!({
        "issuer": net.issuer(),
        "authorization_endpoint": format!("{origin}/authorize"),
        "token_endpoint": format!("{origin}/token"),
    }))
}

async fn token(State(net): State<Net>, Form(asked): Form<Parameters>) -> Response {
    let is_refresh = asked["grant_type"] == "refresh_token";
    let wants_more = asked
        .get("claims")
        .is_some_and(|claims| claims.contains("nbf"));
    if is_refresh {
        net.0.refreshes.send_modify(|known| known.push(asked));
    }
    let mut answers = net.0.answers.subscribe();
    answers.wait_for(|answers| *answers).await.unwrap();
    let mut books = net.0.books.lock().unwrap();
    if is_refresh && let Some(trouble) = books.trouble {
        return trouble.into_response();
    }
    if is_refresh && wants_more {
        let body = json!({ "error": "interaction_required", "suberror": "basic_action" });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    books.issued += 1;
    let number = books.issued;
    Json(json!({
        "token_type": "Bearer", "expires_in": 3600, "refresh_in": 1800,
        "access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"),
    }))
    .into_response()
}

async fn answer(
    State(net): State<Net>,
    Path(server): Path<String>,
    headers: HeaderMap,
    Json(message): Json<Value>,
) -> Response {
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let token = given.and_then(|given| given.strip_prefix("Bearer "));
    let mut books = net.0.books.lock().unwrap();
    let refusal = books.refusal.filter(|_| server == "bad");
    let Some(token) = token.filter(|_| refusal.is_none()) else {
        let challenge = refusal.unwrap_or("Bearer");
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
    };
    if message["method"] == "tools/call" && server == "good" {
        books.accepted.push(token.to_owned());
    }
    let Some(id) = message.get("id") else {
        return StatusCode::ACCEPTED.into_response();
    };
    let result = match message["method"].as_str().unwrap() {
        "initialize" => json!({
            "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
            "serverInfo": { "name": server, "version": "1" },
        }),
        "tools/call" => json!({ "content": [] }),
        _ => json!({ "tools": [] }),
    };
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    ([("mcp-session-id", "s")], Json(answer)).into_response()
}

/// A host at `good` that has called once.
async fn open(bridge: &Bridge) -> Host {
    let mut host = bridge.host("one").await;
    host.initialize().await;
    assert!(call(&mut host, 1).await["result"].is_object());
    host
}

async fn call(host: &mut Host, id: i64) -> Value {
    host.request(id, "tools/call", json!({ "name": "x" })).await
}

/// A host at `bad`, which rejects every token.
async fn meet_bad(bridge: &Bridge) -> Host {
    let mut host = bridge.host("bad").await;
    let info = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info });
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    host.send(&initialize.to_string()).await;
    bridge
        .until_state(|state| {
            let mut servers = state.servers.iter();
            servers.any(|one| one.name == "bad" && one.state == ServerState::SignInNeeded)
        })
        .await;
    host
}

#[tokio::test]
async fn server_that_refuses_all_tokens_stops_no_other_server() {
    let net = Net::start().await;
    let (bridge, _) = net.bridge().await;
    let mut before = open(&bridge).await;
    net.set(|books| books.refusal = Some("Bearer"));
    let _bad = meet_bad(&bridge).await;

    assert!(call(&mut before, 2).await["result"].is_object());
    let mut after = open(&bridge).await;
    assert!(call(&mut after, 2).await["result"].is_object());
    assert_eq!(
        net.accepted(),
        ["access-1", "access-2", "access-2", "access-2"]
    );
    assert_eq!(net.refreshes().len(), 1, "on behalf of the refusing one");
    let state = bridge.state().await;
    assert_eq!(state.sign_ins, []);
    assert_eq!(state.accounts[0].state, AccountState::SignedIn);
    let good = state.servers.iter().find(|one| one.name == "one");
    assert_eq!(good.unwrap().state, ServerState::Ready);
}

#[tokio::test]
async fn claims_that_are_refused_stop_no_other_server() {
    let net = Net::start().await;
    let (bridge, clock) = net.bridge().await;
    let mut before = open(&bridge).await;
    net.set(|books| books.refusal = Some(CHALLENGE));
    let _bad = meet_bad(&bridge).await;
    assert_eq!(net.refreshes().len(), 1);
    assert!(net.refreshes()[0]["claims"].contains("nbf"));

    assert!(call(&mut before, 2).await["result"].is_object());
    let mut after = open(&bridge).await;
    // The token expires, and the other server is refreshed separately.
    clock.advance(Duration::from_secs(3600));
    assert!(call(&mut before, 3).await["result"].is_object());
    assert!(call(&mut after, 2).await["result"].is_object());
    assert_eq!(net.accepted().last().unwrap(), "access-2");
    // The rejecting server gets the new token, rejects it too, and causes one refresh.
    let refreshes = net.refreshes();
    let with_claims = refreshes.iter();
    let with_claims = with_claims
        .filter(|one| one["claims"].contains("nbf"))
        .count();
    assert_eq!(refreshes.len() - with_claims, 1, "{refreshes:?}");
    assert!(with_claims <= 2, "one for each token: {refreshes:?}");

    // A sign-in to the one requests its claims, and a sign-in to the other does not.
    for (server, wanted) in [("bad", true), ("one", false)] {
        let asking = bridge.call(sign_in(server));
        let page = async {
            let state = bridge.until_state(|state| !state.sign_ins.is_empty()).await;
            let cancel = Request::CancelSignIn {
                server: server.to_owned(),
            };
            bridge.call(cancel).await.unwrap();
            state.sign_ins[0].url.clone()
        };
        let (_, page) = tokio::join!(asking, page);
        assert_eq!(page.contains("nbf"), wanted, "{page}");
        bridge.until_state(|state| state.sign_ins.is_empty()).await;
    }
}

#[tokio::test]
async fn usable_token_is_sent_while_it_is_refreshed() {
    let net = Net::start().await;
    let (bridge, clock) = net.bridge().await;
    let mut host = open(&bridge).await;
    net.0.answers.send_replace(false);
    clock.advance(Duration::from_secs(1800));
    for id in 2..5 {
        assert!(call(&mut host, id).await["result"].is_object());
    }
    net.refreshed(1).await;
    assert_eq!(net.accepted(), ["access-1"; 4]);
    net.0.answers.send_replace(true);
    let late = Instant::now() + TIMEOUT;
    let mut id = 5;
    while net.accepted().last().unwrap() != "access-2" {
        assert!(Instant::now() < late, "the new token is sent");
        assert!(call(&mut host, id).await["result"].is_object());
        id += 1;
    }
    assert_eq!(net.refreshes().len(), 1);
}

#[tokio::test]
async fn failed_refresh_is_not_repeated_by_every_call() {
    let net = Net::start().await;
    let (bridge, clock) = net.bridge().await;
    let mut host = open(&bridge).await;
    net.set(|books| books.trouble = Some(StatusCode::BAD_GATEWAY));
    clock.advance(Duration::from_secs(1800));
    for id in 2..12 {
        assert!(call(&mut host, id).await["result"].is_object());
    }
    net.refreshed(1).await;
    assert_eq!(net.accepted(), ["access-1"; 11]);
}

#[tokio::test]
async fn expired_token_error_names_authorization_server() {
    let net = Net::start().await;
    let (bridge, clock) = net.bridge().await;
    let mut host = open(&bridge).await;
    net.set(|books| books.trouble = Some(StatusCode::BAD_GATEWAY));
    clock.advance(Duration::from_secs(3600));
    let answer = call(&mut host, 2).await;
    assert_eq!(answer["error"]["code"], ProblemKind::Unreachable.code());
    let told = answer["error"]["message"].as_str().unwrap();
    let issuer = net.issuer();
    assert!(
        told.contains(&format!("the authorization server {issuer}: ")),
        "{told}"
    );
    assert!(!told.contains("/good/mcp"), "{told}");
    match bridge.call(Request::Status).await.unwrap() {
        Reply::State(state) => assert_eq!(state.sign_ins, []),
        other => panic!("{other:?}"),
    }
}
