//! What people complain of where they sign in with other bridges, each as a case.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Harness, program, shim::Shim};

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_opens_no_browser() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    for look in [&["status"][..], &["servers", "list"]] {
        bridge.run(look).await;
    }
    // They end with an error, because nobody is signed in.
    for look in [&["doctor"][..], &["servers", "test", "snippets"]] {
        bridge.try_run(look).await;
    }
    assert_eq!(bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_five_copies_and_kills_them_loses_no_sign_in() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    let hello = json!({ "name": "hello_mcp", "arguments": {} });
    let copies = (0..5).map(async |_| {
        let mut shim = Shim::connect(&bridge, "snippets").await;
        shim.ask("tools/call", hello.clone()).await;
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
