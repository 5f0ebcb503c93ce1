//! The windows on the screen, without a window manager.

use std::sync::Arc;

use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ClientMessageEvent, ConnectionExt, EventMask, MapState,
    Window,
};
use x11rb::rust_connection::RustConnection;

use crate::within;

pub(crate) struct Screen {
    display: Arc<RustConnection>,
    root: Window,
}

impl Screen {
    pub(crate) fn open(display: &str) -> Self {
        let (display, number) = RustConnection::connect(Some(display)).expect("the screen");
        let root = display.setup().roots[number].root;
        // From now on the screen reports windows that are created and destroyed.
        let told = ChangeWindowAttributesAux::new().event_mask(EventMask::SUBSTRUCTURE_NOTIFY);
        display
            .change_window_attributes(root, &told)
            .expect("a request")
            .check()
            .expect("a subscription");
        Self {
            display: Arc::new(display),
            root,
        }
    }

    /// Returns the app's window, if it is shown.
    pub(crate) fn window(&self) -> Option<Window> {
        let tree = self.display.query_tree(self.root).ok()?.reply().ok()?;
        tree.children.into_iter().find(|&one| self.is_ours(one))
    }

    /// Waits for the app's window.
    pub(crate) async fn window_shown(&mut self) -> Window {
        loop {
            if let Some(window) = self.window() {
                return window;
            }
            self.next_event("a window").await;
        }
    }

    /// Closes the window as a user does, and waits until it is destroyed.
    pub(crate) async fn close(&mut self, window: Window) {
        let atom = |name: &str| {
            let reply = self.display.intern_atom(false, name.as_bytes());
            reply.expect("a request").reply().expect("an atom").atom
        };
        let message = ClientMessageEvent::new(
            32,
            window,
            atom("WM_PROTOCOLS"),
            [atom("WM_DELETE_WINDOW"), 0, 0, 0, 0],
        );
        self.display
            .send_event(false, window, EventMask::NO_EVENT, message)
            .expect("a request")
            .check()
            .expect("a message");
        loop {
            match self.next_event("the window's end").await {
                Event::DestroyNotify(gone) if gone.window == window => return,
                _ => {}
            }
        }
    }

    async fn next_event(&self, what: &str) -> Event {
        let display = Arc::clone(&self.display);
        let event = tokio::task::spawn_blocking(move || display.wait_for_event());
        within(what, event)
            .await
            .expect("a thread")
            .expect("the screen")
    }

    fn is_ours(&self, window: Window) -> bool {
        let shown = || {
            let attributes = self
                .display
                .get_window_attributes(window)
                .ok()?
                .reply()
                .ok()?;
            let name = self
                .display
                .get_property(false, window, AtomEnum::WM_NAME, AtomEnum::ANY, 0, 100)
                .ok()?
                .reply()
                .ok()?;
            Some(attributes.map_state == MapState::VIEWABLE && name.value == b"Postern")
        };
        shown().unwrap_or(false)
    }
}
