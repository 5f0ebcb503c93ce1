//! A state for tests.

use control::api::{
    AccountState, AccountView, ApprovalView, BridgeView, ServerModeState, ServerState, ServerView,
    SignInView, State, UserCodeView, VaultState, VaultView,
};

pub(crate) fn state() -> State {
    State {
        bridge: BridgeView {
            version: "0.1.0".into(),
            pid: 1,
            http: Some("http://127.0.0.1:4127".into()),
            socket: None,
            http_problem: None,
            config_file: "/c/config.toml".into(),
            config_problem: None,
            vault: VaultView {
                state: VaultState::Keychain,
                detail: "in the keychain".into(),
                hint: None,
            },
        },
        accounts: vec![],
        servers: vec![],
        sessions: vec![],
        sign_ins: vec![],
        server_mode: ServerModeState::Unconfigured,
    }
}

pub(crate) fn server(name: &str, is: ServerState) -> ServerView {
    ServerView {
        foreign_scopes: Vec::new(),
        name: name.into(),
        url: format!("https://mcp.example.com/{name}/mcp"),
        endpoint: Some(format!("http://127.0.0.1:4127/{name}/mcp")),
        sse_endpoint: None,
        socket_endpoint: None,
        state: is,
        sign_in_problem: None,
        account: None,
        tools: None,
        ephemeral: false,
        headers: Vec::new(),
    }
}

/// Returns a pending sign-in to `snippets` at `url`.
pub(crate) fn sign_in(url: &str) -> SignInView {
    SignInView {
        approval: None,
        server: "snippets".into(),
        url: url.into(),
        browser_problem: None,
        code: None,
        callback_port: None,
        takes_address: false,
        since: 0,
    }
}

/// Returns a user code for `page`.
pub(crate) fn user_code(code: &str, page: &str) -> UserCodeView {
    UserCodeView {
        code: code.into(),
        page: page.into(),
        until: 900,
    }
}

/// Returns a pending approval of `api://snippets`.
pub(crate) fn approval(on_page: bool) -> ApprovalView {
    ApprovalView {
        resource: "api://snippets".into(),
        issuer: "https://login.example.com".into(),
        previous: None,
        audience: None,
        previous_audience: None,
        other_server: None,
        on_page,
    }
}

pub(crate) fn account(id: &str, name: &str) -> AccountView {
    AccountView {
        id: id.into(),
        issuer: "https://login.example.com".into(),
        name: Some(name.into()),
        username: None,
        state: AccountState::SignedIn,
    }
}
