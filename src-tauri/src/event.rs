//! Everything that can happen to the app.

use control::api::{Problem, State};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// The one closed list.
#[derive(Debug)]
pub(crate) enum Event {
    /// The bridge showed its state.
    StateChanged(Box<State>),
    /// The bridge cannot be seen.
    BridgeLost(Problem),
    /// The bridge runs and does not react.
    BridgeHangs(Problem),
    /// An entry of the tray's menu was clicked.
    Clicked(Action),
    /// What a click asked of the bridge did not work.
    Failed(Problem),
    /// The window is to be shown: a click on the tray, or a second start of the app.
    WindowWanted,
    /// The window was told to close, and still is there.
    WindowClosing,
    /// The window is gone.
    WindowClosed,
}

/// What a click in the menu does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Signs in to a server.
    SignIn(String),
    /// Ends the sign-in that waits for the browser.
    CancelSignIn(String),
    /// Signs an account out.
    SignOut(String),
    /// Copies a text.
    Copy(String),
    /// Shows the window at a page.
    Open(Page),
    /// Ends a bridge that does not react, and starts another one.
    RestartBridge,
    /// Starts the bundled gateway.
    StartServerMode,
    /// Ends it.
    StopServerMode,
    /// Ends the bridge and the app.
    Quit,
}

/// A page of the window that the tray leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Page {
    /// Where a person comes in.
    Servers,
    /// With the form of the server mode.
    Settings,
}

impl Action {
    /// The action as the name of a menu entry: what comes back from the desktop says all.
    pub(crate) fn to_id(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The action that a menu entry is named after.
    pub(crate) fn from_id(id: &str) -> Option<Self> {
        serde_json::from_str(id).ok()
    }
}

/// Where events come in. Unbounded: they are few, and a click must not wait.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    /// Both ends.
    pub(crate) fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells the controller; nobody listens any more once the app ends.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::Action;

    #[test]
    fn an_action_comes_back_from_the_name_of_its_entry() {
        for action in [Action::SignIn("a-b".into()), Action::Quit] {
            assert_eq!(Action::from_id(&action.to_id()), Some(action));
        }
        assert_eq!(Action::from_id("2"), None);
    }
}
