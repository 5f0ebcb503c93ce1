//! A desktop without a screen: X server, session bus, window manager, keychain, panel, and the
//! app on it.
//!
//! Every one of them is the real program, private to the case: own display, own bus, own home.
//! All of it ends with the [`Desktop`].

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

/// Someone's desktop, and the home of the bridge that its app is to start.
pub(crate) struct Desktop {
    pub(crate) bridge: Bridge,
    pub(crate) screen: Screen,
    pub(crate) session: Session,
    _panel: Panel,
}

impl Desktop {
    /// A desktop with a panel, on which nothing of ours runs yet. There is no keychain either.
    pub(crate) async fn start(harness: &Harness) -> Self {
        let bridge = harness.bridge();
        keychain::choose(&bridge);
        let session = Session::start(harness.folder(), &bridge).await;
        Self {
            screen: Screen::of(&session),
            _panel: Panel::start(&session).await,
            session,
            bridge,
        }
    }

    /// The same with a keychain that is unlocked, as it is after a login.
    pub(crate) async fn with_keychain(harness: &Harness) -> (Self, Keychain) {
        let desktop = Self::start(harness).await;
        let keychain = Keychain::start(&desktop.session).await;
        (desktop, keychain)
    }

    /// Starts the app, with a window or without, and returns when its icon is in the panel.
    pub(crate) async fn start_app(&self, arguments: &[&str]) -> (App, Tray) {
        let appearing = Tray::appearing(&self.session).await;
        let app = App::start(&self.session, &self.bridge, arguments).await;
        (app, appearing.await)
    }

    /// Looks into the app's window as soon as it is there.
    pub(crate) async fn window(&self, app: &App) -> Window {
        self.screen.window(app::TITLE).await;
        Window::attach(&self.session, app).await
    }
}
