//! Consents, another sign-in, and sign-out for a user who is signed in.

use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::any;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::demo::SignedIn;
use crate::installation::{Ended, Installation};

/// A timeout far above what any command needs.
const TIMEOUT: Duration = Duration::from_secs(60);

const ADELE: &str = "adele@contoso.example";

fn output(ended: &Ended) -> (Option<i32>, &str, &str) {
    (ended.code, ended.stdout.as_str(), ended.stderr.as_str())
}

/// Runs a command with the demo's browser.
async fn with_browser(installation: &Installation, arguments: &[&str]) -> Ended {
    let mut command = installation.command(arguments);
    command.env("POSTERN_BROWSER", browser());
    let ended = tokio::time::timeout(TIMEOUT, command.output()).await;
    Ended::from(ended.expect("the command ends").unwrap())
}

fn browser() -> String {
    format!("{} demo-browser", env!("CARGO_BIN_EXE_postern"))
}

async fn consents(installation: &Installation) -> Vec<Value> {
    let list = installation.run(&["consents", "list", "--json"]).await;
    assert_eq!(list.code, Some(0), "{list:?}");
    serde_json::from_str(&list.stdout).unwrap()
}

/// Adds servers whose consents cannot be listed, each for a different reason.
async fn add_broken_servers(installation: &Installation) {
    // This server names its metadata.
    let challenge = r#"Bearer resource_metadata="http://127.0.0.1:9/contoso""#;
    let challenge = [(header::WWW_AUTHENTICATE, challenge)];
    let router = Router::new()
        .route(
            "/contoso/mcp",
            any(async move || (StatusCode::UNAUTHORIZED, challenge)),
        )
        .route("/forbidden/mcp", any(async || StatusCode::FORBIDDEN));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut config = std::fs::read_to_string(installation.home().config_file()).unwrap();
    for name in ["contoso", "forbidden", "missing"] {
        config += &format!("\n[servers.{name}]\nurl = 'http://{address}/{name}/mcp'\n");
    }
    config += "\n[servers.gone]\nurl = 'http://127.0.0.1:9/mcp'\n\
               \n[servers.public]\nurl = 'http://127.0.0.1:9/mcp'\nauth = { kind = 'none' }\n";
    std::fs::write(installation.home().config_file(), config).unwrap();
    for name in ["contoso", "forbidden", "missing", "gone", "public"] {
        let test = installation.run(&["servers", "test", name]).await;
        assert_ne!(test.code, Some(0), "{name}: {test:?}");
    }
}

#[tokio::test]
async fn consents_list_names_unasked_servers_in_one_line() {
    let installation = Installation::unused();
    let _demo = SignedIn::start(&installation).await;
    add_broken_servers(&installation).await;
    let list = installation.run(&["consents", "list"]).await;
    assert_eq!(list.code, Some(0), "{list:?}");
    let rows: Vec<&str> = list.stdout.lines().collect();
    assert!(rows.len() == 2 && rows[1].contains("snippets"), "{list:?}");
    assert_eq!(
        list.stderr,
        "not asked: contoso (not signed in), forbidden (does not work), \
         gone (cannot be reached), missing (is not an MCP server)\n\
         hint: `postern consents list NAME` says more about one of them\n"
    );
    assert_eq!(consents(&installation).await.len(), 1);
    // For a named server, the command fails.
    let one = installation.run(&["consents", "list", "contoso"]).await;
    assert_eq!((one.code, one.stdout.as_str()), (Some(3), ""), "{one:?}");
    assert!(one.stderr.contains("postern sign-in contoso"), "{one:?}");
}

#[tokio::test]
async fn consent_is_revoked_by_id_or_server_name() {
    let installation = Installation::unused();
    let _demo = SignedIn::start(&installation).await;
    for by_id in [false, true] {
        let id = consents(&installation).await[0]["id"].clone();
        let named = if by_id {
            id.as_str().unwrap()
        } else {
            "snippets"
        };
        let revoked = installation.run(&["consents", "revoke", named]).await;
        assert_eq!(revoked.code, Some(0), "{named}: {revoked:?}");
        assert!(
            revoked.stdout.contains("Revoked the consent"),
            "{revoked:?}"
        );
        let again = with_browser(&installation, &["sign-in", "snippets"]).await;
        assert_eq!(again.code, Some(0), "{again:?}");
        let next = consents(&installation).await;
        assert!(next.len() == 1 && next[0]["id"] != id, "{next:?}");
    }
    let unknown = installation.run(&["consents", "revoke", "typo"]).await;
    assert_eq!(
        output(&unknown),
        (
            Some(1),
            "",
            "error: there is no consent and no server `typo`\n\
             hint: `postern consents list` lists the consents\n"
        )
    );
}

#[tokio::test]
async fn sign_in_while_signed_in_names_account_and_starts_nothing() {
    let installation = Installation::unused();
    let _demo = SignedIn::start(&installation).await;
    let already = format!("Already signed in to snippets as {ADELE}.\n");
    for way in [None, Some("--device-code"), Some("--paste")] {
        let arguments: Vec<_> = ["sign-in", "snippets"].into_iter().chain(way).collect();
        let ended = with_browser(&installation, &arguments).await;
        let way = way.map_or(String::new(), |way| format!(" {way}"));
        let again = format!(
            "hint: `postern sign-in snippets --select-account{way}` signs in again or as another account\n"
        );
        assert_eq!(output(&ended), (Some(0), already.as_str(), again.as_str()));
    }
    // The command of the hint signs in.
    let again = with_browser(&installation, &["sign-in", "snippets", "--select-account"]).await;
    let signed_in = format!("Signed in to snippets as {ADELE}.\n");
    assert_eq!(
        (again.code, again.stdout.as_str()),
        (Some(0), signed_in.as_str()),
        "{again:?}"
    );
}

#[tokio::test]
async fn sign_in_while_signed_in_asks_at_terminal() {
    let installation = Installation::unused();
    let _demo = SignedIn::start(&installation).await;
    for (answer, signs_in) in [("n\n", false), ("\n", false), ("y\n", true)] {
        let shown = at_terminal(&installation, "sign-in snippets", answer).await;
        assert!(
            shown.contains(&format!("Already signed in to snippets as {ADELE}.")),
            "{shown}"
        );
        let signed_in = format!("\nSigned in to snippets as {ADELE}.");
        assert_eq!(shown.contains(&signed_in), signs_in, "{answer:?}: {shown}");
    }
}

/// Runs a command at a pseudo-terminal, answers its question, and returns its output.
async fn at_terminal(installation: &Installation, command: &str, answer: &str) -> String {
    let program = env!("CARGO_BIN_EXE_postern");
    let command = format!(
        "{program} {command} --home {}",
        installation.folder().display()
    );
    let mut terminal = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .env("POSTERN_BROWSER", browser())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut keyboard, mut screen) = (
        terminal.stdin.take().unwrap(),
        terminal.stdout.take().unwrap(),
    );
    let mut shown = String::new();
    let mut bytes = [0; 1024];
    let mut is_answered = false;
    let reading = async {
        loop {
            let count = screen.read(&mut bytes).await.unwrap();
            if count == 0 {
                return shown;
            }
            shown += &String::from_utf8_lossy(&bytes[..count]).replace('\r', "");
            if !is_answered && shown.contains("[y/N]") {
                keyboard.write_all(answer.as_bytes()).await.unwrap();
                is_answered = true;
            }
        }
    };
    tokio::time::timeout(TIMEOUT, reading).await.unwrap()
}

#[tokio::test]
async fn unsupported_device_code_error_suggests_paste() {
    let installation = Installation::unused();
    let _demo = SignedIn::start(&installation).await;
    installation.run(&["sign-out"]).await;
    let refused = installation.run(&["sign-in", "snippets", "--device"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.ends_with(
            "\nhint: sign in with a browser: `postern sign-in snippets`, or \
             `postern sign-in snippets --paste` for one on another machine\n"
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn sign_out_takes_name_of_server() {
    let installation = Installation::unused();
    let _demo = SignedIn::start(&installation).await;
    add_broken_servers(&installation).await;
    let unknown = installation.run(&["sign-out", "typo"]).await;
    assert_eq!(
        output(&unknown),
        (
            Some(1),
            "",
            "error: no account and no server is named `typo`\n\
             hint: `postern status` lists both\n"
        )
    );
    let none = "No account is signed in to contoso.\n";
    let contoso = installation.run(&["sign-out", "contoso"]).await;
    assert_eq!(output(&contoso), (Some(0), none, ""));
    let signed_out = format!("Signed out {ADELE} of snippets.\n");
    let snippets = installation.run(&["sign-out", "snippets"]).await;
    assert_eq!(output(&snippets), (Some(0), signed_out.as_str(), ""));
    assert_eq!(installation.state().await.accounts, []);
}
