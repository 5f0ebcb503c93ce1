//! The tray's menu as data: a pure function of the status.

use control::api::{
    AccountState, AccountView, ServerModeState, ServerState, ServerView, SignInView, State,
};

use crate::bridge_status::BridgeStatus;
use crate::event::{Action, Page};

/// An entry of the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MenuEntry {
    /// Text that cannot be clicked.
    Label(String),
    /// Text with an action.
    Click(String, Action),
    /// A submenu.
    Submenu(String, Vec<MenuEntry>),
    /// A separator.
    Separator,
}

use MenuEntry::{Click, Label, Separator, Submenu};

/// Returns the menu.
pub(crate) fn menu(status: &BridgeStatus) -> Vec<MenuEntry> {
    let mut entries = match status {
        BridgeStatus::Starting => vec![Label("Starting…".to_owned()), Separator],
        BridgeStatus::Lost(_) => vec![
            Label("Background service not running".to_owned()),
            Separator,
        ],
        BridgeStatus::Hung(_) => vec![
            Label("Background service not responding".to_owned()),
            click("Restart background service", Action::RestartBridge),
            Separator,
        ],
        BridgeStatus::Connected(state) => attached(state),
    };
    entries.push(click("Open Postern", Action::Open(Page::Servers)));
    if let BridgeStatus::Connected(state) = status {
        entries.extend(server_mode(&state.server_mode));
    }
    entries.extend([Separator, click("Quit Postern", Action::Quit)]);
    entries
}

fn attached(state: &State) -> Vec<MenuEntry> {
    let mut entries = accounts(&state.accounts);
    entries.extend(state.sign_ins.iter().flat_map(sign_in_entries));
    entries.extend(sign_in(state));
    entries.extend(sign_out(&state.accounts));
    entries.push(Separator);
    if !state.servers.is_empty() {
        entries.extend(state.servers.iter().map(|one| server(one, state)));
        entries.push(Separator);
    }
    entries
}

fn accounts(accounts: &[AccountView]) -> Vec<MenuEntry> {
    if accounts.is_empty() {
        return vec![Label("Not signed in".to_owned())];
    }
    let line = |account: &AccountView| match account.state {
        AccountState::SignedIn => Label(name(account)),
        AccountState::SignInNeeded => Label(format!("{}: sign in again", name(account))),
    };
    accounts.iter().map(line).collect()
}

fn name(account: &AccountView) -> String {
    match (&account.name, &account.username) {
        (Some(name), Some(username)) => format!("{name} ({username})"),
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => account.issuer.clone(),
    }
}

fn sign_in_entries(waiting: &SignInView) -> impl Iterator<Item = MenuEntry> {
    let server = &waiting.server;
    let copy_code = waiting.code.as_ref().map(|waiting| {
        let code = &waiting.code;
        Click(format!("Copy code {code}"), Action::Copy(code.clone()))
    });
    let cancel = Click(
        format!("Cancel sign-in to {server}"),
        Action::CancelSignIn(server.clone()),
    );
    // A pending approval without a page is given in the window.
    let approval = pending_approval(waiting).map(|resource| {
        let label = format!("{server} asks for access to {resource}…");
        Click(label, Action::Open(Page::Servers))
    });
    let link = (!waiting.url.is_empty())
        .then(|| click("Copy sign-in link", Action::Copy(waiting.url.clone())));
    copy_code
        .into_iter()
        .chain(approval)
        .chain(link)
        .chain([cancel])
}

/// Returns the resource of a pending approval that no page asks for.
pub(crate) fn pending_approval(waiting: &SignInView) -> Option<&str> {
    let approval = waiting.approval.as_ref()?;
    (!approval.on_page).then_some(&*approval.resource)
}

/// Returns an entry for the only server to sign in to, or a submenu of several.
fn sign_in(state: &State) -> Option<MenuEntry> {
    let names: Vec<&str> = state
        .servers
        .iter()
        .filter(|server| wants_sign_in(server, state))
        .map(|server| server.name.as_str())
        .collect();
    let entry = |name: &str, label: &str| click(label, Action::SignIn(name.to_owned()));
    match names[..] {
        [] => None,
        [only] => Some(entry(only, "Sign in")),
        [..] => Some(Submenu(
            "Sign in".to_owned(),
            names.into_iter().map(|name| entry(name, name)).collect(),
        )),
    }
}

/// Returns true if a sign-in is useful: the server needs one, or no account is signed in and the
/// server was never used.
fn wants_sign_in(server: &ServerView, state: &State) -> bool {
    let under_way = state.sign_ins.iter().any(|one| one.server == server.name);
    let untried = server.account.is_none() && state.accounts.is_empty();
    !under_way
        && match server.state {
            ServerState::SignInNeeded => true,
            ServerState::Unknown | ServerState::Connecting => untried,
            ServerState::Ready | ServerState::Failed { .. } => false,
        }
}

fn sign_out(accounts: &[AccountView]) -> Option<MenuEntry> {
    let entry =
        |account: &AccountView, label: String| Click(label, Action::SignOut(account.id.clone()));
    match accounts {
        [] => None,
        [only] => Some(entry(only, "Sign out".to_owned())),
        many => Some(Submenu(
            "Sign out".to_owned(),
            many.iter().map(|one| entry(one, name(one))).collect(),
        )),
    }
}

fn server(server: &ServerView, state: &State) -> MenuEntry {
    let copy = |label: &str, url: &Option<String>| {
        url.as_ref()
            .map(|url| click(label, Action::Copy(url.clone())))
    };
    let mut entries: Vec<MenuEntry> = copy("Copy endpoint", &server.endpoint)
        .into_iter()
        .chain(copy("Copy SSE endpoint", &server.sse_endpoint))
        .collect();
    if wants_sign_in(server, state) {
        entries.insert(0, click("Sign in", Action::SignIn(server.name.clone())));
    }
    if entries.is_empty() {
        entries.push(click("Open Postern", Action::Open(Page::Servers)));
    }
    Submenu(
        format!("{}: {}", server.name, state_label(&server.state)),
        entries,
    )
}

fn state_label(state: &ServerState) -> &'static str {
    match state {
        ServerState::Unknown => "not used yet",
        ServerState::Connecting => "connecting",
        ServerState::Ready => "ready",
        ServerState::SignInNeeded => "sign-in needed",
        ServerState::Failed { .. } => "not working",
    }
}

fn server_mode(mode: &ServerModeState) -> Vec<MenuEntry> {
    match mode {
        ServerModeState::Unconfigured => {
            vec![click("Start server mode…", Action::Open(Page::Settings))]
        }
        ServerModeState::Off | ServerModeState::Failed { .. } => {
            vec![click("Start server mode", Action::StartServerMode)]
        }
        ServerModeState::Starting => vec![
            Label("Server mode is starting".to_owned()),
            click("Stop server mode", Action::StopServerMode),
        ],
        ServerModeState::Running { url, .. } => vec![
            Label(format!("Server mode: {url}")),
            click("Stop server mode", Action::StopServerMode),
        ],
    }
}

fn click(label: &str, action: Action) -> MenuEntry {
    Click(label.to_owned(), action)
}

#[cfg(test)]
pub(crate) mod canned;
#[cfg(test)]
mod tests;
