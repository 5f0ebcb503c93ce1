//! The gateway that most organisations have today: authorization without metadata, a session that
//! ends after an hour, HTTP+SSE only. Every host reaches it over every transport.

use std::time::Duration;

use control::api::ServerState;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    apim_gateway::{ApimGateway, Metadata},
    bridge::Bridge,
    browser::Browser,
    shim::Shim,
    sign_in_pages,
    wire::{Sse, Streamable},
};

/// The gateway, and a running bridge that knows it.
struct Setup {
    gateway: ApimGateway,
    bridge: Bridge,
    _folder: TempDir,
}

impl Setup {
    async fn start(metadata: Metadata) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-it-")
            .tempdir()
            .expect("a temporary folder");
        let gateway = ApimGateway::start(folder.path(), metadata).await;
        let bridge = Bridge::configured(folder.path(), &gateway.config());
        bridge.start().await;
        Self {
            gateway,
            bridge,
            _folder: folder,
        }
    }

    /// Returns a host whose first call opened the browser and got its response after the sign-in.
    async fn host(&self, browser: &Browser) -> Shim {
        let mut shim = Shim::connect(&self.bridge, "snippets").await;
        let waiting = shim.send_request("tools/call", hello()).await;
        browser.go_to(&self.bridge.browser.page(0).await).await;
        allow(browser).await;
        sign_in_pages::sign_in_at_entra(browser, emulator::demo::ADELE).await;
        sign_in_pages::expect_signed_in(browser).await;
        let answer = shim.response(waiting).await;
        assert_eq!(
            answer["result"]["content"][0]["text"],
            "Hello I am MCPTool!"
        );
        shim
    }
}

fn hello() -> serde_json::Value {
    json!({ "name": "hello_mcp", "arguments": {} })
}

/// Consents on the consent page.
async fn allow(browser: &Browser) {
    browser.click("#allow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sign_in_serves_stdio_http_and_sse() {
    for metadata in [Metadata::Published, Metadata::Absent] {
        let (setup, browser) = tokio::join!(Setup::start(metadata), Browser::open());
        let mut shim = setup.host(&browser).await;
        let tools = shim.request("tools/list", json!({})).await;
        let tools = tools["result"]["tools"].as_array().map(Vec::len);
        assert_eq!(tools, Some(3), "{metadata:?}");
        let given = json!({ "snippetname": "greeting", "snippet": "print('hé')" });
        assert_eq!(
            shim.call("save_snippet", given).await.unwrap(),
            "Snippet 'print('hé')' saved successfully"
        );

        let state = setup.bridge.state().await;
        let server = &state.servers[0];
        let name = json!({ "snippetname": "greeting" });
        let endpoint = server.endpoint.as_ref().unwrap();
        let mut http = Streamable::connect(endpoint, Default::default()).await;
        assert_eq!(
            http.call("get_snippet", name.clone()).await.unwrap(),
            "print('hé')"
        );
        let endpoint = server.sse_endpoint.as_ref().unwrap();
        let mut sse = Sse::connect(endpoint, Default::default()).await;
        assert_eq!(sse.call("get_snippet", name).await.unwrap(), "print('hé')");

        assert_eq!(setup.gateway.sessions(), 1, "{metadata:?}");
        assert_eq!(setup.gateway.registrations(), 1, "{metadata:?}");
        assert_eq!(setup.bridge.browser.page_count(), 1, "{metadata:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_session_needs_one_new_sign_in() {
    let (setup, browser) = tokio::join!(Setup::start(Metadata::Published), Browser::open());
    let mut shim = setup.host(&browser).await;

    setup.gateway.advance(Duration::from_secs(60 * 60));
    // Every host waits at once, and they share one tab.
    let mut other = Shim::connect(&setup.bridge, "snippets").await;
    let waiting = shim.send_request("tools/call", hello()).await;
    let page = setup.bridge.browser.page(1).await;
    let waiting_too = other.send_request("tools/call", hello()).await;
    // The same user signs in again in the same browser, which has stored the consent. Entra must
    // show a page in between: the policy of the consent page blocks a form that is redirected
    // straight to loopback.
    browser.go_to(&setup.gateway.sign_out_page()).await;
    browser.go_to(&page).await;
    allow(&browser).await;
    sign_in_pages::sign_in_at_entra(&browser, emulator::demo::ADELE).await;
    sign_in_pages::expect_signed_in(&browser).await;
    for answer in [
        shim.response(waiting).await,
        other.response(waiting_too).await,
    ] {
        assert_eq!(
            answer["result"]["content"][0]["text"], "Hello I am MCPTool!",
            "{answer}"
        );
    }

    assert_eq!(setup.bridge.browser.page_count(), 2);
    assert_eq!(setup.gateway.sessions(), 2);
    assert_eq!(
        setup.gateway.registrations(),
        2,
        "a client registers for each sign-in"
    );
    let state = setup.bridge.state().await;
    assert_eq!(state.servers[0].state, ServerState::Ready);
    assert_eq!(state.accounts.len(), 1, "{:?}", state.accounts);
}
