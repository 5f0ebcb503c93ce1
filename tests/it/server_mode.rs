//! Server mode: the bundled gateway runs exactly as long as its bridge.

use control::api::{Request, ServerModeForm, ServerModeState};
use serde_json::Value;

use crate::harness::{Harness, bridge::Bridge, free_port, program, until};

/// Returns the URL and the process id of the running gateway.
async fn running(bridge: &Bridge) -> (String, u32) {
    until("the gateway of server mode", async || {
        match bridge.state().await.server_mode {
            ServerModeState::Running { url, pid } => Some((url, pid)),
            ServerModeState::Starting => None,
            other => panic!("{other:?}"),
        }
    })
    .await
}

async fn gone(process: u32) {
    until("the gateway's end", async || {
        program::is_gone(process).then_some(())
    })
    .await;
}

async fn configure(harness: &Harness, bridge: &Bridge) {
    let form = ServerModeForm {
        port: free_port().await,
        authority: harness.servers.authority.clone(),
        client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        client_secret: "a client secret".into(),
        server: "snippets".to_owned(),
        server_url: format!("http://{}/mcp", harness.servers.backend_proxy.address()),
    };
    bridge.request(Request::ConfigureServerMode { form }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundled_gateway_stops_and_restarts_with_bridge() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    assert_eq!(
        bridge.state().await.server_mode,
        ServerModeState::Unconfigured
    );
    configure(&harness, &bridge).await;
    assert_eq!(bridge.state().await.server_mode, ServerModeState::Off);

    bridge.request(Request::StartServerMode).await;
    let (url, first) = running(&bridge).await;
    let metadata = format!("{url}/.well-known/oauth-protected-resource/snippets/mcp");
    let metadata: Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
    assert_eq!(metadata["resource"], format!("{url}/snippets/mcp"));

    // The killed bridge cannot end its gateway.
    bridge.kill().await;
    gone(first).await;
    bridge.start().await;
    let (again, second) = running(&bridge).await;
    assert_eq!(again, url);

    bridge.replace().await;
    let (_, third) = running(&bridge).await;
    assert_ne!(second, third);
    assert!(program::is_gone(second));

    bridge.request(Request::StopServerMode).await;
    gone(third).await;
    bridge.replace().await;
    assert_eq!(bridge.state().await.server_mode, ServerModeState::Off);

    bridge.request(Request::StartServerMode).await;
    let (_, last) = running(&bridge).await;
    bridge.request(Request::Quit).await;
    gone(last).await;
    bridge.start().await;
    assert_eq!(bridge.state().await.server_mode, ServerModeState::Off);
}
