//! Claude Desktop: what is written into its file is what it can run.

use std::fs;

use control::{
    CallError,
    api::{HostId, Reply, Request},
};
use serde_json::{Value, json};

use crate::harness::{Harness, shim::Shim};

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_add_writes_is_what_claude_desktop_can_run() {
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

    // Claude Desktop starts it with next to nothing, and before anybody has signed in.
    let program = entry["command"].as_str().unwrap();
    let arguments = entry["args"].as_array().unwrap();
    let arguments: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    let mut host = Shim::spawn_program(&bridge, program, &arguments);
    host.initialize().await;
    let waiting = host
        .ask(
            "tools/call",
            json!({ "name": "hello_mcp", "arguments": {} }),
        )
        .await;
    harness.sign_in_at(&bridge.browser.page(0).await).await;
    let answer = host.answer(waiting).await;
    assert!(answer["result"]["content"].is_array(), "{answer}");

    bridge
        .run(&["hosts", "remove", "claude-desktop", "snippets", "--yes"])
        .await;
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nobody_saw_is_not_made() {
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
    let Reply::HostChange(shown) = bridge.ask(preview).await else {
        panic!("no change");
    };

    // Claude Desktop writes its file while the person reads.
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
