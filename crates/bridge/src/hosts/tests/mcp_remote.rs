//! Recognising `mcp-remote`, reading its options, and masking its entries.

use std::collections::BTreeMap;
use std::io;

use control::api::HeaderSecret;
use model::config::Transport;

use super::server;
use crate::hosts::edit::take_over;
use crate::hosts::masked::masked;
use crate::hosts::mcp_remote::{LaunchEntry, Settings, arguments};

/// Files by absolute path.
const HEADERS: &str = if cfg!(windows) {
    r"C:\headers"
} else {
    "/etc/headers"
};
const CLIENT: &str = if cfg!(windows) {
    r"C:\client"
} else {
    "/etc/client"
};

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, String> {
    let text = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let args = [&["-y", "mcp-remote"], args].concat();
    let entry = LaunchEntry {
        name: "one".to_owned(),
        command: "npx".to_owned(),
        args: args.into_iter().map(str::to_owned).collect(),
        env: env.iter().map(text).collect::<BTreeMap<_, _>>(),
    };
    let file = |path: &std::path::Path| match path.to_str() {
        Some(HEADERS) => Ok("# mine\nX-File: from file\n".to_owned()),
        Some(CLIENT) => Ok(r#"{"client_id":"c","client_secret":"${S}"}"#.to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    entry.settings(&file).unwrap()
}

#[test]
fn mcp_remote_commands_are_recognised() {
    for (command, args) in [
        ("npx", "mcp-remote U"),
        ("npx", "-y mcp-remote@latest U"),
        ("npx", "--yes -p mcp-remote@0.1.9 mcp-remote U"),
        ("/usr/local/bin/npx", "-y mcp-remote U"),
        (r"C:\Program Files\nodejs\npx.cmd", "mcp-remote U"),
        ("cmd", "/c npx -y mcp-remote U"),
        ("cmd.exe", "/C npx mcp-remote U"),
        ("/usr/bin/env", "npx mcp-remote U"),
        ("bunx", "mcp-remote U"),
        ("bun", "x mcp-remote U"),
        ("pnpm", "dlx mcp-remote U"),
        ("npm", "exec -- mcp-remote U"),
        ("node", "/opt/node_modules/mcp-remote/dist/proxy.js U"),
        ("node", r"C:\m\mcp-remote\dist\proxy.js U"),
        ("/home/a/.npm/bin/mcp-remote", "U"),
    ] {
        let args = words(args);
        assert_eq!(
            arguments(command, &args),
            Some(&words("U")[..]),
            "{command} {args:?}"
        );
    }
    for (command, args) in [
        ("npx", "mcp-remote-server U"),
        ("npx", "-y other mcp-remote"),
        ("npx", "-y"),
        ("node", "proxy.js U"),
        ("cmd", "/k npx mcp-remote U"),
        ("python", "mcp-remote U"),
    ] {
        assert_eq!(arguments(command, &words(args)), None, "{command} {args}");
    }
}

#[test]
fn options_are_parsed_like_mcp_remote() {
    let settings = read(
        &[
            "--header",
            "Authorization:${AUTH}",
            "https://a.example/mcp",
            "9696",
            "--transport",
            "http-only",
            "--header-file",
            HEADERS,
            "--header",
            "Host: x",
        ],
        &[("AUTH", "Bearer t")],
    )
    .unwrap();
    assert_eq!(settings.url.as_str(), "https://a.example/mcp");
    assert_eq!(settings.transport, Transport::Http);
    let headers = settings.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(
        headers,
        [("Authorization", "Bearer t"), ("X-File", "from file")]
    );
    assert_eq!(
        settings.warnings,
        [
            "the port 9696: the browser comes back to a free port",
            "`--header Host`: is a header that Postern sets itself",
        ]
    );
    let client = [
        "https://a.example/",
        "--static-oauth-client-info",
        &format!("@{CLIENT}"),
    ];
    let settings = read(&client, &[("S", "s1")]).unwrap();
    let client = settings.client.unwrap();
    assert_eq!(
        (client.id.as_str(), client.uses_client_credentials),
        ("c", false)
    );
    assert_eq!(client.secret, Some(HeaderSecret::from("s1")));
    assert!(settings.warnings[0].contains("http://127.0.0.1/callback"));
}

#[test]
fn errors_and_warnings_contain_no_secret() {
    let odd = [
        "https://a.example/",
        "--odd",
        "hush",
        "--odder=hush",
        "-HUSH",
        "--resource",
        "hush",
        "--header",
        "hush",
    ];
    let settings = read(&odd, &[("OTHER", "hush")]).unwrap();
    let warnings = settings.warnings.join("\n");
    for part in [
        "`--odd`",
        "`--odder`",
        "`--resource`",
        "`--header`",
        "`OTHER`",
    ] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert!(!warnings.to_lowercase().contains("hush"), "{warnings}");
    for args in [
        &["hush"][..],
        &["https://hush@a.example/"],
        &["https://a.example/", "--header", "X: ${hush}hush"],
        &["https://a.example/", "--header", "X: hush\n"],
        &["https://a.example/", "--static-oauth-client-info", "hush"],
        &[
            "https://a.example/",
            "--static-oauth-client-info",
            r#"{"client_secret":"hush"}"#,
        ],
    ] {
        let refused = read(args, &[]).err();
        assert!(
            refused.is_none_or(|why| !why.replace("variable hush", "").contains("hush")),
            "{args:?}"
        );
    }
}

#[test]
fn masked_text_keeps_structure_and_hides_secrets() {
    let text = r#"{
  "key": "hush", "number": 4711, /* hush */
  "mcpServers": {
    // hush
    "demo": { "env": { "T": "hush" }, "command": "npx", "args": ["-y", "mcp-remote", "https://a.example/m?k=hush", "--header", "X: hush", "3334"] },
    "other": { "command": "hush", "args": ["hush"], "url": "https://hush.example" }
  }
}
"#;
    assert_eq!(
        masked(text, &["demo"]).unwrap(),
        r#"{
  "key": "…", "number": …, /* … */
  "mcpServers": {
    // …
    "demo": { "env": { "T": "…" }, "command": "npx", "args": ["-y", "mcp-remote", "https://a.example/m?…", "--header", "…", "3334"] },
    "other": { "command": "…", "args": ["…"], "url": "…" }
  }
}
"#
    );
    let after = take_over(text, &[server("demo")]).unwrap();
    assert!(
        after.contains(
            r#""demo": { "command": "/opt/postern/postern", "args": ["connect", "demo"] },"#
        ),
        "{after}"
    );
    assert_eq!(
        after.matches("hush").count(),
        text.matches("hush").count() - 3
    );
    assert!(
        masked(&after, &["demo"])
            .unwrap()
            .contains(r#""args": ["connect", "demo"]"#)
    );
}
