//! A desktop on a virtual screen: X server, session bus, window manager, keychain, panel, and the
//! app.
//!
//! Each of them is the real program, with a display, a bus and a home private to the case. All of
//! them stop when the [`Desktop`] is dropped.

pub(crate) mod app;
pub(crate) mod keychain;
pub(crate) mod panel;
pub(crate) mod pictures;
pub(crate) mod screen;
pub(crate) mod session;
pub(crate) mod tray;
pub(crate) mod window;

use super::{Harness, bridge::Bridge};
use app::App;
use keychain::Keychain;
use panel::Panel;
use screen::Screen;
use session::Session;
use tray::Tray;
use window::Window;

/// A user's desktop, and the home of the bridge that its app starts.
pub(crate) struct Desktop {
    pub(crate) bridge: Bridge,
    pub(crate) screen: Screen,
    pub(crate) session: Session,
    _panel: Panel,
}

impl Desktop {
    /// Starts a desktop with a panel and without a keychain. No program of ours runs yet.
    pub(crate) async fn start(harness: &Harness) -> Self {
        let bridge = harness.bridge();
        keychain::remove_key_file(&bridge);
        let session = Session::start(harness.folder(), &bridge).await;
        Self {
            screen: Screen::of(&session),
            _panel: Panel::start(&session).await,
            session,
            bridge,
        }
    }

    /// The same with an unlocked keychain, as after a login.
    pub(crate) async fn with_keychain(harness: &Harness) -> (Self, Keychain) {
        let desktop = Self::start(harness).await;
        let keychain = Keychain::start(&desktop.session).await;
        (desktop, keychain)
    }

    /// Starts the app and returns once its icon is in the panel.
    pub(crate) async fn start_app(&self, arguments: &[&str]) -> (App, Tray) {
        let next_icon = Tray::next_icon(&self.session).await;
        let app = App::start(&self.session, &self.bridge, arguments).await;
        (app, next_icon.await)
    }

    /// Attaches to the app's window once it exists.
    pub(crate) async fn window(&self, app: &App) -> Window {
        self.screen.window(app::TITLE).await;
        Window::attach(&self.session, app).await
    }
}
