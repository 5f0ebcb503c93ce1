//! Many hosts and two bridges at the moment when the access token expires.

use std::time::{Duration, SystemTime};

use auth::{AccountSelection, Identity, IdentityOptions, Target, Vault};
use futures_util::future::join_all;
use model::{
    Clock,
    config::{Proxy, ServerAuth},
};
use serde_json::json;

use crate::harness::{Harness, bridge::Bridge, shim::Shim, until};

const HOSTS: usize = 50;

/// The age of the sign-in, whose tokens live for an hour: they are valid and due for a refresh.
const AGO: Duration = Duration::from_secs(57 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_hosts_and_two_bridges_cause_one_refresh() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    sign_in_earlier(&harness, &bridge).await;
    let refreshes = || {
        let said = harness.servers.gateway_proxy.requests().join("\n");
        said.matches("grant_type=refresh_token").count()
    };
    assert_eq!(refreshes(), 0);

    let hosts = (0..HOSTS).map(async |_| {
        let mut shim = Shim::connect(&bridge, "snippets").await;
        let answer = shim.call("hello_mcp", json!({})).await;
        // The shim stays connected until all have their responses.
        (shim, answer)
    });
    let ((), (), answers) = tokio::join!(bridge.start(), bridge.start(), join_all(hosts));
    for (_, answer) in &answers {
        let hello = answer.as_ref().unwrap();
        assert!(hello.contains("Hello"), "{hello}");
    }

    // The refresh runs in parallel with the calls, which need not wait for it.
    until("a refresh", async || (refreshes() > 0).then_some(())).await;
    assert_eq!(refreshes(), 1);
    assert_eq!(bridge.processes(), [bridge.process().await], "one remains");
    assert_eq!(bridge.browser.page_count(), 0, "no second sign-in");
    assert_eq!(bridge.state().await.sessions.len(), HOSTS);
}

/// Stores an earlier sign-in in the vault of a bridge that does not run.
pub(crate) async fn sign_in_earlier(harness: &Harness, bridge: &Bridge) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the bridge uses the system clock"
    )]
    let earlier = SystemTime::now() - AGO;
    let identity = Identity::new(IdentityOptions {
        http: auth::http::HttpClients::new([], &Proxy::None).expect("clients"),
        vault: Vault::file(&bridge.vault()),
        clock: Clock::fixed(earlier),
        client: auth::ClientMetadata {
            name: "Postern".to_owned(),
            document_url: None,
        },
        is_other_user: |_, _| false,
    });
    let url = format!("{}/snippets/mcp", harness.servers.gateway_url());
    let target = Target::new(url.parse().expect("a URL"), ServerAuth::Discover);
    let flow = identity
        .start_sign_in(&target, None, AccountSelection::Last)
        .await;
    let flow = flow.expect("a page");
    let page = flow.url().to_string();
    let (account, ()) = tokio::join!(flow.finish(), harness.sign_in_at(&page));
    account.expect("an account");
}
