//! The Rust SDK as a client in this process: over stdio and over Streamable HTTP, in each of its
//! lifecycle modes.

use rmcp::{
    RoleClient,
    model::{CallToolRequestParams, ProtocolVersion},
    service::{ClientLifecycleMode, RunningService, serve_client_with_lifecycle},
    transport::{StreamableHttpClientTransport, TokioChildProcess},
};
use serde_json::{Value, json};

use super::signed_in;
use crate::harness::{Harness, bridge::Bridge, shim, within};

type Client = RunningService<RoleClient, ()>;

#[tokio::test(flavor = "multi_thread")]
async fn rust_sdk_reaches_tools_in_every_lifecycle_mode() {
    let harness = Harness::start().await;
    let bridge = signed_in(&harness).await;
    let modern = || vec![ProtocolVersion::V_2026_07_28];
    let ways = [
        ("handshake", ClientLifecycleMode::Initialize),
        (
            "discovery",
            ClientLifecycleMode::Discover {
                preferred_versions: modern(),
            },
        ),
        (
            "either",
            ClientLifecycleMode::Auto {
                preferred_versions: modern(),
                legacy_version: None,
            },
        ),
    ];
    for (name, way) in ways {
        let stdio = over_stdio(&bridge, way.clone()).await;
        check_three_tools(stdio, &format!("{name} over stdio")).await;
        let http = over_http(&bridge, way).await;
        check_three_tools(http, &format!("{name} over HTTP")).await;
    }
    assert_eq!(bridge.browser.page_count(), 1);
}

async fn over_stdio(bridge: &Bridge, way: ClientLifecycleMode) -> Client {
    let command = shim::command(bridge, "snippets");
    let transport = TokioChildProcess::new(command).expect("postern starts");
    let beginning = serve_client_with_lifecycle((), transport, way);
    within("stdio", beginning).await.expect("a server")
}

async fn over_http(bridge: &Bridge, way: ClientLifecycleMode) -> Client {
    let state = bridge.state().await;
    let url = state.servers[0].endpoint.clone().expect("a URL");
    let transport = StreamableHttpClientTransport::from_uri(url);
    let beginning = serve_client_with_lifecycle((), transport, way);
    within("HTTP", beginning).await.expect("a server")
}

async fn check_three_tools(client: Client, way: &str) {
    let tools = within(way, client.list_all_tools()).await.expect("a list");
    let mut names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["get_snippet", "hello_mcp", "save_snippet"], "{way}");
    let name = format!("from-rust-{}", way.replace(' ', "-"));
    let snippet = json!({ "snippetname": name, "snippet": "const π = 3.14;" });
    call(&client, "save_snippet", &snippet).await;
    let got = call(&client, "get_snippet", &json!({ "snippetname": name })).await;
    assert_eq!(got, "const π = 3.14;", "{way}");
    within(way, client.cancel()).await.expect("its end");
}

async fn call(client: &Client, tool: &'static str, arguments: &Value) -> String {
    let arguments = arguments.as_object().expect("arguments").clone();
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = within(tool, client.call_tool(params)).await;
    let result = result.unwrap_or_else(|error| panic!("{tool}: {error}"));
    let text = result.content.iter().filter_map(|part| part.as_text());
    text.map(|part| part.text.as_str()).collect()
}
