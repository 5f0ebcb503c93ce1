//! All events of the app.

use control::api::{Problem, State};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// An event.
#[derive(Debug)]
pub(crate) enum Event {
    /// The bridge sent its state.
    StateChanged(Box<State>),
    /// There is no connection to the bridge.
    BridgeLost(Problem),
    /// The bridge runs but does not respond.
    BridgeHangs(Problem),
    /// An entry of the tray's menu was clicked.
    Clicked(Action),
    /// A request caused by a click failed.
    Failed(Problem),
    /// The window must be shown, after a click on the tray or a second start of the app.
    WindowWanted,
    /// The window is closing but still exists.
    WindowClosing,
    /// The window is closed.
    WindowClosed,
}

/// The action of a menu entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Signs in to a server.
    SignIn(String),
    /// Cancels a pending sign-in.
    CancelSignIn(String),
    /// Signs an account out.
    SignOut(String),
    /// Copies a text.
    Copy(String),
    /// Shows the window at a page.
    Open(Page),
    /// Ends a bridge that does not respond, and starts another one.
    RestartBridge,
    /// Starts the bundled gateway.
    StartServerMode,
    /// Stops the bundled gateway.
    StopServerMode,
    /// Ends the bridge and the app.
    Quit,
}

/// A page of the window that the tray opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Page {
    /// The start page.
    Servers,
    /// The page with the form of the server mode.
    Settings,
}

impl Action {
    /// Returns the action as the id of a menu entry, so that the id contains everything.
    pub(crate) fn to_id(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses the id of a menu entry. Returns `None` for other ids.
    pub(crate) fn from_id(id: &str) -> Option<Self> {
        serde_json::from_str(id).ok()
    }
}

/// The sender of events. Unbounded, because events are few and a click must not wait.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    /// Returns the sender and the receiver.
    pub(crate) fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Sends an event. It is dropped once the app ends.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::Action;

    #[test]
    fn action_is_parsed_from_entry_id() {
        for action in [Action::SignIn("a-b".into()), Action::Quit] {
            assert_eq!(Action::from_id(&action.to_id()), Some(action));
        }
        assert_eq!(Action::from_id("2"), None);
    }
}
