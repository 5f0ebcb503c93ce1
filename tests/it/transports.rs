//! The main use: a user signs in once, and every host reaches the server over every transport.

use serde_json::json;

use crate::harness::{
    Harness,
    shim::Shim,
    wire::{Sse, Streamable},
};

#[tokio::test(flavor = "multi_thread")]
async fn one_sign_in_serves_stdio_http_and_sse() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;

    // The call of a tool opens the browser and waits for the user.
    let mut shim = Shim::connect(&bridge, "snippets").await;
    let waiting = shim
        .send_request(
            "tools/call",
            json!({ "name": "hello_mcp", "arguments": {} }),
        )
        .await;
    harness.sign_in_at(&bridge.browser.page(0).await).await;
    let answer = shim.response(waiting).await;
    let hello = answer["result"]["content"][0]["text"].as_str();
    assert!(hello.is_some_and(|text| text.contains("Hello")), "{answer}");

    let given = json!({ "snippetname": "greeting", "snippet": "print('hé\u{2028}llo')" });
    shim.call("save_snippet", given).await.unwrap();
    let name = json!({ "snippetname": "greeting" });
    assert_eq!(
        shim.call("get_snippet", name.clone()).await.unwrap(),
        "print('hé\u{2028}llo')"
    );

    let state = bridge.state().await;
    let server = &state.servers[0];
    let mut http = Streamable::connect(server.endpoint.as_ref().unwrap(), Default::default()).await;
    assert_eq!(
        http.call("get_snippet", name.clone()).await.unwrap(),
        "print('hé\u{2028}llo')"
    );
    let mut sse = Sse::connect(server.sse_endpoint.as_ref().unwrap(), Default::default()).await;
    assert_eq!(
        sse.call("get_snippet", name).await.unwrap(),
        "print('hé\u{2028}llo')"
    );

    assert_eq!(bridge.browser.page_count(), 1);
    assert_eq!(state.accounts.len(), 1, "{:?}", state.accounts);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_hosts_share_one_sign_in() {
    let harness = Harness::start().await;
    // No bridge runs: the shims start it, and one of them succeeds.
    let bridge = harness.bridge();
    let (mut one, mut other) = tokio::join!(
        Shim::connect(&bridge, "snippets"),
        Shim::connect(&bridge, "snippets")
    );
    let hello = json!({ "name": "hello_mcp", "arguments": {} });
    let first = one.send_request("tools/call", hello.clone()).await;
    let second = other.send_request("tools/call", hello).await;
    harness.sign_in_at(&bridge.browser.page(0).await).await;
    for answer in [one.response(first).await, other.response(second).await] {
        assert!(answer["result"]["content"].is_array(), "{answer}");
    }
    assert_eq!(bridge.browser.page_count(), 1);
    let logins = harness
        .servers
        .gateway_proxy
        .requests()
        .join("\n")
        .matches("GET /oauth-callback")
        .count();
    assert_eq!(logins, 1, "sign-ins at the gateway");
}
