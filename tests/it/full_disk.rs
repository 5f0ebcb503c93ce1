//! A full disk during a token refresh.

use control::api::VaultState;
use serde_json::json;

use crate::{
    concurrency::sign_in_earlier,
    harness::{
        Harness,
        disk::{self, Disk},
        shim::Shim,
        until,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn token_refreshed_on_full_disk_is_stored_later() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    sign_in_earlier(&harness, &bridge).await;
    let refreshes = || {
        let said = harness.servers.gateway_proxy.requests().join("\n");
        said.matches("grant_type=refresh_token").count()
    };
    bridge.start_after(disk::IGNORE_SIGXFSZ).await;
    let disk = Disk::of(&bridge).await;
    disk.fill();

    let mut shim = Shim::connect(&bridge, "snippets").await;
    let hello = shim.call("hello_mcp", json!({})).await;
    assert!(hello.unwrap().contains("Hello"));
    let is_behind = async || bridge.state().await.bridge.vault.state == VaultState::Behind;
    until("a problem", async || is_behind().await.then_some(())).await;
    assert_eq!(refreshes(), 1);
    shim.call("hello_mcp", json!({})).await.expect("it goes on");

    let status = bridge.run(&["status"]).await;
    let vault = bridge.vault();
    let hint = format!("free space on the disk of {}", vault.display());
    assert!(status.contains("cannot be stored since "), "{status}");
    assert!(status.contains(&hint), "{status}");
    // A temporary file's name would make each attempt a new state.
    assert!(!status.contains(".writing-"), "{status}");
    let doctor = bridge.output(&["doctor"], "").await;
    let checks = String::from_utf8(doctor.stdout).expect("text");
    assert!(
        checks.contains("FAILED   tokens: The newest tokens of "),
        "{checks}"
    );
    assert!(checks.contains(&hint), "{checks}");

    disk.clear();
    until("it is stored", async || (!is_behind().await).then_some(())).await;
    bridge.kill().await;
    bridge.start().await;
    let mut shim = Shim::connect(&bridge, "snippets").await;
    let hello = shim.call("hello_mcp", json!({})).await;
    assert!(hello.unwrap().contains("Hello"));
    assert_eq!(bridge.browser.page_count(), 0, "no second sign-in");
    assert_eq!(refreshes(), 1, "the token is the one that was refreshed");
}
