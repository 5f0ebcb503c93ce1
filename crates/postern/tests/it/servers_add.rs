//! `postern servers add` asks the server first.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::installation::Installation;

/// An MCP server at /mcp, which answers 404 to everything else. Returns its origin.
async fn mcp_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/mcp", post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    origin
}

async fn answer(body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "demo", "version": "1" },
        }),
        Some("tools/list") => json!({ "tools": [{ "name": "one" }] }),
        Some(_) | None => return StatusCode::ACCEPTED.into_response(),
    };
    Json(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })).into_response()
}

async fn servers(installation: &Installation) -> Value {
    let list = installation.run(&["servers", "list", "--json"]).await;
    serde_json::from_str(&list.stdout).unwrap()
}

#[tokio::test]
async fn servers_add_prints_next_step() {
    let installation = Installation::new();
    let url = format!("{}/mcp", mcp_server().await);
    let added = installation.run(&["servers", "add", "demo", &url]).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    assert_eq!(
        added.stdout,
        "Added demo: it is ready, with 1 tool (demo 1, MCP 2025-11-25).\nNext: `postern hosts add claude-desktop demo`\n"
    );
    let gone = ["servers", "add", "gone", "http://127.0.0.1:9/mcp"];
    let added = installation.run(&gone).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(
        added
            .stdout
            .starts_with("Added gone, which cannot be used yet: "),
        "{added:?}"
    );
}

#[tokio::test]
async fn servers_add_proposes_found_url_and_adds_nothing() {
    let installation = Installation::new();
    let origin = mcp_server().await;
    let proposed = installation.run(&["servers", "add", "demo", &origin]).await;
    assert_eq!((proposed.code, proposed.stdout.as_str()), (Some(1), ""));
    let command = format!("`postern servers add demo {origin}/mcp`");
    assert!(proposed.stderr.contains(&command), "{proposed:?}");
    let elsewhere = format!("{origin}/files/mcp");
    let refused = installation
        .run(&["servers", "add", "demo", &elsewhere])
        .await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--no-check"), "{refused:?}");
    assert_eq!(servers(&installation).await, json!([]));
}

#[tokio::test]
async fn servers_add_no_check_adds_url_as_it_is() {
    let installation = Installation::new();
    let origin = mcp_server().await;
    let added = installation
        .run(&["servers", "add", "demo", &origin, "--no-check"])
        .await;
    assert_eq!(added.code, Some(0), "{added:?}");
    assert_eq!(servers(&installation).await[0]["url"], origin);
}
