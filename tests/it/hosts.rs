//! Claude Desktop: it can run the entry that is written into its file.

use std::fs;

use control::{
    CallError,
    api::{HostId, Reply, Request},
};
use serde_json::{Value, json};

use crate::harness::{Harness, shim::Shim};

#[tokio::test(flavor = "multi_thread")]
async fn claude_desktop_can_run_added_entry() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let file = bridge
        .root()
        .join(".config/Claude/claude_desktop_config.json");
    let before = "{\n\t\"theme\": \"dark\", // kept\n\t\"mcpServers\": {}\n}\n";
    fs::create_dir_all(file.with_file_name("")).unwrap();
    fs::write(&file, before).unwrap();

    bridge
        .run(&["hosts", "add", "claude-desktop", "snippets", "--yes"])
        .await;
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.contains("\"dark\", // kept"), "{after}");
    let config: Value = serde_json::from_str(&after.replace("// kept", "")).unwrap();
    let entry = &config["mcpServers"]["snippets"];

    // Claude Desktop starts it with a minimal environment and before any sign-in.
    let program = entry["command"].as_str().unwrap();
    let arguments = entry["args"].as_array().unwrap();
    let arguments: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    let mut host = Shim::spawn_program(&bridge, program, &arguments);
    host.initialize().await;
    let waiting = host
        .send_request(
            "tools/call",
            json!({ "name": "hello_mcp", "arguments": {} }),
        )
        .await;
    harness.sign_in_at(&bridge.browser.page(0).await).await;
    let answer = host.response(waiting).await;
    assert!(answer["result"]["content"].is_array(), "{answer}");

    bridge
        .run(&["hosts", "remove", "claude-desktop", "snippets", "--yes"])
        .await;
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn change_without_preview_is_rejected() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let file = bridge
        .root()
        .join(".config/Claude/claude_desktop_config.json");
    fs::create_dir_all(file.with_file_name("")).unwrap();
    fs::write(&file, "{}\n").unwrap();
    let (host, server) = (HostId::ClaudeDesktop, "snippets".to_owned());
    let preview = Request::PreviewHostAdd {
        host,
        server: server.clone(),
    };
    let Reply::HostChange(shown) = bridge.request(preview).await else {
        panic!("no change");
    };

    // Claude Desktop writes its file while the user reads.
    let meanwhile = "{ \"theme\": \"dark\" }\n";
    fs::write(&file, meanwhile).unwrap();
    let make = Request::AddToHost {
        host,
        server,
        approved: shown.diff,
    };
    match bridge.connect().await.call(&make).await {
        Err(CallError::Problem(problem)) => {
            let hint = problem.hint.as_deref().unwrap_or_default();
            assert!(hint.contains("look at the change again"), "{problem:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), meanwhile);
}
