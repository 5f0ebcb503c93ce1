//! `/mcp` in both eras.

use reqwest::StatusCode;
use rmcp::model::{CallToolRequestParams, ClientConfig, ProtocolVersion};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde_json::{Value, json};

use crate::harness::{Harness, http_client, initialize, outcome, request, soon};

type Client = RunningService<RoleClient, ClientConfig>;

fn legacy() -> ClientLifecycleMode {
    ClientLifecycleMode::Initialize
}

fn modern() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    }
}

async fn connect(harness: &Harness, user: Option<&str>, era: ClientLifecycleMode) -> Client {
    let transport = StreamableHttpClientTransport::with_client(
        http_client(user),
        StreamableHttpClientTransportConfig::with_uri(harness.at("/mcp")),
    );
    soon(ClientConfig::default().serve_with_lifecycle(transport, era))
        .await
        .unwrap()
}

/// Calls a tool with the SDK's client. Returns the text and whether it is an error.
async fn call(client: &Client, tool: &'static str, arguments: Value) -> (String, bool) {
    let arguments = arguments.as_object().unwrap().clone();
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = serde_json::to_value(soon(client.call_tool(params)).await.unwrap()).unwrap();
    let (text, is_error) = outcome(&result);
    (text.to_owned(), is_error)
}

async fn check_all_three_tools(era: ClientLifecycleMode) {
    let harness = Harness::start().await;
    let client = connect(&harness, Some("ada"), era).await;

    let tools = soon(client.list_all_tools()).await.unwrap();
    let mut names: Vec<_> = tools.iter().map(|tool| tool.name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["get_snippet", "hello_mcp", "save_snippet"]);

    let hello = call(&client, "hello_mcp", json!({})).await;
    assert_eq!(hello, ("Hello I am MCPTool!".to_owned(), false));
    let save = json!({ "snippetname": "greeting", "snippet": "good day\n\"ünï\"" });
    let saved = call(&client, "save_snippet", save).await;
    assert_eq!(saved, ("Snippet \"greeting\" saved.".to_owned(), false));
    let got = call(&client, "get_snippet", json!({ "snippetname": "greeting" })).await;
    assert_eq!(got, ("good day\n\"ünï\"".to_owned(), false));
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn all_three_tools_work_in_legacy_era() {
    check_all_three_tools(legacy()).await;
}

#[tokio::test]
async fn all_three_tools_work_in_modern_era() {
    check_all_three_tools(modern()).await;
}

#[tokio::test]
async fn invalid_arguments_return_tool_error() {
    let harness = Harness::start().await;
    let client = connect(&harness, None, legacy()).await;
    for (tool, arguments, expected) in [
        (
            "get_snippet",
            json!({ "snippetname": "nope" }),
            "no snippet named \"nope\"",
        ),
        ("get_snippet", json!({}), "missing field `snippetname`"),
        (
            "get_snippet",
            json!({ "snippetname": 7 }),
            "expected a string",
        ),
        ("get_snippet", json!({ "snippetname": "" }), "name is empty"),
        (
            "save_snippet",
            json!({ "snippetname": "x" }),
            "missing field `snippet`",
        ),
        (
            "save_snippet",
            json!({ "snippetname": "x".repeat(257), "snippet": "" }),
            "at most 256",
        ),
        (
            "save_snippet",
            json!({ "snippetname": "x", "snippet": "s".repeat(70_000) }),
            "at most 65536",
        ),
    ] {
        let (text, is_error) = call(&client, tool, arguments).await;
        assert!(
            is_error && text.contains(expected) && text.contains("hint: "),
            "{tool}: {text}"
        );
    }
}

#[tokio::test]
async fn users_cannot_read_each_others_snippets() {
    let harness = Harness::start().await;
    let ada = connect(&harness, Some("ada"), legacy()).await;
    let bob = connect(&harness, Some("bob"), modern()).await;
    let anonymous = connect(&harness, None, legacy()).await;
    call(
        &ada,
        "save_snippet",
        json!({ "snippetname": "n", "snippet": "of ada" }),
    )
    .await;

    let ask = || json!({ "snippetname": "n" });
    assert!(call(&bob, "get_snippet", ask()).await.1);
    assert!(call(&anonymous, "get_snippet", ask()).await.1);
    call(
        &bob,
        "save_snippet",
        json!({ "snippetname": "n", "snippet": "of bob" }),
    )
    .await;
    assert_eq!(call(&ada, "get_snippet", ask()).await.0, "of ada");
}

#[tokio::test]
async fn name_with_path_stays_in_data_folder() {
    let harness = Harness::start().await;
    let evil = "../../etc/passwd";
    let client = connect(&harness, Some(evil), modern()).await;
    call(
        &client,
        "save_snippet",
        json!({ "snippetname": evil, "snippet": "mine" }),
    )
    .await;
    let got = call(&client, "get_snippet", json!({ "snippetname": evil })).await;
    assert_eq!(got, ("mine".to_owned(), false));
    let beside = std::fs::read_dir(harness.folder.path()).unwrap().count();
    assert_eq!(beside, 1, "only the data folder itself may appear");
}

#[tokio::test]
async fn snippets_survive_restart() {
    let harness = Harness::start().await;
    let client = connect(&harness, Some("ada"), modern()).await;
    call(
        &client,
        "save_snippet",
        json!({ "snippetname": "n", "snippet": "kept" }),
    )
    .await;
    client.cancel().await.unwrap();
    let harness = harness.restart().await;
    let client = connect(&harness, Some("ada"), legacy()).await;
    let got = call(&client, "get_snippet", json!({ "snippetname": "n" })).await;
    assert_eq!(got, ("kept".to_owned(), false));
}

#[tokio::test]
async fn legacy_initialize_opens_session() {
    let harness = Harness::start().await;
    let response = http_client(Some("ada"))
        .post(harness.at("/mcp"))
        .header("accept", "application/json, text/event-stream")
        .json(&initialize(1, "2025-06-18"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("mcp-session-id"));
}

/// Posts one modern request with the headers that repeat values of its body.
async fn post_modern(harness: &Harness, method: &str, mut params: Value) -> reqwest::Response {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut post = http_client(Some("ada"))
        .post(harness.at("/mcp"))
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    if let Some(name) = params["name"].as_str() {
        post = post.header("mcp-name", name);
    }
    post.json(&request(1, method, params)).send().await.unwrap()
}

/// Returns the one message of a response, whether it came as JSON or as an event.
async fn only_message(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    let body = soon(response.text()).await.unwrap();
    let json = body
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap_or(&body);
    serde_json::from_str(json).unwrap()
}

#[tokio::test]
async fn modern_request_is_stateless() {
    let harness = Harness::start().await;
    let response = post_modern(&harness, "server/discover", json!({})).await;
    assert!(!response.headers().contains_key("mcp-session-id"));
    let result = only_message(response).await["result"].clone();
    assert_eq!(result["resultType"], "complete");
    let versions = result["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")) && versions.contains(&json!("2025-11-25")));

    let call = json!({ "name": "hello_mcp", "arguments": {} });
    let message = only_message(post_modern(&harness, "tools/call", call).await).await;
    assert_eq!(outcome(&message["result"]), ("Hello I am MCPTool!", false));

    let get = http_client(None)
        .get(harness.at("/mcp"))
        .header("accept", "text/event-stream")
        .header("mcp-protocol-version", "2026-07-28");
    assert_eq!(
        get.send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}
