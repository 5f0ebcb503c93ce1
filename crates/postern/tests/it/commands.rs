//! Output, errors and exit codes of the commands.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::installation::{Ended, Installation};
use crate::shim::INITIALIZE;

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

#[tokio::test]
async fn help_lists_commands_and_exit_codes() {
    let installation = Installation::new();
    let help = installation.run(&["--help"]).await.stdout;
    for word in [
        "connect", "bridge", "gateway", "emulator", "snippets", "ui", "sign-in", "sign-out",
        "status",
    ] {
        assert!(
            help.contains(&format!("\n  {word} ")),
            "{word} is missing in {help}"
        );
    }
    for word in [
        "servers",
        "hosts",
        "consents",
        "secrets",
        "doctor",
        "demo",
        "POSTERN_HOME",
        "POSTERN_VAULT",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
    assert!(
        !help.contains("demo-browser") && !help.contains("detached"),
        "{help}"
    );
    for command in [
        "connect", "bridge", "gateway", "emulator", "snippets", "ui", "demo",
    ] {
        let help = installation.run(&[command, "--help"]).await;
        assert!(
            help.stdout.contains("Example") || command == "ui",
            "{help:?}"
        );
    }
}

#[tokio::test]
async fn invalid_arguments_are_usage_error() {
    let installation = Installation::new();
    for arguments in [
        &["frobnicate"][..],
        &["connect"],
        &["sign-out", "x", "--all"],
        &["hosts", "add", "emacs", "x"],
        &["bridge", "--replace=sometimes"],
        &["emulator", "--tls"],
    ] {
        let ended = installation.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?} {ended:?}");
        assert_eq!(ended.stdout, "");
    }
    let mut wrong = installation.command(&["bridge"]);
    let ended = Ended::from(wrong.env("POSTERN_VAULT", "attic").output().await.unwrap());
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("POSTERN_VAULT is `attic`") && ended.stderr.contains("hint: "),
        "{ended:?}"
    );
}

#[tokio::test]
async fn status_does_not_start_bridge() {
    let installation = Installation::new();
    let status = installation.run(&["status"]).await;
    assert_eq!((status.stdout.as_str(), status.code), ("", Some(4)));
    assert!(
        status
            .stderr
            .starts_with("error: the bridge does not run\nhint: "),
        "{status:?}"
    );
    let status = installation.run(&["status", "--json"]).await;
    assert_eq!((status.stdout.as_str(), status.code), ("null\n", Some(4)));
    assert!(installation.client().await.is_err());
}

#[tokio::test]
async fn doctor_reports_host_entry_without_server() {
    let installation = Installation::new();
    installation
        .run(&["servers", "add", "nowhere", "http://127.0.0.1:9/mcp"])
        .await;
    let add = ["hosts", "add", "claude-desktop", "nowhere", "--yes"];
    assert_eq!(installation.run(&add).await.code, Some(0));
    let removed = installation.run(&["servers", "remove", "nowhere"]).await;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    let command = "`postern hosts remove claude-desktop nowhere`";
    assert!(removed.stderr.contains(command), "{removed:?}");

    installation.quit().await;
    let doctor = installation.run(&["doctor"]).await;
    assert_eq!(doctor.code, Some(0), "it starts a bridge: {doctor:?}");
    assert!(
        doctor.stdout.contains("its file names `nowhere`") && doctor.stdout.contains(command),
        "{doctor:?}"
    );
    let remove = ["hosts", "remove", "claude-desktop", "nowhere", "--yes"];
    assert_eq!(installation.run(&remove).await.code, Some(0));
    let again = installation.run(&remove).await;
    assert_eq!(again.code, Some(1), "it is unknown now: {again:?}");
    assert!(
        again.stderr.contains("there is no server `nowhere`"),
        "{again:?}"
    );

    let file = installation
        .folder()
        .join(".config/Claude/claude_desktop_config.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{").unwrap();
    let doctor = installation.run(&["doctor"]).await;
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains(file.to_str().unwrap()), "{doctor:?}");
}

#[tokio::test]
async fn doctor_json_contains_checks_of_each_server() {
    let installation = Installation::new();
    let config = "[bridge]\nport = 0\n[servers.files]\nurl = 'http://127.0.0.1:9/mcp'\n\
        auth = { kind = 'entra', authority = 'http://127.0.0.1:9/tenant/v2.0', client_id = 'the-app', resource = 'api://files' }\n";
    std::fs::write(installation.home().config_file(), config).unwrap();
    let doctor = installation.run(&["doctor", "--json"]).await;
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    let checks: Vec<Value> = serde_json::from_str(&doctor.stdout).unwrap();
    let check = |subject: &str| {
        let mut fitting = checks.iter().filter(|check| check["subject"] == subject);
        fitting
            .next()
            .unwrap_or_else(|| panic!("{subject}: {doctor:?}"))
    };
    assert_eq!(check("keychain")["outcome"], "warning");
    assert_eq!(check("server files, discovery")["outcome"], "failed");
    let proxy = check("server files, proxy");
    assert_eq!(proxy["finding"], "none on the way to http://127.0.0.1:9");
}

#[tokio::test]
async fn changed_port_is_reported_until_restart() {
    let installation = Installation::new();
    assert_eq!(
        installation.run(&["bridge", "--detach"]).await.code,
        Some(0)
    );
    std::fs::write(installation.home().config_file(), "[bridge]\nport = 4555\n").unwrap();
    for command in ["status", "doctor"] {
        let shown = installation.run(&[command]).await;
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(
            shown.stdout.contains("port 4555") && shown.stdout.contains("--replace --detach"),
            "{shown:?}"
        );
    }
}

#[tokio::test]
async fn consents_list_fails_if_no_gateway_can_be_asked() {
    let installation = Installation::new();
    let none = installation.run(&["consents", "list"]).await;
    assert_eq!(none.code, Some(0), "there is no gateway to ask: {none:?}");
    for server in ["nowhere", "neither"] {
        let add = ["servers", "add", server, "http://127.0.0.1:9/mcp"];
        installation.run(&add).await;
        installation.run(&["servers", "test", server]).await;
        if server == "nowhere" {
            // The error for a single server states the cause.
            let list = installation.run(&["consents", "list"]).await;
            assert_eq!((list.code, list.stdout.as_str()), (Some(3), ""));
            assert!(
                list.stderr.contains("nowhere needs a sign-in") && list.stderr.contains("\nhint: "),
                "{list:?}"
            );
        }
    }
    let list = installation.run(&["consents", "list"]).await;
    assert_eq!(
        (list.code, list.stdout.as_str(), list.stderr.as_str()),
        (
            Some(4),
            "",
            "error: no consents could be listed; not asked: neither (cannot be reached), nowhere (cannot be reached)\n\
             hint: `postern consents list NAME` says more about one of them\n"
        )
    );
    let list = installation.run(&["consents", "list", "--json"]).await;
    assert_eq!((list.code, list.stdout.as_str()), (Some(4), "[]\n"));
}

#[tokio::test]
async fn http_to_other_machine_requires_confirmation() {
    let installation = Installation::new();
    let add = ["servers", "add", "far", "http://far.example/mcp"];
    let refused = installation.run(&add).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for part in [
        "neither https nor on this machine",
        "allow_http = true",
        "terminal",
    ] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    let config = std::fs::read_to_string(installation.home().config_file()).unwrap();
    assert!(!config.contains("far"), "{config}");
    let near = installation
        .run(&["servers", "add", "near", "http://127.0.0.1:9/mcp"])
        .await;
    assert_eq!(near.code, Some(0), "{near:?}");
}

#[tokio::test]
async fn secret_is_read_from_stdin_and_never_shown() {
    let installation = Installation::new();
    let none = installation.run(&["secrets", "list"]).await;
    assert!(
        none.stdout.starts_with("No secrets yet.\nhint: "),
        "{none:?}"
    );
    let set = async |name: &str, input: &str| {
        let mut command = installation.command(&["secrets", "set", name]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut set = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = set.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        Ended::from(set.wait_with_output().await.unwrap())
    };
    let stored = set("crm-key", "hush-value\r\n").await;
    assert_eq!(
        (stored.code, stored.stdout.as_str()),
        (Some(0), "Stored crm-key.\n")
    );
    assert!(
        stored.stderr.contains("{ secret = \"crm-key\" }"),
        "{stored:?}"
    );

    let config = "[servers.crm]\nurl = 'http://127.0.0.1:9/mcp'\n[servers.crm.headers]\nX-Api-Key = { secret = 'crm-key' }\nX-Other = { secret = 'lost' }\n";
    std::fs::write(installation.home().config_file(), config).unwrap();
    let list = installation.run(&["secret", "list"]).await;
    let expected = "  crm-key  stored   used by crm\n  lost     missing  used by crm\n";
    assert_eq!(list.stdout, expected);
    let listed = json(&installation.run(&["secrets", "list", "--json"]).await);
    assert_eq!(listed[1]["stored"], false);
    let status = installation.run(&["status"]).await;
    assert!(status.stdout.contains("X-Api-Key, X-Other"), "{status:?}");
    let test = installation.run(&["servers", "test", "crm"]).await;
    assert_eq!(test.code, Some(1), "{test:?}");
    assert!(
        test.stderr.contains("`postern secrets set lost`"),
        "{test:?}"
    );

    for input in ["", "two\nhush-lines\n"] {
        let refused = set("crm-key", input).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains("\nhint: ") && !refused.stderr.contains("hush"),
            "{refused:?}"
        );
    }
    let removed = installation.run(&["secrets", "remove", "crm-key"]).await;
    assert_eq!(
        (removed.code, removed.stderr.as_str()),
        (Some(0), "Still used by crm.\n")
    );
    let again = installation.run(&["secrets", "remove", "crm-key"]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
}

#[tokio::test]
async fn connect_exits_with_0_and_shows_no_secret() {
    let installation = Installation::new();
    let help = installation.run(&["connect", "--help"]).await;
    assert!(help.stdout.contains("The exit code is 0"), "{help:?}");
    let ended = installation.run(&["connect", "typo"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));

    let server = "https://u:hush@127.0.0.1:9/mcp?key=hush";
    let mut command = installation.command(&["connect", server]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shim = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = shim.stdin.take().unwrap();
    stdin.write_all(INITIALIZE.as_bytes()).await.unwrap();
    stdin.write_all(b"\n").await.unwrap();
    drop(stdin);
    let ended = Ended::from(shim.wait_with_output().await.unwrap());
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(answer["error"]["data"]["server"], "127.0.0.1:9/mcp");
    assert!(ended.stderr.contains("127.0.0.1"), "{ended:?}");
    assert!(
        !ended.stdout.contains("hush") && !ended.stderr.contains("hush"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn invalid_ca_file_is_named() {
    let installation = Installation::new();
    let file = installation.folder().join("bad.pem");
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&file, text).unwrap();
    let mut bridge = installation.command(&["bridge"]);
    bridge.env("POSTERN_EXTRA_CA", &file);
    let ended = Ended::from(bridge.output().await.unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains(file.to_str().unwrap()) && ended.stderr.contains("POSTERN_EXTRA_CA"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn gateway_with_invalid_keys_does_not_listen() {
    let installation = Installation::new();
    let file = installation.folder().join("gateway.toml");
    let config = "public_url = \"http://localhost:4180\"
listen = \"127.0.0.1:0\"
session_keys = \"{{keys}}\"
[entra]
authority = \"https://login.microsoftonline.com/8f1c6e4e-0000-4000-8000-000000000001/v2.0\"
client_id = \"c\"
[secrets.keys]
value = \"these are no keys\"
[servers.one]
url = \"http://127.0.0.1:9/mcp\"
";
    std::fs::write(&file, config).unwrap();
    let ended = installation
        .run(&["gateway", "--config", file.to_str().unwrap()])
        .await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("session_keys"), "{ended:?}");
}

#[tokio::test]
async fn emulator_with_invalid_files_does_not_listen() {
    let installation = Installation::new();
    let file = |name: &str, text: &str| {
        let file = installation.folder().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let certificate = file("gateway.pem", "this is no certificate");
    file("entra/entra-ca.pem", "");
    let key = file("entra/entra-ca-key.pem", "this is no key");
    let folder = key.strip_suffix("/entra-ca-key.pem").unwrap_or(&key);
    for (arguments, named) in [
        (
            &["emulator", "--gateway-certificate", &certificate][..],
            &*certificate,
        ),
        (&["emulator", "--tls", "--data-dir", folder], folder),
    ] {
        let ended = installation.run(arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(
            ended.stderr.contains(named) && ended.stderr.contains("hint: "),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn servers_can_be_added_listed_tested_and_removed() {
    let installation = Installation::new();
    let none = installation.run(&["servers", "list"]).await;
    assert!(none.stdout.contains("postern servers add"), "{none:?}");
    let added = installation
        .run(&["servers", "add", "nowhere", "http://127.0.0.1:9/mcp"])
        .await;
    assert_eq!(
        (added.code, added.stderr.as_str()),
        (Some(0), ""),
        "{added:?}"
    );
    let list = json(&installation.run(&["servers", "list", "--json"]).await);
    assert_eq!(list[0]["name"], "nowhere");
    let status = json(&installation.run(&["status", "--json"]).await);
    assert_eq!(status["servers"][0]["url"], "http://127.0.0.1:9/mcp");
    let test = installation.run(&["servers", "test", "nowhere"]).await;
    assert_eq!(test.code, Some(4), "{test:?}");
    assert!(
        test.stderr.contains("nowhere") && test.stderr.contains("\nhint: "),
        "{test:?}"
    );
    assert_eq!(
        installation
            .run(&["servers", "remove", "nowhere"])
            .await
            .code,
        Some(0)
    );
    let gone = installation.run(&["servers", "remove", "nowhere"]).await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert_eq!(
        json(&installation.run(&["servers", "list", "--json"]).await),
        serde_json::json!([])
    );
}

#[tokio::test]
async fn configuration_error_names_file_and_line() {
    let installation = Installation::new();
    let file = installation.home().config_file();
    let text = "[bridge]\nport = 0\n[servers.far]\nurl = 'http://far.example/mcp'\n";
    std::fs::write(&file, text).unwrap();
    let place = format!("{}, line 4", file.display());
    let status = installation.run(&["status"]).await;
    assert_eq!(status.code, Some(4), "it starts nothing: {status:?}");
    // The output does not claim that there are no servers.
    let list = installation.run(&["servers", "list"]).await;
    assert_eq!((list.code, list.stdout.as_str()), (Some(0), ""));
    assert!(
        list.stderr.starts_with(&place) && list.stderr.contains("\nhint: use https"),
        "{list:?}"
    );
    let status = installation.run(&["status"]).await.stdout;
    assert!(
        status.contains(&place) && !status.contains("No servers"),
        "{status}"
    );
    let add = ["servers", "add", "near", "http://127.0.0.1:9/mcp"];
    let refused = installation.run(&add).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&place), "{refused:?}");
    // The bridge reads a changed file again.
    std::fs::write(&file, text.replace("http:", "https:")).unwrap();
    let list = installation.run(&["servers", "list"]).await;
    assert!(
        list.stdout.contains("  far  ") && list.stderr.is_empty(),
        "{list:?}"
    );
}

#[tokio::test]
async fn server_is_added_to_host_and_removed() {
    let installation = Installation::new();
    installation
        .run(&["servers", "add", "nowhere", "http://127.0.0.1:9/mcp"])
        .await;
    let file = installation
        .folder()
        .join(".config/Claude/claude_desktop_config.json");
    let add = ["hosts", "add", "claude-desktop", "nowhere"];

    // There is no terminal to confirm at.
    let refused = installation.run(&add).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stdout.contains("+") && refused.stderr.contains("--yes"),
        "{refused:?}"
    );
    assert!(!file.exists());

    let added = installation.run(&[&add[..], &["--yes"]].concat()).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    let content: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let entry = &content["mcpServers"]["nowhere"];
    assert_eq!(entry["command"], env!("CARGO_BIN_EXE_postern"));
    assert_eq!(entry["args"][0], "connect");
    let hosts = json(&installation.run(&["hosts", "list", "--json"]).await);
    assert_eq!(hosts[0]["servers"], serde_json::json!(["nowhere"]));
    let again = installation.run(&[&add[..], &["--yes"]].concat()).await;
    assert!(again.stdout.contains("nothing to change"), "{again:?}");

    let removed = installation
        .run(&["hosts", "remove", "claude-desktop", "nowhere", "--yes"])
        .await;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert!(
        !std::fs::read_to_string(&file)
            .unwrap_or_default()
            .contains("nowhere")
    );
}

#[tokio::test]
async fn import_preview_hides_secrets_and_requires_terminal() {
    let installation = Installation::new();
    let file = installation
        .folder()
        .join(".config/Claude/claude_desktop_config.json");
    let text = r#"{
  "mcpServers": {
    "Team wiki": {
      "command": "npx",
      "args": ["-y", "mcp-remote", "https://wiki.example/mcp", "--header", "Authorization: Bearer ${T}", "--ignore-tool", "rm*"],
      "env": { "T": "s3cret" }
    }
  }
}
"#;
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, text).unwrap();
    let config = std::fs::read_to_string(installation.home().config_file()).unwrap();

    let shown = installation
        .run(&["hosts", "import", "claude-desktop"])
        .await;
    assert_eq!(shown.code, Some(2), "{shown:?}");
    for part in [
        "Team wiki becomes the server team-wiki: https://wiki.example/mcp",
        "secrets to be stored: team-wiki-authorization",
        "`--ignore-tool rm*`",
        "+[servers.team-wiki]",
        "-      \"env\": { \"T\": \"…\" }",
        "+      \"args\": [\"connect\", \"team-wiki\"",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    assert!(
        shown.stderr.contains("no terminal to confirm at"),
        "{shown:?}"
    );
    assert!(!format!("{shown:?}").contains("s3cret"), "{shown:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let now = std::fs::read_to_string(installation.home().config_file()).unwrap();
    assert_eq!(now, config);
    let none = installation
        .run(&["hosts", "import", "claude-desktop", "elsewhere"])
        .await;
    assert!(none.stderr.contains("no entry `elsewhere`"), "{none:?}");
}

#[tokio::test]
async fn unknown_server_fails_with_hint() {
    let installation = Installation::new();
    let unknown = installation.run(&["sign-in", "typo"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(
        unknown.stderr.contains("typo") && unknown.stderr.contains("\nhint: "),
        "{unknown:?}"
    );
    let none = installation.run(&["sign-out"]).await;
    assert_eq!(
        (none.code, none.stdout.as_str()),
        (Some(0), "No account is signed in.\n")
    );
    let nothing = installation.run(&["consents", "list"]).await;
    assert_eq!(nothing.code, Some(0), "{nothing:?}");
    let missing = installation
        .run(&["gateway", "--config", "/nonexistent/gateway.toml"])
        .await;
    assert_eq!(missing.code, Some(1));
    assert!(
        missing
            .stderr
            .contains("/nonexistent/gateway.toml cannot be read"),
        "{missing:?}"
    );
}
