//! Hosts that are asked to show a sign-in page.

use bridge::browser::{BrowserAvailability, NoBrowserReason};
use control::api::SignInView;
use serde_json::{Value, json};

use crate::bridge::{Bridge, Host};
use crate::server::Server;

/// A bridge for `server` without an account. It opens no working browser.
async fn bridge(server: &Server, availability: BrowserAvailability) -> Bridge {
    server.record.want_sign_in();
    server.record.person("ann");
    Bridge::start_with(&server.url(), |options| {
        options.browser_availability = availability;
        if availability != BrowserAvailability::Desktop {
            options.browser = None;
        }
    })
    .await
}

/// The handshake of a host that can show pages.
fn able() -> Value {
    json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "elicitation": { "url": {} } },
        "clientInfo": { "name": "test", "version": "1" },
    })
}

/// A host with a handshake that can show pages.
async fn legacy(bridge: &Bridge) -> Host {
    let mut host = bridge.host("one").await;
    host.request(0, "initialize", able()).await;
    host.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
        .await;
    host
}

/// A call of a host without a handshake, with additional parameters.
fn call(mut more: Value) -> Value {
    more["x"] = json!(1);
    more["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "url": {} } },
    });
    more
}

fn accepted(asked: &Value) -> Value {
    let state = &asked["result"]["requestState"];
    let given = json!({ "page": { "action": "accept" } });
    call(json!({ "requestState": state, "inputResponses": given }))
}

/// The next request of the bridge.
async fn question(host: &mut Host) -> Value {
    loop {
        let message = host.value().await;
        if message["method"] == "elicitation/create" {
            return message;
        }
    }
}

async fn accept(host: &mut Host, question: &Value) {
    let answer = json!({ "action": "accept" });
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer });
    host.send(&answer.to_string()).await;
}

#[tokio::test]
async fn modern_call_without_scope_elicits_page_and_is_repeated() {
    let server = Server::start().await;
    let bridge = bridge(&server, BrowserAvailability::Desktop).await;
    let mut host = bridge.host("one").await;
    for scope in [None, Some("mcp.more")] {
        if let Some(scope) = scope {
            server.record.want_scope(scope);
        }
        let asked = host.request(1, "tools/call", call(json!({}))).await;
        let page = &asked["result"]["inputRequests"]["page"]["params"]["url"];
        let wanted = scope.map(|scope| format!("scope={scope}"));
        let is_it = wanted.is_none_or(|wanted| page.as_str().unwrap().contains(&wanted));
        assert!(is_it, "{asked}");
        let back = json!({
            "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": accepted(&asked),
        });
        host.send(&back.to_string()).await;
        bridge.browse().await;
        let answer = host.answer(2, &mut Vec::new()).await;
        assert_eq!(answer["result"], call(json!({})), "{answer}");
    }
}

#[tokio::test]
async fn host_shows_page_and_device_code() {
    let server = Server::start().await;
    server.record.offer_codes();
    let bridge = bridge(
        &server,
        BrowserAvailability::Unavailable(NoBrowserReason::Ssh),
    )
    .await;
    let mut host = legacy(&bridge).await;
    let asked = question(&mut host).await;
    assert_eq!(asked["params"]["url"], "https://login.example/device");
    let text = asked["params"]["message"].as_str().unwrap();
    assert!(text.contains("the code WDJB-MJHT"), "{text}");
    accept(&mut host, &asked).await;
    server.record.enter_code();
    let mut told = Vec::new();
    while told
        .last()
        .is_none_or(|message: &Value| message["method"] != "notifications/elicitation/complete")
    {
        told.push(host.value().await);
    }
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
}

#[tokio::test]
async fn host_declining_at_once_gets_device_code() {
    let server = Server::start().await;
    server.record.offer_codes();
    let bridge = bridge(
        &server,
        BrowserAvailability::Unavailable(NoBrowserReason::Ssh),
    )
    .await;
    let mut host = legacy(&bridge).await;
    let asked = question(&mut host).await;
    let answer = json!({ "action": "decline" });
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": answer });
    host.send(&answer.to_string()).await;
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    let hint = answer["error"]["data"]["hint"].as_str().unwrap();
    assert!(hint.contains("enter the code WDJB-MJHT"), "{hint}");
    server.record.enter_code();
    bridge.until_state(|state| state.sign_ins.is_empty()).await;
    let answer = host.request(2, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
}

#[cfg(unix)]
#[tokio::test]
async fn page_stays_valid_beside_device_code() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::start().await;
    server.record.offer_codes();
    server.record.want_sign_in();
    server.record.person("ann");
    // A browser that fails after the page was shown.
    let folder = tempfile::tempdir().unwrap();
    let (browser, told) = (folder.path().join("browser"), folder.path().join("told"));
    let script = format!(
        "#!/bin/sh\nwhile [ ! -e '{}' ]; do sleep 0.05; done\nexit 1\n",
        told.display()
    );
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bridge = Bridge::start_with(&server.url(), |options| {
        options.browser = Some(browser.display().to_string());
    })
    .await;
    let following = async {
        let state = bridge.until_state(|state| !state.sign_ins.is_empty()).await;
        let page = state.sign_ins[0].url.clone();
        assert_eq!(state.sign_ins[0].code, None);
        std::fs::write(&told, "").unwrap();
        let has_code = |view: &SignInView| view.code.is_some();
        bridge
            .until_state(|state| state.sign_ins.iter().any(has_code))
            .await;
        bridge.browse_at(&page).await;
    };
    let server = "one".to_owned();
    let way = control::api::SignInWay::Local;
    let request = control::api::Request::SignIn { server, way };
    let (ended, ()) = tokio::join!(bridge.call(request), following);
    ended.unwrap();
}

#[tokio::test]
async fn host_that_shows_no_page_is_skipped() {
    let server = Server::start().await;
    let bridge = bridge(&server, BrowserAvailability::Desktop).await;
    let mut first = bridge.host("one").await;
    let asked = first.request(1, "tools/call", call(json!({}))).await;
    let state = asked["result"]["requestState"].clone();
    assert!(state.is_string(), "{asked}");
    // It comes back without having asked the user.
    let again = call(json!({ "requestState": state }));
    let again = first.request(2, "tools/call", again).await;
    assert_eq!(again["result"], asked["result"]);

    let mut second = legacy(&bridge).await;
    let next = question(&mut second).await;
    let page = &asked["result"]["inputRequests"]["page"]["params"]["url"];
    assert_eq!(next["params"]["url"], *page, "one page for all");
    assert_ne!(next["id"], state);
    accept(&mut second, &next).await;
    bridge.browse().await;
    let late = first.request(3, "tools/call", accepted(&asked)).await;
    assert_eq!(late["result"], call(json!({})), "{late}");
}

#[tokio::test]
async fn sign_in_ends_when_only_host_leaves() {
    let server = Server::start().await;
    let bridge = bridge(&server, BrowserAvailability::Desktop).await;
    for _ in 0..2 {
        let mut host = legacy(&bridge).await;
        question(&mut host).await;
        drop(host);
        bridge.until_state(|state| state.sign_ins.is_empty()).await;
    }
}

#[tokio::test]
async fn browser_opens_when_asked_host_leaves() {
    let server = Server::start().await;
    let bridge = bridge(&server, BrowserAvailability::Desktop).await;
    let mut able = legacy(&bridge).await;
    question(&mut able).await;
    let mut unable = bridge.host("one").await;
    unable.initialize().await;
    let views = bridge.state().await.sign_ins;
    assert_eq!(views[0].browser_problem, None, "it is asked first");

    drop(able);
    let is_opened = |view: &SignInView| view.browser_problem.is_some();
    bridge
        .until_state(|state| state.sign_ins.iter().any(is_opened))
        .await;
    bridge.browse().await;
    let answer = unable.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
}

#[tokio::test]
async fn unreachable_host_is_skipped() {
    let server = Server::start().await;
    let bridge = bridge(&server, BrowserAvailability::Desktop).await;
    let mut deaf = bridge.host("one").await;
    deaf.request(0, "initialize", able()).await;
    bridge.until_state(|state| !state.sign_ins.is_empty()).await;
    let mut next = legacy(&bridge).await;
    let asked = question(&mut next).await;
    accept(&mut next, &asked).await;
    bridge.browse().await;
    let answer = next.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
}

#[tokio::test]
async fn modern_host_is_asked_when_it_calls() {
    let server = Server::start().await;
    let bridge = bridge(&server, BrowserAvailability::Desktop).await;
    let mut host = bridge.host("one").await;
    host.request(1, "tools/list", call(json!({}))).await;
    assert_eq!(bridge.state().await.sign_ins, []);
    let asked = host.request(2, "tools/call", call(json!({}))).await;
    assert!(asked["result"]["requestState"].is_string(), "{asked}");
}
