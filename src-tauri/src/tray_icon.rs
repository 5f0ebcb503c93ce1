//! The state of the tray icon: a pure function of the status.

use control::api::{AccountState, ServerModeState, ServerState, State, VaultState};

use crate::bridge_status::BridgeStatus;
use crate::menu::pending_approval;

/// The icons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IconState {
    /// No account is signed in, and there is no problem.
    SignedOut,
    /// Everything works.
    Connected,
    /// The user must act.
    Attention,
}

/// Returns the icon and its tooltip.
pub(crate) fn icon_state(status: &BridgeStatus) -> (IconState, String) {
    match status {
        BridgeStatus::Starting => (IconState::SignedOut, "Postern is starting".to_owned()),
        BridgeStatus::Lost(problem) | BridgeStatus::Hung(problem) => (
            IconState::Attention,
            format!("Postern: {}", problem.message),
        ),
        BridgeStatus::Connected(state) => match attention(state) {
            Some(why) => (IconState::Attention, format!("Postern: {why}")),
            None if signed_out(state) => {
                (IconState::SignedOut, "Postern: not signed in".to_owned())
            }
            None => (IconState::Connected, "Postern: connected".to_owned()),
        },
    }
}

fn signed_out(state: &State) -> bool {
    let ready = |server: &control::api::ServerView| server.state == ServerState::Ready;
    state.accounts.is_empty() && !state.servers.iter().any(ready)
}

/// Returns the most important problem, or `None`.
fn attention(state: &State) -> Option<String> {
    of_bridge(state)
        .or_else(|| of_sign_in(state))
        .or_else(|| state.servers.iter().find_map(|s| of_server(s, state)))
        .or_else(|| of_server_mode(&state.server_mode))
}

fn of_bridge(state: &State) -> Option<String> {
    let bridge = &state.bridge;
    let problem = bridge
        .config_problem
        .as_ref()
        .or(bridge.http_problem.as_ref());
    match (problem, bridge.vault.state) {
        (Some(problem), _) => Some(problem.message.clone()),
        (None, VaultState::Locked | VaultState::Absent | VaultState::Behind) => {
            Some(bridge.vault.detail.clone())
        }
        (None, VaultState::Keychain | VaultState::KeyFile) => None,
    }
}

fn of_sign_in(state: &State) -> Option<String> {
    let browserless = state
        .sign_ins
        .iter()
        .find(|waiting| waiting.browser_problem.is_some());
    let user_code = state.sign_ins.iter().find_map(|waiting| {
        let code = &waiting.code.as_ref()?.code;
        Some(format!("enter {code} to sign in to {}", waiting.server))
    });
    let expired = |account: &&control::api::AccountView| match account.state {
        AccountState::SignedIn => false,
        AccountState::SignInNeeded => true,
    };
    let asked = state.sign_ins.iter().find_map(|waiting| {
        let resource = pending_approval(waiting)?;
        Some(format!("{} asks for access to {resource}", waiting.server))
    });
    match (
        user_code.or(asked),
        browserless,
        state.accounts.iter().find(expired),
    ) {
        (Some(waiting), _, _) => Some(waiting),
        (None, Some(waiting), _) => Some(format!("no browser to sign in to {}", waiting.server)),
        (None, None, Some(_)) => Some("sign in again".to_owned()),
        (None, None, None) => None,
    }
}

fn of_server(server: &control::api::ServerView, state: &State) -> Option<String> {
    match &server.state {
        ServerState::Failed { problem } => Some(format!("{}: {}", server.name, problem.message)),
        // Before the first sign-in this is only "not signed in".
        ServerState::SignInNeeded if !state.accounts.is_empty() => {
            Some(format!("sign in to {}", server.name))
        }
        ServerState::SignInNeeded
        | ServerState::Unknown
        | ServerState::Connecting
        | ServerState::Ready => None,
    }
}

fn of_server_mode(mode: &ServerModeState) -> Option<String> {
    match mode {
        ServerModeState::Failed { problem } => Some(problem.message.clone()),
        ServerModeState::Unconfigured
        | ServerModeState::Off
        | ServerModeState::Starting
        | ServerModeState::Running { .. } => None,
    }
}
