//! Import of `mcp-remote` entries from a host's file.

use std::fs;
use std::path::PathBuf;

use control::CallError;
use control::api::{HostId, HostImport, Problem, Reply, Request};
use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::server::Server;

const HOST: HostId = HostId::ClaudeDesktop;

/// The secret that only the backup may contain.
const SECRETS: [&str; 4] = [
    "s3cret-one",
    "s3cret-client",
    "s3cret-other",
    "s3cret-query",
];

fn file(bridge: &Bridge) -> PathBuf {
    let root = bridge.home.root().unwrap();
    root.join(".config/Claude/claude_desktop_config.json")
}

fn write(bridge: &Bridge, text: &str) {
    fs::create_dir_all(file(bridge).parent().unwrap()).unwrap();
    fs::write(file(bridge), text).unwrap();
}

fn config(bridge: &Bridge) -> String {
    fs::read_to_string(bridge.home.config_file()).unwrap()
}

fn import(reply: Result<Reply, CallError>) -> HostImport {
    match reply {
        Ok(Reply::HostImport(import)) => import,
        other => panic!("{other:?}"),
    }
}

fn refusal(reply: Result<Reply, CallError>) -> Problem {
    match reply {
        Err(CallError::Problem(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

async fn preview(bridge: &Bridge, entries: &[&str]) -> Result<Reply, CallError> {
    let entries = entries.iter().map(|&entry| entry.to_owned()).collect();
    let request = Request::PreviewHostImport {
        host: HOST,
        entries,
    };
    bridge.call(request).await
}

async fn make(
    bridge: &Bridge,
    approved: &HostImport,
    allow_http: bool,
) -> Result<Reply, CallError> {
    let request = Request::ImportFromHost {
        host: HOST,
        entries: Vec::new(),
        approved: approved.clone(),
        allow_http,
    };
    bridge.call(request).await
}

/// The arguments of our entry for a server.
fn ours(bridge: &Bridge, server: &str) -> Value {
    let root = bridge.home.root().unwrap();
    json!(["connect", server, "--home", root.to_str().unwrap()])
}

#[tokio::test]
async fn approved_import_is_applied_with_headers() {
    let server = Server::start().await;
    server.record.want_key("s3cret-one");
    let bridge = Bridge::start("http://127.0.0.1:9/").await;
    let text = format!(
        r#"{{
  // kept
  "mcpServers": {{
    "One!": {{
      "command": "npx",
      "args": ["-y", "mcp-remote@latest", "{}", "3334", "--header", "X-Api-Key:${{KEY}}", "--ignore-tool", "delete*", "--debug"],
      "env": {{ "KEY": "s3cret-one", "HTTPS_PROXY": "http://proxy.example" }},
      "disabled": false
    }},
    "crm": {{
      "command": "cmd", "args": ["/c", "npx", "mcp-remote", "https://crm.example/sse?k=s3cret-query", "--transport", "sse-only",
        "--static-oauth-client-info", "{{\"client_id\":\"id-1\",\"client_secret\":\"${{CRM}}\"}}",
        "--static-oauth-client-metadata", "{{\"scope\":\"read write\"}}"],
      "env": {{ "CRM": "s3cret-client" }}
    }},
    "files": {{ "command": "npx", "args": ["files", "--key", "s3cret-other"] }}
  }}
}}
"#,
        server.url()
    );
    write(&bridge, &text);
    let (before, shown) = (config(&bridge), import(preview(&bridge, &[]).await));
    assert_eq!(
        (fs::read_to_string(file(&bridge)).unwrap(), config(&bridge)),
        (text.clone(), before)
    );
    let names: Vec<_> = shown
        .servers
        .iter()
        .map(|server| server.name.as_str())
        .collect();
    assert_eq!(names, ["one-2", "crm"], "there is a `one` already");
    assert_eq!(shown.servers[0].secrets, ["one-2-x-api-key"]);
    let remarks = shown.servers[0].remarks.join("\n");
    for part in [
        "`--ignore-tool delete*`",
        "`--debug`",
        "the port 3334",
        "`HTTPS_PROXY`",
    ] {
        assert!(remarks.contains(part), "{part}: {remarks}");
    }

    let made = import(make(&bridge, &shown, false).await);
    let said = serde_json::to_string(&[&shown, &made]).unwrap();
    let now = fs::read_to_string(file(&bridge)).unwrap();
    for secret in &SECRETS {
        assert!(!said.contains(secret), "{said}");
        let may_stay = matches!(*secret, "s3cret-other");
        assert_eq!(now.contains(secret), may_stay, "{now}");
    }
    assert!(!config(&bridge).contains("s3cret-one") && !config(&bridge).contains("s3cret-client"));
    assert_eq!(fs::read_to_string(made.backup.unwrap()).unwrap(), text);
    assert!(now.contains("// kept"), "{now}");
    let now: Value = serde_json::from_str(&now.replace("// kept", "")).unwrap();
    let entry =
        json!({ "command": "/usr/bin/postern", "args": ours(&bridge, "one-2"), "disabled": false });
    assert_eq!(now["mcpServers"]["One!"], entry);
    assert_eq!(now["mcpServers"]["crm"]["args"], ours(&bridge, "crm"));
    let config: toml::Table = config(&bridge).parse().unwrap();
    let expected: toml::Table = r#"
        url = "https://crm.example/sse?k=s3cret-query"
        transport = "sse"
        auth = { kind = "client", client_id = "id-1", client_secret = { secret = "crm-client" }, scopes = ["read", "write"] }
    "#.parse().unwrap();
    assert_eq!(config["servers"]["crm"].as_table(), Some(&expected));

    let mut host = bridge.host("one-2").await;
    host.initialize().await;
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
    let nothing = import(preview(&bridge, &[]).await);
    assert_eq!((nothing.servers, nothing.diff), (Vec::new(), String::new()));
}

#[tokio::test]
async fn import_of_exposed_server_needs_approval() {
    let bridge = Bridge::start("http://127.0.0.1:9/").await;
    write(
        &bridge,
        r#"{"mcpServers":{"far":{"command":"bunx","args":["mcp-remote","http://far.example/mcp","--allow-http"]}}}"#,
    );
    let shown = import(preview(&bridge, &["far"]).await);
    assert!(shown.servers[0].exposed && shown.servers[0].config.contains("allow_http = true"));
    let text = fs::read_to_string(file(&bridge)).unwrap();
    let refused = refusal(make(&bridge, &shown, false).await);
    assert!(refused.message.contains("neither https"), "{refused:?}");
    assert!(!config(&bridge).contains("far") && fs::read_to_string(file(&bridge)).unwrap() == text);
    import(make(&bridge, &shown, true).await);
    assert!(config(&bridge).contains("allow_http = true"));
}

#[tokio::test]
async fn failed_import_changes_nothing() {
    let bridge = Bridge::start("http://127.0.0.1:9/").await;
    let text = r#"{"mcpServers":{"a":{"command":"npx","args":["mcp-remote","https://a.example/","--header","X-Key: s3cret-one"]}}}"#;
    write(&bridge, text);
    let shown = import(preview(&bridge, &[]).await);

    // Another entry was added while the user read.
    let more = text.replace(
        r#""a":"#,
        r#""b":{"command":"npx","args":["mcp-remote","https://b.example/"]},"a":"#,
    );
    write(&bridge, &more);
    let refused = refusal(make(&bridge, &shown, false).await);
    assert!(refused.hint.unwrap().contains("look at the change again"));

    write(&bridge, text);
    let mut mode = fs::metadata(file(&bridge)).unwrap().permissions();
    mode.set_readonly(true);
    fs::set_permissions(file(&bridge), mode).unwrap();
    let refused = refusal(make(&bridge, &shown, false).await);
    assert!(refused.message.contains("read-only"), "{refused:?}");
    assert!(
        !config(&bridge).contains("a.example"),
        "{}",
        config(&bridge)
    );
    let secrets = bridge.call(Request::ListSecrets).await.unwrap();
    assert_eq!(secrets, Reply::Secrets(Vec::new()));
    assert_eq!(fs::read_to_string(file(&bridge)).unwrap(), text);
}

#[tokio::test]
async fn unsupported_entry_is_kept_and_reported() {
    let bridge = Bridge::start("http://127.0.0.1:9/").await;
    write(
        &bridge,
        r#"{"mcpServers":{
          "unset":{"command":"npx","args":["mcp-remote","https://a.example/","--header","X-Key: ${NOWHERE}"]},
          "shell":{"command":"sh","args":["-c","npx mcp-remote https://a.example/ --header X:s3cret-one"]},
          "exposed":{"command":"npx","args":["mcp-remote","http://a.example/","--static-oauth-client-info","{\"client_id\":\"c\"}"]},
          "file":{"command":"npx","args":["mcp-remote","https://a.example/","--header-file","/nonexistent/h"]},
          "files":{"command":"npx","args":["files"]}}}"#,
    );
    let shown = import(preview(&bridge, &[]).await);
    assert!(
        shown.servers.is_empty() && shown.diff.is_empty(),
        "{shown:?}"
    );
    let left: Vec<_> = shown
        .left
        .iter()
        .map(|left| (left.entry.as_str(), left.reason.as_str()))
        .collect();
    for (entry, part) in [
        ("unset", "the variable NOWHERE"),
        ("shell", "in a way that Postern does not know"),
        ("exposed", "a sign-in's token could be read"),
        ("file", "`--header-file` cannot be read"),
    ] {
        assert!(
            left.iter()
                .any(|(of, why)| *of == entry && why.contains(part)),
            "{left:?}"
        );
    }
    assert_eq!(left.len(), 4, "{left:?}");
    let problem = refusal(preview(&bridge, &["files"]).await);
    assert!(problem.message.contains("no entry `files`"), "{problem:?}");
}
