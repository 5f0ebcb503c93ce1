//! Hosts that connect before the user has signed in, or while the server cannot be reached.

mod subscriptions;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use control::api::Request;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bridge::{Bridge, Host};
use crate::server::{Refused, Server};

/// Far less than any timeout that a test here must not reach.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The parameters of a request of the modern era.
fn modern(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}

/// An address at which no server listens.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A server that needs a sign-in, and a bridge without an account.
async fn signed_out(settings: &str) -> (Server, Bridge) {
    let server = Server::start().await;
    server.record.want_sign_in();
    let bridge = Bridge::start_set(settings, &server.url()).await;
    (server, bridge)
}

fn names(list: &Value) -> Vec<&str> {
    let tools = list["result"]["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect()
}

/// The text of a tool's result, and whether it is an error.
fn text(answer: &Value) -> (&str, bool) {
    let result = &answer["result"];
    (
        result["content"][0]["text"].as_str().unwrap(),
        result["isError"].as_bool().unwrap(),
    )
}

async fn call(host: &mut Host, id: i64, tool: &str) -> Value {
    host.request(id, "tools/call", json!({ "name": tool }))
        .await
}

#[tokio::test]
async fn first_list_waits_for_sign_in_of_its_connection() {
    let (_server, bridge) = signed_out("list_wait_seconds = 15").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let (list, ()) = tokio::join!(host.request(1, "tools/list", json!({})), bridge.browse());
    assert_eq!(names(&list), ["echo"]);
}

#[tokio::test]
async fn first_list_of_modern_host_waits_for_sign_in() {
    let (_server, bridge) = signed_out("list_wait_seconds = 15").await;
    let mut host = bridge.host("one").await;
    host.request(1, "server/discover", modern(json!({}))).await;
    let listing = host.request(2, "tools/list", modern(json!({})));
    let (list, ()) = tokio::join!(listing, bridge.browse());
    assert_eq!(names(&list), ["echo"]);
}

#[tokio::test]
async fn first_list_over_http_waits_for_sign_in() {
    for is_modern in [false, true] {
        let (_server, bridge) = signed_out("list_wait_seconds = 15").await;
        let host = HttpHost::connect(&bridge, is_modern).await;
        let (list, ()) = tokio::join!(host.request(1, "tools/list"), bridge.browse());
        assert_eq!(names(&list), ["echo"], "modern: {is_modern}");
    }
}

#[tokio::test]
async fn list_has_stand_in_when_sign_in_exceeds_wait() {
    let (_server, bridge) = signed_out("list_wait_seconds = 1").await;
    let mut host = bridge.host("one").await;
    let begun = Instant::now();
    let handshake = host.initialize().await;
    let instructions = handshake["result"]["instructions"].as_str().unwrap();
    assert!(
        instructions.contains("postern sign-in one"),
        "{instructions}"
    );
    bridge.until_state(|state| !state.sign_ins.is_empty()).await;
    let list = host.request(1, "tools/list", json!({})).await;
    assert_eq!(names(&list), ["sign_in_one"]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it waited");
    let tool = &list["result"]["tools"][0];
    assert_eq!(
        tool["inputSchema"],
        json!({ "type": "object", "properties": {} })
    );
    let hints = &tool["annotations"];
    assert_eq!(hints["destructiveHint"], false);
    assert_eq!(hints["idempotentHint"], true);
    assert_eq!(hints["readOnlyHint"], false);
    let again = Instant::now();
    for (id, method, items) in [
        (2, "tools/list", "tools"),
        (3, "prompts/list", "prompts"),
        (4, "resources/list", "resources"),
    ] {
        let list = host.request(id, method, json!({})).await;
        let expected = usize::from(method == "tools/list");
        assert_eq!(list["result"][items].as_array().unwrap().len(), expected);
    }
    assert!(again.elapsed() < Duration::from_secs(1), "the page is old");
}

#[tokio::test]
async fn first_list_waits_longer_than_handshake_for_slow_server() {
    let server = Server::start().await;
    server.record.ignore_handshake();
    let bridge = Bridge::start_set("list_wait_seconds = 3", &server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let begun = Instant::now();
    let list = host.request(1, "tools/list", json!({})).await;
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert_eq!(names(&list), ["reconnect_one"]);
}

#[tokio::test]
async fn stand_in_signs_in_and_stays_callable() {
    let (server, bridge) = signed_out("sign_in_wait_seconds = 15\nlist_wait_seconds = 0").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let list = host.request(1, "tools/list", json!({})).await;
    assert_eq!(names(&list), ["sign_in_one"]);
    let (done, ()) = tokio::join!(call(&mut host, 2, "sign_in_one"), bridge.browse());
    let expected = "Signed in to one; reload the tools. one offers: echo.";
    assert_eq!(text(&done), (expected, false));
    let list = host.request(3, "tools/list", json!({})).await;
    assert_eq!(names(&list), ["echo"]);
    let again = call(&mut host, 4, "sign_in_one").await;
    assert_eq!(text(&again), (expected, false));
    assert!(
        server.record.bodies("tools/call").is_empty(),
        "the server has no such tool"
    );
}

#[tokio::test]
async fn removed_stand_in_is_announced_as_list_change() {
    let (_server, bridge) = signed_out("list_wait_seconds = 0").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.request(1, "tools/list", json!({})).await;
    bridge.browse().await;
    let told = host.value().await;
    assert_eq!(told["method"], "notifications/tools/list_changed");
    let state = bridge.state().await;
    assert!(
        state.servers[0].tools.is_none(),
        "no stand-in in the window"
    );
}

#[tokio::test]
async fn stand_in_opens_no_page_after_one_was_declined() {
    let (_server, bridge) = signed_out("sign_in_wait_seconds = 15\nlist_wait_seconds = 0").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    bridge.until_state(|state| !state.sign_ins.is_empty()).await;
    let server = "one".to_owned();
    bridge.call(Request::CancelSignIn { server }).await.unwrap();
    bridge.until_state(|state| state.sign_ins.is_empty()).await;
    let begun = Instant::now();
    let answer = call(&mut host, 1, "sign_in_one").await;
    let (words, is_error) = text(&answer);
    assert!(is_error && begun.elapsed() < AT_ONCE, "{words}");
    assert!(words.contains("no page opens by itself"), "{words}");
    assert!(words.contains("the sign-in was cancelled"), "{words}");
    assert!(words.contains("`postern sign-in one`"), "{words}");
    assert_eq!(bridge.state().await.sign_ins, []);
}

#[tokio::test]
async fn stand_in_asks_modern_host_to_show_page() {
    let (_server, bridge) = signed_out("sign_in_wait_seconds = 15").await;
    let mut host = bridge.host("one").await;
    let shows_pages = |mut params: Value| {
        params = modern(params);
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({ "elicitation": { "url": {} } });
        params
    };
    let begun = Instant::now();
    let list = host.request(1, "tools/list", shows_pages(json!({}))).await;
    assert_eq!(names(&list), ["sign_in_one"]);
    assert!(begun.elapsed() < AT_ONCE, "no page is open to wait for");
    let tool = json!({ "name": "sign_in_one" });
    let asked = host.request(2, "tools/call", shows_pages(tool)).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let page = &asked["result"]["inputRequests"]["page"]["params"]["url"];
    let again = shows_pages(json!({
        "name": "sign_in_one",
        "requestState": asked["result"]["requestState"],
        "inputResponses": { "page": { "action": "accept" } },
    }));
    let (done, ()) = tokio::join!(
        host.request(3, "tools/call", again),
        bridge.browse_at(page.as_str().unwrap())
    );
    assert_eq!(
        text(&done).0,
        "Signed in to one; reload the tools. one offers: echo."
    );
    assert_eq!(done["result"]["resultType"], "complete");
}

#[tokio::test]
async fn list_is_released_when_sign_in_is_cancelled() {
    let (_server, bridge) = signed_out("list_wait_seconds = 60").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let cancel = async {
        bridge.until_state(|state| !state.sign_ins.is_empty()).await;
        let server = "one".to_owned();
        bridge.call(Request::CancelSignIn { server }).await.unwrap();
    };
    let (list, ()) = tokio::join!(host.request(1, "tools/list", json!({})), cancel);
    assert_eq!(names(&list), ["sign_in_one"]);
}

#[tokio::test]
async fn stand_in_reports_that_server_refuses_list() {
    let (server, bridge) = signed_out("sign_in_wait_seconds = 15\nlist_wait_seconds = 0").await;
    server.record.refuse_lists();
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let (answer, ()) = tokio::join!(call(&mut host, 1, "sign_in_one"), bridge.browse());
    assert_eq!(text(&answer), ("one says: the catalogue is closed", true));
}

#[tokio::test]
async fn stand_in_opens_no_page_if_tokens_are_rejected() {
    const AUDIENCE: &[(u16, &str)] = &[(401, r#"Bearer error="invalid_token""#)];
    let (server, bridge) = signed_out("sign_in_wait_seconds = 15\nlist_wait_seconds = 0").await;
    let browser = bridge.follow().await;
    server.record.refuse(Refused::Calls, AUDIENCE);
    let mut host = bridge.host("one").await;
    host.initialize().await;
    call(&mut host, 1, "echo").await;
    let pages = browser.count();
    for id in 2..5 {
        call(&mut host, id, "sign_in_one").await;
        call(&mut host, id + 10, "echo").await;
    }
    assert_eq!(browser.count(), pages);
}

#[tokio::test]
async fn reconnect_reports_reason_and_then_connects() {
    for is_modern in [false, true] {
        let address = free_address().await;
        let settings = "sign_in_wait_seconds = 15\nserver_wait_seconds = 1";
        let bridge = Bridge::start_set(settings, &format!("http://{address}/mcp")).await;
        let mut host = bridge.host("one").await;
        let params = |params: Value| match is_modern {
            true => modern(params),
            false => params,
        };
        if !is_modern {
            let handshake = host.initialize().await;
            let instructions = handshake["result"]["instructions"].as_str().unwrap();
            assert!(instructions.contains("reconnect_one"), "{instructions}");
        }
        let list = host.request(1, "tools/list", params(json!({}))).await;
        assert_eq!(names(&list), ["reconnect_one"]);
        assert_eq!(list["result"]["ttlMs"] == 0, is_modern);
        let tool = json!({ "name": "reconnect_one" });
        let begun = Instant::now();
        let failed = host.request(2, "tools/call", params(tool.clone())).await;
        let (words, is_error) = text(&failed);
        assert!(
            is_error && words.contains("one cannot be reached"),
            "{words}"
        );
        assert!(begun.elapsed() < Duration::from_secs(10), "it gave up");
        let _server = Server::on(TcpListener::bind(address).await.unwrap()).await;
        let done = host.request(3, "tools/call", params(tool)).await;
        assert_eq!(
            text(&done),
            (
                "Connected to one; reload the tools. one offers: echo.",
                false
            )
        );
    }
}

#[tokio::test]
async fn real_tool_replaces_stand_in_of_same_name() {
    let server = Server::start().await;
    server.record.tools(&["sign_in_one"]);
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.request(1, "tools/list", json!({})).await;
    let answer = call(&mut host, 2, "sign_in_one").await;
    assert_eq!(
        answer["result"]["name"], "sign_in_one",
        "the server answered"
    );
}

#[tokio::test]
async fn probe_gets_no_stand_in() {
    let (_server, bridge) = signed_out("list_wait_seconds = 0").await;
    let name = "one".to_owned();
    let failed = bridge.call(Request::TestServer { name }).await.unwrap_err();
    assert!(failed.to_string().contains("needs a sign-in"), "{failed}");
    let called = Request::CallTool {
        server: "one".to_owned(),
        tool: "sign_in_one".to_owned(),
        arguments: "{}".to_owned(),
    };
    let failed = bridge.call(called).await.unwrap_err();
    assert!(failed.to_string().contains("needs a sign-in"), "{failed}");
    assert_eq!(bridge.state().await.sign_ins, []);
}

#[tokio::test]
async fn call_times_out_sooner_for_unreachable_server() {
    let address = free_address().await;
    let settings = "sign_in_wait_seconds = 60\nserver_wait_seconds = 1";
    let bridge = Bridge::start_set(settings, &format!("http://{address}/mcp")).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let answer = call(&mut host, 1, "echo").await;
    assert_eq!(answer["error"]["data"]["kind"], "unreachable", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("Check the network and the address"),
        "{message}"
    );
}

#[tokio::test]
async fn call_waits_longer_for_server_that_answered_recently() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::on(listener).await;
    let settings = "sign_in_wait_seconds = 60\nserver_wait_seconds = 0";
    let bridge = Bridge::start_set(settings, &server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.request(1, "tools/list", json!({})).await;
    drop(server);
    host.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo"}}"#)
        .await;
    bridge
        .until(|state| matches!(state, control::api::ServerState::Failed { .. }))
        .await;
    let _server = Server::on(TcpListener::bind(address).await.unwrap()).await;
    let answer = host.answer(2, &mut Vec::new()).await;
    assert_eq!(answer["result"]["name"], "echo", "{answer}");
}

#[tokio::test]
async fn error_message_mentions_open_page() {
    let settings = "sign_in_wait_seconds = 1\nlist_wait_seconds = 0";
    let (_server, bridge) = signed_out(settings).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let answer = call(&mut host, 1, "echo").await;
    let error = &answer["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("one needs a sign-in"), "{message}");
    assert!(message.contains("omplete the sign-in"), "{message}");
    assert_eq!(error["code"], 1001);
    assert_eq!(error["data"]["kind"], "sign-in-needed");
}

/// A host that speaks Streamable HTTP.
struct HttpHost {
    url: String,
    session: Option<String>,
}

impl HttpHost {
    async fn connect(bridge: &Bridge, is_modern: bool) -> Self {
        let url = format!("{}/one/mcp", bridge.http().await);
        let mut host = Self { url, session: None };
        if is_modern {
            host.request(0, "server/discover").await;
            return host;
        }
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
        let initialize =
            json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let answer = client().post(&host.url).json(&initialize).send().await;
        let headers = answer.unwrap().headers().clone();
        host.session = Some(headers["mcp-session-id"].to_str().unwrap().to_owned());
        host
    }

    async fn request(&self, id: i64, method: &str) -> Value {
        let request = client().post(&self.url);
        let (request, params) = match &self.session {
            Some(session) => (request.header("mcp-session-id", session), json!({})),
            None => (
                request
                    .header("mcp-protocol-version", "2026-07-28")
                    .header("mcp-method", method),
                modern(json!({})),
            ),
        };
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = request.json(&body).send().await.unwrap();
        answer.json().await.unwrap()
    }
}

fn client() -> reqwest::Client {
    auth::http::client([], &model::config::Proxy::None).unwrap()
}
