//! The window. It is created on request and destroyed when it is closed, so that an unused tray
//! costs no web view.

use anyhow::Result;
use tauri::webview::NewWindowResponse;
use tauri::{AppHandle, Manager, Url, WebviewUrl, WebviewWindowBuilder};

use crate::event::Page;

/// Its label, to which `capabilities/window.json` grants permissions.
pub(crate) const MAIN: &str = "main";

/// Shows the window, and opens `page` if it is given.
///
/// # Errors
/// The desktop's.
pub(crate) fn show(app: &AppHandle, page: Option<Page>) -> Result<()> {
    let Some(window) = app.get_webview_window(MAIN) else {
        return make(app, page);
    };
    if let Some(page) = page {
        window.eval(format!("location.hash = {:?}", fragment(page)))?;
    }
    window.unminimize()?;
    window.show()?;
    Ok(window.set_focus()?)
}

/// Runs on the thread of the event loop. Otherwise a window that is closed while it is created
/// would stay on Tauri's list and never be created again.
#[cfg(target_os = "linux")]
fn make(app: &AppHandle, page: Option<Page>) -> Result<()> {
    let handle = app.clone();
    let work = move || {
        if let Err(error) = build(&handle, page) {
            tracing::error!("the window cannot be made: {error:#}");
        }
    };
    Ok(app.run_on_main_thread(work)?)
}

/// Does not run on the thread of the event loop, which WebView2 needs meanwhile.
#[cfg(not(target_os = "linux"))]
fn make(app: &AppHandle, page: Option<Page>) -> Result<()> {
    build(app, page)
}

fn build(app: &AppHandle, page: Option<Page>) -> Result<()> {
    let url = format!("index.html{}", page.map_or("", fragment));
    WebviewWindowBuilder::new(app, MAIN, WebviewUrl::App(url.into()))
        .title("Postern")
        .inner_size(960.0, 680.0)
        .min_inner_size(560.0, 420.0)
        .on_navigation(is_ours)
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .disable_drag_drop_handler()
        .build()?;
    Ok(())
}

/// Returns true for the app's own pages. All other navigation is blocked.
fn is_ours(url: &Url) -> bool {
    matches!(
        (url.scheme(), url.host_str()),
        ("tauri", Some("localhost")) | ("http" | "https", Some("tauri.localhost"))
    )
}

fn fragment(page: Page) -> &'static str {
    match page {
        Page::Servers => "#/servers",
        Page::Settings => "#/settings",
    }
}
