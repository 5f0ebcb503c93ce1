//! The app on a real desktop: a panel with a tray, a Secret Service, a window.

use std::fs;

use control::{
    CallError,
    api::{Request, VaultState},
};
use serde_json::{Value, json};

use crate::harness::{
    Harness,
    desktop::{Desktop, app, keychain, pictures::Pictures, tray::Tray},
    secrets::{Secrets, StartedProcesses},
    shim::Shim,
    until,
};

/// The account as the menu and the window show it.
const ADELE: &str = "Adele Vance (adele@contoso.example)";

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_from_tray_is_shown_in_window() {
    let harness = Harness::start().await;
    let started = StartedProcesses::watch(harness.folder());
    let (desktop, keychain) = Desktop::with_keychain(&harness).await;
    let (app, tray) = desktop.start_app(&["--hidden"]).await;

    let menu = tray.menu_when(|menu| menu.has("Sign in")).await;
    for label in ["Not signed in", "snippets: not used yet", "Quit Postern"] {
        assert!(menu.has(label), "no {label} in\n{menu}");
    }
    assert!(!menu.find("Not signed in").unwrap().enabled);
    assert_eq!(tray.tooltip().await, "Postern: not signed in");

    sign_in(&harness, &desktop, &tray).await;
    let menu = tray.menu().await;
    assert!(menu.has("Sign out") && !menu.has("Sign in"), "{menu}");
    assert_eq!(tray.tooltip().await, "Postern: connected");

    assert!(desktop.screen.windows(app::TITLE).await.is_empty());
    tray.click("Open Postern").await;
    let window = desktop.window(&app).await;
    for words in ["Adele Vance", "adele@contoso.example", "snippets", "Ready"] {
        window.shows(words).await;
    }
    for tool in ["hello_mcp", "save_snippet", "get_snippet"] {
        window.shows(tool).await;
    }
    window.go_to("Settings").await;
    window.shows("a key from the system").await;

    let state = desktop.bridge.state().await;
    assert_eq!(state.bridge.vault.state, VaultState::Keychain);
    assert_eq!(keychain.labels().await, ["Postern: key of the token vault"]);
    let found = Secrets::from_gateway(&harness.servers).search(harness.folder(), &started);
    assert!(found.is_empty(), "{found:#?}");
}

/// Signs in from the tray and returns once the menu shows it.
async fn sign_in(harness: &Harness, desktop: &Desktop, tray: &Tray) {
    tray.click("Sign in").await;
    let page = desktop.bridge.browser.page(0).await;
    tray.menu_when(|menu| menu.has("Cancel sign-in to snippets"))
        .await;
    harness.sign_in_at(&page).await;
    tray.menu_when(|menu| menu.has(ADELE) && menu.has("snippets: ready"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_window_reopens_on_second_start() {
    let harness = Harness::start().await;
    let desktop = Desktop::start(&harness).await;
    let (mut app, tray) = desktop.start_app(&[]).await;
    for _ in 0..2 {
        desktop.screen.close(app::TITLE).await;
        assert!(app.runs());
        assert!(tray.menu().await.has("Open Postern"));
        app.start_again(&desktop.session, &desktop.bridge).await;
        desktop.screen.window(app::TITLE).await;
    }
    desktop.screen.close(app::TITLE).await;
    tray.click_icon().await;
    desktop.screen.window(app::TITLE).await;
    assert_eq!(desktop.screen.windows(app::TITLE).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn quit_stops_app_and_bridge() {
    let harness = Harness::start().await;
    let desktop = Desktop::start(&harness).await;
    let (app, tray) = desktop.start_app(&["--hidden"]).await;
    tray.menu_when(|menu| menu.has("Sign in")).await;
    assert_eq!(desktop.bridge.processes(), [desktop.bridge.process().await]);

    tray.click("Quit Postern").await;
    assert!(app.ended().await.success());
    until("the bridge's end", async || {
        desktop.bridge.processes().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_app_disconnects_no_host() {
    let harness = Harness::start().await;
    let (desktop, _keychain) = Desktop::with_keychain(&harness).await;
    let (app, tray) = desktop.start_app(&[]).await;
    sign_in(&harness, &desktop, &tray).await;
    let mut shim = Shim::connect(&desktop.bridge, "snippets").await;
    shim.call("hello_mcp", json!({})).await.unwrap();
    let bridge = desktop.bridge.process().await;

    app.kill().await;
    shim.call("hello_mcp", json!({})).await.unwrap();
    assert_eq!(desktop.bridge.process().await, bridge);

    let (_app, tray) = desktop.start_app(&["--hidden"]).await;
    tray.menu_when(|menu| menu.has(ADELE) && menu.has("snippets: ready"))
        .await;
    assert_eq!(desktop.bridge.process().await, bridge);
    shim.call("hello_mcp", json!({})).await.unwrap();
    assert_eq!(desktop.bridge.browser.page_count(), 1, "no second sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_keychain_is_reported_and_fails_sign_in() {
    let harness = Harness::start().await;
    let (desktop, keychain) = Desktop::with_keychain(&harness).await;
    keychain.lock().await;
    let (_app, tray) = desktop.start_app(&["--hidden"]).await;

    // The tooltip shows it before anything is clicked.
    tray.until_tooltip("The keychain is locked").await;
    let server = "snippets".to_owned();
    let way = control::api::SignInWay::Local;
    let mut client = desktop.bridge.connect().await;
    let request = Request::SignIn { server, way };
    let prompted = desktop.screen.window(keychain::PROMPT);
    let (ended, _) = tokio::join!(client.call(&request), prompted);
    assert!(matches!(ended, Err(CallError::Problem(_))), "{ended:?}");
    tray.until_tooltip("The keychain is locked").await;
    let state = desktop.bridge.state().await;
    assert_eq!(state.bridge.vault.state, VaultState::Locked);
    assert_eq!(
        desktop.bridge.browser.page_count(),
        0,
        "no vault to store the sign-in"
    );

    // The user returns to the keychain's prompt.
    desktop.screen.type_line(keychain::PASSWORD).await;
    desktop.screen.until_closed(keychain::PROMPT).await;
    sign_in(&harness, &desktop, &tray).await;
    assert_eq!(keychain.labels().await, ["Postern: key of the token vault"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_keychain_is_reported_and_found_once_started() {
    let harness = Harness::start().await;
    let desktop = Desktop::start(&harness).await;
    let (_app, tray) = desktop.start_app(&["--hidden"]).await;

    tray.click("Sign in").await;
    tray.until_tooltip("There is no keychain").await;
    let state = desktop.bridge.state().await;
    assert_eq!(state.bridge.vault.state, VaultState::Absent);
    let server = "snippets".to_owned();
    let mut client = desktop.bridge.connect().await;
    match client
        .call(&Request::SignIn {
            server,
            way: control::api::SignInWay::Local,
        })
        .await
    {
        Err(CallError::Problem(problem)) => {
            let hint = problem.hint.as_deref().unwrap_or_default();
            assert!(hint.contains("POSTERN_VAULT=file"), "{problem:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        desktop.bridge.browser.page_count(),
        0,
        "no vault to store the sign-in"
    );

    let keychain = keychain::Keychain::start(&desktop.session).await;
    sign_in(&harness, &desktop, &tray).await;
    assert_eq!(keychain.labels().await, ["Postern: key of the token vault"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn window_previews_exact_change_to_host_file() {
    let harness = Harness::start().await;
    let desktop = Desktop::start(&harness).await;
    let file = desktop
        .bridge
        .root()
        .join(".config/Claude/claude_desktop_config.json");
    let before = "{\n  \"mcpServers\": {\n    \"other\": { \"command\": \"x\" }\n  }\n}\n";
    fs::create_dir_all(file.with_file_name("")).unwrap();
    fs::write(&file, before).unwrap();
    let (app, _tray) = desktop.start_app(&[]).await;
    let window = desktop.window(&app).await;

    window.go_to("Apps").await;
    window.press("Add to Claude Desktop").await;
    window.shows("Make this change").await;
    window.shows(&file.display().to_string()).await;
    window.find("//figure//code[starts-with(., '@@')]").await;
    let diff = window.texts("figure code").await;
    assert_eq!(fs::read_to_string(&file).unwrap(), before);

    window.press("Make this change").await;
    window.shows("Quit Claude Desktop and open it again").await;
    let after = fs::read_to_string(&file).unwrap();
    assert_eq!(patched(&diff), after, "{diff:#?}");
    let config: Value = serde_json::from_str(&after).unwrap();
    assert_eq!(config["mcpServers"]["other"], json!({ "command": "x" }));
    let arguments = config["mcpServers"]["snippets"]["args"].as_array().unwrap();
    assert_eq!(arguments[..2], [json!("connect"), json!("snippets")]);
    window.shows("Added").await;
}

/// Returns the file that a diff results in. The diff must show the whole file.
fn patched(diff: &[String]) -> String {
    let hunk = diff.iter().position(|line| line.starts_with("@@"));
    diff[hunk.expect("a hunk") + 1..]
        .iter()
        .filter_map(|line| line.strip_prefix([' ', '+']))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_and_tray_show_signed_in_user() {
    let harness = Harness::start().await;
    let (desktop, _keychain) = Desktop::with_keychain(&harness).await;
    let (app, tray) = desktop.start_app(&[]).await;
    sign_in(&harness, &desktop, &tray).await;
    let window = desktop.window(&app).await;
    let pictures = Pictures::wanted();

    for words in ["Ready", "/snippets/mcp", "/snippets/sse", "save_snippet"] {
        window.shows(words).await;
    }
    pictures.window("servers.png", &desktop.screen).await;

    window.go_to("Access").await;
    window.shows("may use snippets").await;
    window.shows("Since").await;
    pictures.window("consents.png", &desktop.screen).await;

    window.go_to("Apps").await;
    window.press("Add to Claude Desktop").await;
    window.shows("mcpServers").await;
    pictures.window("hosts.png", &desktop.screen).await;
    window.press("Cancel").await;

    window.go_to("Settings").await;
    window.shows("a key from the system").await;
    pictures.window("settings.png", &desktop.screen).await;

    window.go_to("Servers").await;
    window.shows("/snippets/mcp").await;
    desktop.screen.open_tray_menu().await;
    pictures.screen("tray.png", &desktop.screen).await;
}
