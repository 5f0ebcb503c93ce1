//! `postern demo` without a display.

use std::process::Stdio;

use control::Client;
use control::api::ServerState;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::installation::{Ended, Installation};

async fn demo(installation: &Installation) -> Ended {
    let ended = installation.run(&["demo"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Stderr contains only the URL of the page.
    assert!(
        !ended.stderr.contains("WARN") && !ended.stderr.contains("error"),
        "{ended:?}"
    );
    ended
}

/// A running demo in which Adele is signed in to `snippets`.
pub(crate) struct SignedIn {
    _demo: Child,
    _screen: Lines<BufReader<ChildStdout>>,
}

impl SignedIn {
    pub(crate) async fn start(installation: &Installation) -> Self {
        let mut command = installation.command(&["demo", "--scripted", "--keep"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut demo = command.spawn().unwrap();
        let mut screen = BufReader::new(demo.stdout.take().unwrap()).lines();
        while !screen
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .contains("Ctrl-C")
        {}
        Self {
            _demo: demo,
            _screen: screen,
        }
    }
}

#[tokio::test]
async fn demo_calls_tools_on_every_transport() {
    let installation = Installation::unused();
    let shown = demo(&installation).await.stdout;
    assert!(
        shown.contains("Signed in to snippets as adele@contoso.example."),
        "{shown}"
    );
    for (face, name) in [
        ("stdio: postern connect", "stdio"),
        ("Streamable HTTP: http://", "http"),
        ("HTTP+SSE: http://", "sse"),
    ] {
        let (_, rest) = shown.split_once(face).unwrap();
        assert!(rest.contains("Hello I am MCPTool!"), "{face} {shown}");
        let kept = format!(r#""content":[{{"type":"text","text":"said over {name}"}}]"#);
        assert!(rest.contains(&kept), "{face} {shown}");
    }
    let home = installation.home();
    assert!(
        Client::connect(home, "0", false).await.is_err(),
        "the demo leaves nothing running"
    );

    // The second run finds the files of the first one.
    demo(&installation).await;
}

#[tokio::test]
async fn second_demo_in_same_folder_fails() {
    let installation = Installation::unused();
    std::fs::write(
        installation.home().config_file(),
        "# Written by `postern demo`.\n[bridge]\nport = 0\n",
    )
    .unwrap();
    assert_eq!(
        installation.run(&["bridge", "--detach"]).await.code,
        Some(0)
    );
    let second = installation.run(&["demo"]).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("another --home"), "{second:?}");
}

#[tokio::test]
async fn revoking_consent_signs_out() {
    let installation = Installation::unused();
    let _demo = SignedIn::start(&installation).await;
    let list = installation.run(&["consents", "list", "--json"]).await;
    assert_eq!(list.code, Some(0), "{list:?}");
    let consents: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    let id = consents[0]["id"].as_str().unwrap();
    let revoke = ["consents", "revoke", "snippets", id];
    let revoked = installation.run(&revoke).await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    assert!(
        revoked.stdout.contains("you are signed out there"),
        "{revoked:?}"
    );
    let state = installation.state().await;
    assert_eq!(state.servers[0].state, ServerState::SignInNeeded);
    for again in [&revoke[..], &["consents", "list"]] {
        let ended = installation.run(again).await;
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(
            ended.stderr.contains("postern sign-in snippets"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn demo_does_not_replace_existing_configuration() {
    let installation = Installation::new();
    let file = installation.home().config_file();
    let before = std::fs::read_to_string(&file).unwrap();
    let refused = installation.run(&["demo", "--scripted"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains(file.to_str().unwrap())
            && refused
                .stderr
                .contains("\nhint: give the demo another --home"),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let left: Vec<_> = std::fs::read_dir(installation.folder()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing was made: {left:?}");
}

#[tokio::test]
async fn sign_in_page_can_be_opened_by_hand() {
    let installation = Installation::unused();
    let mut command = installation.command(&["demo", "--scripted"]);
    command.env("POSTERN_BROWSER", "/bin/false");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut demo = command.spawn().unwrap();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines();
    let (mut pages, mut is_told) = (Vec::new(), false);
    while pages.is_empty() || !is_told {
        let line = lines.next_line().await.unwrap().expect("why no page opens");
        pages.extend(line.trim().strip_prefix("http://").map(str::to_owned));
        is_told |= line.contains("No browser could be opened");
    }
    assert_eq!(pages.len(), 1, "{pages:?}");
    let page = format!("http://{}", pages[0]);
    let signed_in = installation.run(&["demo-browser", &page]).await;
    assert_eq!(signed_in.code, Some(0), "{signed_in:?}");
    assert!(demo.wait().await.unwrap().success());
}
