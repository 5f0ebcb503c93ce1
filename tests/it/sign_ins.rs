//! Known complaints about the sign-ins of other bridges, one case each.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Harness, program, shim::Shim};

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_open_no_browser() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    for look in [&["status"][..], &["servers", "list"]] {
        bridge.run(look).await;
    }
    // These fail without a sign-in.
    for look in [&["doctor"][..], &["servers", "test", "snippets"]] {
        bridge.try_run(look).await;
    }
    assert_eq!(bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_survives_five_killed_shims() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    let hello = json!({ "name": "hello_mcp", "arguments": {} });
    let copies = (0..5).map(async |_| {
        let mut shim = Shim::connect(&bridge, "snippets").await;
        shim.send_request("tools/call", hello.clone()).await;
        shim
    });
    let copies = join_all(copies).await;
    let page = bridge.browser.page(0).await;
    for copy in &copies {
        program::kill(copy.process());
    }
    drop(copies);

    harness.sign_in_at(&page).await;
    let mut next = Shim::connect(&bridge, "snippets").await;
    let answer = next.call("hello_mcp", json!({})).await.unwrap();
    assert!(answer.contains("Hello"), "{answer}");
    assert_eq!(bridge.browser.page_count(), 1, "one tab for all of them");
}
