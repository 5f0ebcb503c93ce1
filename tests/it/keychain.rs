//! The reported state of the system keychain before it is needed.
//!
//! Owns: keychains that are absent, locked, or started later. Checking them must not change them.
//! Does not own: sign-ins with a keychain on a desktop (`desktop`).

use std::{fs, path::Path};

use control::api::{Request, SignInWay, VaultState};
use tokio::process::Command;

use crate::harness::{
    Harness,
    bridge::Bridge,
    desktop::{
        keychain::{self, Keychain},
        screen::Screen,
        session::Session,
    },
    program, until, within,
};

/// Returns a bridge without a key file.
fn bridge(harness: &Harness) -> Bridge {
    let bridge = harness.bridge();
    fs::remove_file(bridge.vault().join("key")).expect("the key file");
    bridge
}

async fn start(command: &mut Command, bridge: &Bridge) {
    command
        .args(["bridge", "--detach", "--home"])
        .arg(bridge.root())
        .env("BROWSER", bridge.browser.program())
        .env("POSTERN_LOG", "info");
    let started = within("the bridge", command.status()).await;
    assert!(started.expect("postern starts").success());
}

/// Starts the bridge without a session bus, as on a server.
async fn start_without_bus(bridge: &Bridge, runtime: &Path) {
    let mut command = Command::new(program::postern());
    command
        .env_clear()
        .env("HOME", bridge.root())
        .env("PATH", program::search_path())
        // Otherwise the bus of the user who runs this would be found.
        .env("XDG_RUNTIME_DIR", runtime);
    start(&mut command, bridge).await;
}

async fn start_in(session: &Session, bridge: &Bridge) {
    start(&mut session.command(program::postern()), bridge).await;
}

async fn until_vault(bridge: &Bridge, wanted: VaultState) {
    until("the state of the keychain", async || {
        let state = bridge.state().await;
        (state.bridge.vault.state == wanted).then_some(())
    })
    .await;
}

/// Returns the output of `doctor`.
async fn doctor(bridge: &Bridge) -> String {
    let output = bridge.output(&["doctor"], "").await;
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_keychain_is_reported_before_any_sign_in() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness);
    let runtime = harness.folder().join("no-bus");
    fs::create_dir_all(&runtime).expect("a folder");
    start_without_bus(&bridge, &runtime).await;

    until_vault(&bridge, VaultState::Absent).await;
    for said in [bridge.run(&["status"]).await, doctor(&bridge).await] {
        for words in [
            "There is no keychain",
            "hint: start a Secret Service such as gnome-keyring",
            "`POSTERN_VAULT=file postern bridge --replace --detach`",
        ] {
            assert!(said.contains(words), "no {words} in\n{said}");
        }
    }
    let said = doctor(&bridge).await;
    assert!(said.contains("FAILED   keychain"), "{said}");
    let log = bridge.log();
    let warned = log.matches("there is no keychain, sign-ins cannot be kept");
    assert_eq!(warned.count(), 1, "{log}");

    let refused = bridge.output(&["sign-in", "snippets"], "").await;
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("the keychain cannot be used"), "{refused}");
    assert!(refused.contains("POSTERN_VAULT=file"), "{refused}");
    assert!(!refused.contains("http"), "no address: {refused}");
    assert_eq!(bridge.browser.page_count(), 0);

    // The fix that the hint names.
    bridge.replace().await;
    until_vault(&bridge, VaultState::KeyFile).await;
    assert!(!doctor(&bridge).await.contains("There is no keychain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keychain_that_starts_later_is_found_without_restart() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness);
    let session = Session::start(harness.folder(), &bridge).await;
    start_in(&session, &bridge).await;
    until_vault(&bridge, VaultState::Absent).await;

    let keychain = Keychain::start(&session).await;
    until_vault(&bridge, VaultState::Keychain).await;
    assert!(!doctor(&bridge).await.contains("FAILED   keychain"));
    assert!(keychain.labels().await.is_empty(), "no key was made");

    let server = "snippets".to_owned();
    let way = SignInWay::Local;
    let mut client = bridge.connect().await;
    let signing_in = async {
        let page = bridge.browser.page(0).await;
        harness.sign_in_at(&page).await;
    };
    let request = Request::SignIn { server, way };
    let (ended, ()) = tokio::join!(client.call(&request), signing_in);
    ended.expect("a sign-in");
    assert_eq!(keychain.labels().await, ["Postern: key of the token vault"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_keychain_is_reported_and_not_prompted_for() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness);
    let session = Session::start(harness.folder(), &bridge).await;
    let keychain = Keychain::start(&session).await;
    keychain.lock().await;
    start_in(&session, &bridge).await;

    until_vault(&bridge, VaultState::Locked).await;
    let said = doctor(&bridge).await;
    assert!(said.contains("The keychain is locked"), "{said}");
    assert!(said.contains("hint: unlock the keychain"), "{said}");
    let prompts = Screen::of(&session).windows(keychain::PROMPT).await;
    assert!(prompts.is_empty(), "the user was prompted");
    assert!(keychain.labels().await.is_empty(), "a key was made");
    assert!(!bridge.log().contains("there is no keychain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn key_file_hides_keychain_from_reports() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    let runtime = harness.folder().join("no-bus");
    fs::create_dir_all(&runtime).expect("a folder");
    start_without_bus(&bridge, &runtime).await;
    let said = doctor(&bridge).await;
    assert!(said.contains("sealed with a key file"), "{said}");
    let state = bridge.state().await;
    assert_eq!(state.bridge.vault.state, VaultState::KeyFile);
    assert_eq!(state.bridge.vault.hint, None);
    assert!(!bridge.log().contains("there is no keychain"));
}
