//! A state to vary in tests.

use control::api::{
    AccountState, AccountView, BridgeView, ServerModeState, ServerState, ServerView, State,
    VaultState, VaultView,
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

pub(crate) fn account(id: &str, name: &str) -> AccountView {
    AccountView {
        id: id.into(),
        issuer: "https://login.example.com".into(),
        name: Some(name.into()),
        username: None,
        state: AccountState::SignedIn,
    }
}
