//! The app on its own screen, session bus and tray, with a fake bridge.
//!
//! Owns: the behaviour of the app on a desktop.
//! Does not own: the real bridge. The end-to-end cases of the workspace include it.

#![cfg(target_os = "linux")]

mod app;
mod bridge;
mod screen;
mod session;
mod tray;
mod window;

use std::time::Duration;

use control::api::{Request, ServerState, SignInWay};

use app::App;
use bridge::{Bridge, account, server, state};
use session::Session;
use window::Window;

/// The timeout of every step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for `work`. Panics after [`TIMEOUT`].
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIMEOUT, work).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("{what}: nothing within {} s", TIMEOUT.as_secs()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_desktop_is_reported_and_app_exits() {
    let session = Session::without_screen();
    let output = App::run_to_end(&session, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("there is no desktop"), "{words}");
    assert!(words.contains("hint: `postern ui`"), "{words}");
    assert!(!words.contains("panicked"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tray_shows_bridge_state_and_sends_clicks() {
    let session = Session::start().await;
    let mut bridge = Bridge::listen(&session.home());
    let mut signed_out = state();
    signed_out.servers = vec![server("snippets", ServerState::SignInNeeded)];
    bridge.show(&signed_out);
    let mut app = App::start(&session, &["--hidden"]);

    let tray = session.tray_item().await;
    let menu = tray.menu_with("Sign in").await;
    assert!(menu.contains("snippets: sign-in needed"), "{menu}");
    assert_eq!(tray.tooltip().await, "Postern: not signed in");

    tray.click("Sign in").await;
    let request = bridge.request().await;
    assert_eq!(
        request,
        Request::SignIn {
            server: "snippets".into(),
            way: SignInWay::Local,
        }
    );
    let mut signed_in = signed_out.clone();
    signed_in.accounts = vec![account("Ada")];
    signed_in.servers = vec![server("snippets", ServerState::Ready)];
    bridge.show(&signed_in);
    let menu = tray.menu_with("Sign out").await;
    assert!(
        menu.contains("Ada") && menu.contains("snippets: ready"),
        "{menu}"
    );
    assert_eq!(tray.tooltip().await, "Postern: connected");

    tray.click("Quit Postern").await;
    assert_eq!(bridge.request().await, Request::Quit);
    assert!(app.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_window_reopens_on_request() {
    let session = Session::start().await;
    let bridge = Bridge::listen(&session.home());
    bridge.show(&state());
    let mut screen = session.screen();
    let mut app = App::start(&session, &["--hidden"]);
    let tray = session.tray_item().await;
    tray.menu_with("Not signed in").await;
    assert_eq!(screen.window(), None);

    tray.activate().await;
    let window = screen.window_shown().await;
    screen.close(window).await;
    assert!(app.runs());

    let second = App::run_to_end(&session, &[]).await;
    assert!(second.status.success());
    screen.window_shown().await;
    assert!(app.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_bridge_is_reported_and_found_again() {
    let session = Session::start().await;
    let bridge = Bridge::listen(&session.home());
    bridge.show(&state());
    let _app = App::start(&session, &["--hidden"]);
    let tray = session.tray_item().await;
    tray.menu_with("Not signed in").await;

    bridge.end().await;
    tray.menu_with("Background service not running").await;

    let next = Bridge::listen(&session.home());
    let mut signed_in = state();
    signed_in.accounts = vec![account("Ada")];
    next.show(&signed_in);
    tray.menu_with("Ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_tray_is_found_and_app_without_tray_exits_with_window() {
    let session = Session::without_tray().await;
    let bridge = Bridge::listen(&session.home());
    bridge.show(&state());
    let mut screen = session.screen();
    let mut app = App::start(&session, &[]);
    let window = screen.window_shown().await;
    screen.close(window).await;
    assert!(app.ended().await.success());

    let mut app = App::start(&session, &[]);
    screen.window_shown().await;
    let session = session.with_tray().await;
    let tray = session.tray_item().await;
    tray.menu_with("Not signed in").await;
    assert!(app.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn page_shows_state_and_calls_bridge() {
    let session = Session::without_tray().await;
    let mut bridge = Bridge::listen(&session.home());
    let mut signed_out = state();
    signed_out.servers = vec![server("snippets", ServerState::SignInNeeded)];
    bridge.show(&signed_out);
    let window = Window::open(&session).await;
    window
        .text("Sign in with your browser to use snippets.")
        .await;

    window.press("Sign in").await;
    let server_name = "snippets".to_owned();
    assert_eq!(
        bridge.request().await,
        Request::SignIn {
            server: server_name,
            way: SignInWay::Local,
        }
    );
    let mut signed_in = signed_out.clone();
    signed_in.accounts = vec![account("Ada Lindqvist")];
    signed_in.servers = vec![server("snippets", ServerState::Ready)];
    bridge.show(&signed_in);
    window.text("Ada Lindqvist").await;
    window.text("Ready").await;

    bridge.end().await;
    window
        .text("Postern's background service is not running")
        .await;
    window.close().await;
}
