//! The app itself, on a screen, a session bus and a tray of its own, in front of a bridge that
//! says what the case wants.
//!
//! Owns: that the app does on a desktop what its pure parts promise.
//! Does not own: the real bridge, which the workspace's own cases put behind it.

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

/// Nothing in these cases may take longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits for `work`, but not for ever.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONGEST, work).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("{what}: nothing within {} s", LONGEST.as_secs()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_desktop_it_says_so_and_ends() {
    let session = Session::without_screen();
    let output = App::run_to_end(&session, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("there is no desktop"), "{words}");
    assert!(words.contains("hint: `postern ui`"), "{words}");
    assert!(!words.contains("panicked"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tray_follows_the_bridge_and_carries_clicks_to_it() {
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
    let asked = bridge.asked().await;
    assert_eq!(
        asked,
        Request::SignIn {
            server: "snippets".into(),
            way: SignInWay::Here,
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
    assert_eq!(bridge.asked().await, Request::Quit);
    assert!(app.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_comes_when_wanted_and_goes_without_the_app() {
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
async fn a_bridge_that_ends_is_missed_and_found_again() {
    let session = Session::start().await;
    let bridge = Bridge::listen(&session.home());
    bridge.show(&state());
    let _app = App::start(&session, &["--hidden"]);
    let tray = session.tray_item().await;
    tray.menu_with("Not signed in").await;

    bridge.end().await;
    tray.menu_with("Postern's bridge is not running").await;

    let next = Bridge::listen(&session.home());
    let mut signed_in = state();
    signed_in.accounts = vec![account("Ada")];
    next.show(&signed_in);
    tray.menu_with("Ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tray_that_comes_late_is_found_and_without_one_the_window_is_the_app() {
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
async fn the_page_shows_the_state_and_calls_the_bridge() {
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
        bridge.asked().await,
        Request::SignIn {
            server: server_name,
            way: SignInWay::Here,
        }
    );
    let mut signed_in = signed_out.clone();
    signed_in.accounts = vec![account("Ada Lindqvist")];
    signed_in.servers = vec![server("snippets", ServerState::Ready)];
    bridge.show(&signed_in);
    window.text("Ada Lindqvist").await;
    window.text("Ready").await;

    bridge.end().await;
    window.text("Postern's bridge is not running").await;
    window.close().await;
}
