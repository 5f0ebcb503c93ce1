//! Bridge, gateway or shim end and return during a session: no later call is lost.

use control::api::{Request, ServerState};
use serde_json::json;

use crate::harness::{Harness, bridge::Bridge, program, shim::Shim};

/// Returns a host that has called a tool after a sign-in.
async fn host(harness: &Harness, bridge: &Bridge) -> Shim {
    let mut shim = Shim::connect(bridge, "snippets").await;
    let waiting = shim
        .send_request(
            "tools/call",
            json!({ "name": "hello_mcp", "arguments": {} }),
        )
        .await;
    harness.sign_in_at(&bridge.browser.page(0).await).await;
    let answer = shim.response(waiting).await;
    assert!(answer["result"]["content"].is_array(), "{answer}");
    shim
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_bridge_is_restarted_by_shim() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let mut shim = host(&harness, &bridge).await;

    for round in 0..3 {
        let before = bridge.process().await;
        bridge.kill().await;
        let name = format!("round-{round}");
        let given = json!({ "snippetname": name, "snippet": "still here" });
        shim.call("save_snippet", given).await.unwrap();
        let got = shim
            .call("get_snippet", json!({ "snippetname": name }))
            .await;
        assert_eq!(got.unwrap(), "still here");
        assert_ne!(bridge.process().await, before);
    }
    assert_eq!(bridge.browser.page_count(), 1, "no second sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_bridge_keeps_shims_connected() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let mut one = host(&harness, &bridge).await;
    let mut other = Shim::connect(&bridge, "snippets").await;
    let before = bridge.process().await;

    bridge.replace().await;
    assert_ne!(bridge.process().await, before);
    for shim in [&mut one, &mut other] {
        shim.call("hello_mcp", json!({})).await.unwrap();
    }
    assert_eq!(bridge.processes(), [bridge.process().await], "one remains");
    assert_eq!(bridge.browser.page_count(), 1, "no second sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_gateway_is_reported_until_restarted() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let mut shim = host(&harness, &bridge).await;

    harness.servers.kill_gateway().await;
    let refused = shim.call("hello_mcp", json!({})).await.unwrap_err();
    assert!(
        refused["error"]["code"]
            .as_i64()
            .is_some_and(|code| code > 1000),
        "{refused}"
    );
    assert_eq!(refused["error"]["data"]["server"], "snippets");
    assert!(refused["error"]["data"]["hint"].is_string(), "{refused}");

    harness.servers.restart_gateway().await;
    shim.call("hello_mcp", json!({})).await.unwrap();
    assert_eq!(bridge.browser.page_count(), 1, "no second sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_started_without_gateway_connects_later() {
    let harness = Harness::start().await;
    harness.servers.kill_gateway().await;
    let bridge = harness.bridge();
    bridge.start().await;

    let mut shim = Shim::spawn(&bridge, "snippets");
    let answer = shim.initialize().await;
    assert_eq!(
        answer["result"]["protocolVersion"], "2025-11-25",
        "{answer}"
    );
    let tools = shim.request("tools/list", json!({})).await;
    let stand_in = &tools["result"]["tools"][0]["name"];
    assert_eq!(stand_in, "reconnect_snippets", "{tools}");
    assert_eq!(
        bridge.browser.page_count(),
        0,
        "there is nothing to sign in to"
    );

    harness.servers.restart_gateway().await;
    let waiting = shim
        .send_request(
            "tools/call",
            json!({ "name": "hello_mcp", "arguments": {} }),
        )
        .await;
    harness.sign_in_at(&bridge.browser.page(0).await).await;
    let answer = shim.response(waiting).await;
    assert!(answer["result"]["content"].is_array(), "{answer}");
    shim.notification("notifications/tools/list_changed").await;
    let tools = shim.request("tools/list", json!({})).await;
    assert_eq!(
        tools["result"]["tools"].as_array().map(Vec::len),
        Some(3),
        "{tools}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_error_reaches_host_with_its_own_code() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let _signed_in = host(&harness, &bridge).await;

    // A restarted gateway has no connection to its backend.
    harness.servers.backend_proxy.forward_to(None);
    harness.servers.kill_gateway().await;
    harness.servers.restart_gateway().await;
    let mut shim = Shim::spawn(&bridge, "snippets");
    let refused = shim.initialize().await;
    let error = &refused["error"];
    assert_eq!(error["code"], 1109, "{refused}");
    assert_eq!(error["data"]["kind"], "server-down", "{refused}");
    assert_eq!(error["data"]["server"], "snippets", "{refused}");
    assert!(error["data"]["hint"].is_string(), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_shim_leaves_no_session() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let shim = host(&harness, &bridge).await;
    let mut watch = bridge.connect().await.watch().await.unwrap();
    program::kill(shim.process());
    crate::harness::within("the session's end", async {
        while !watch.next().await.unwrap().sessions.is_empty() {}
    })
    .await;
    let state = bridge.state().await;
    assert_eq!(state.servers[0].state, ServerState::Ready);
    bridge.request(Request::Quit).await;
}
