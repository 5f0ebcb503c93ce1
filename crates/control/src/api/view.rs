//! The views of the bridge's state. Clients get the complete state after every change.

use std::fmt;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{Problem, UnixSeconds};

/// The state of the bridge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct State {
    /// The bridge itself.
    pub bridge: BridgeView,
    /// The accounts that are signed in.
    pub accounts: Vec<AccountView>,
    /// The servers, configured and ephemeral, by name.
    pub servers: Vec<ServerView>,
    /// The sessions of hosts with servers, without those of a single request.
    pub sessions: Vec<SessionView>,
    /// The pending sign-ins.
    pub sign_ins: Vec<SignInView>,
    /// The bundled gateway.
    pub server_mode: ServerModeState,
}

/// The bridge itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct BridgeView {
    /// Its version.
    pub version: String,
    /// Its process ID.
    pub pid: u32,
    /// The base URL of the HTTP endpoints, `http://127.0.0.1:4127`, if there are any.
    pub http: Option<String>,
    /// The URL of the socket (on Windows, the named pipe) with the same endpoints, for hosts that
    /// support one: `unix:///run/user/1000/postern/http.sock`.
    #[serde(default)]
    pub socket: Option<String>,
    /// Why there is no HTTP endpoint, or why it is not at the configured address.
    pub http_problem: Option<Problem>,
    /// The configuration file.
    pub config_file: String,
    /// The error in the configuration file. The last valid configuration, if any, remains in effect.
    pub config_problem: Option<Problem>,
    /// Where tokens are stored.
    pub vault: VaultView,
}

/// Where tokens are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct VaultView {
    /// Its state.
    pub state: VaultState,
    /// A description of the state.
    pub detail: String,
    /// What to do if tokens cannot be stored.
    #[serde(default)]
    pub hint: Option<String>,
}

/// The state of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum VaultState {
    /// The key is in the system keychain.
    Keychain,
    /// The key is in a file, as configured.
    KeyFile,
    /// The keychain is locked.
    Locked,
    /// There is no keychain.
    Absent,
    /// The newest tokens cannot be written, for example because the disk is full. They are kept in
    /// memory, and written as soon as possible.
    Behind,
}

/// A user at one authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct AccountView {
    /// Identifies the account in requests.
    pub id: String,
    /// The issuer.
    pub issuer: String,
    /// The user's name.
    pub name: Option<String>,
    /// The user's sign-in name.
    pub username: Option<String>,
    /// Whether the account has valid tokens.
    pub state: AccountState,
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum AccountState {
    /// It can be used.
    SignedIn,
    /// The authorization server requires a new sign-in.
    SignInNeeded,
}

/// One MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ServerView {
    /// Its name.
    pub name: String,
    /// The URL of its endpoint.
    pub url: String,
    /// The local Streamable HTTP endpoint.
    pub endpoint: Option<String>,
    /// The local HTTP+SSE endpoint.
    pub sse_endpoint: Option<String>,
    /// The local Streamable HTTP endpoint on the socket, for hosts that support its URL.
    #[serde(default)]
    pub socket_endpoint: Option<String>,
    /// Its state.
    pub state: ServerState,
    /// Why it needs a sign-in, if the authorization server gave a reason, or if the server rejects the
    /// tokens of the last sign-in.
    #[serde(default)]
    pub sign_in_problem: Option<Problem>,
    /// The [`AccountView::id`] of the account used for it.
    pub account: Option<String>,
    /// Its last known tools.
    pub tools: Option<Vec<ToolView>>,
    /// Whether it was opened with `connect URL` and is not in the configuration.
    pub ephemeral: bool,
    /// The names of the headers that the configuration adds to every request.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The scopes of other servers' resources that it requires. Postern does not request them.
    #[serde(default)]
    pub foreign_scopes: Vec<String>,
}

/// The state of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum ServerState {
    /// There was no connection yet.
    Unknown,
    /// A connection is being opened.
    Connecting,
    /// It answered the last request.
    Ready,
    /// A sign-in is needed.
    SignInNeeded,
    /// It does not work.
    Failed {
        /// The reason.
        problem: Problem,
    },
}

/// One tool of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ToolView {
    /// Its name.
    pub name: String,
    /// The server's description of it.
    pub description: Option<String>,
    /// Its input schema, as JSON text.
    pub input_schema: String,
}

/// A session of a host with a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SessionView {
    /// Identifies the session.
    pub id: u32,
    /// The server's name.
    pub server: String,
    /// The name that the host gives.
    pub host: String,
    /// The transport: `stdio`, `http` or `sse`.
    #[serde(alias = "face")]
    pub transport: String,
    /// The start of the session.
    #[ts(type = "number")]
    pub since: UnixSeconds,
    /// Whether the session is active.
    #[serde(default)]
    pub state: SessionState,
}

/// Whether a session is active. Sessions whose host has ended, or may have, are not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum SessionState {
    /// A connection, a stream or a request of it is open.
    #[default]
    Active,
    /// Nothing of it is open, as is possible over Streamable HTTP. The host may send more requests.
    Idle {
        /// When its last request or stream ended.
        #[ts(type = "number")]
        since: UnixSeconds,
    },
}

/// A pending sign-in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SignInView {
    /// The server's name.
    pub server: String,
    /// The URL of the page, in case no browser was opened. Empty while the sign-in waits for an
    /// approval outside the page.
    pub url: String,
    /// Why no browser was opened.
    pub browser_problem: Option<String>,
    /// The user code, for a sign-in by device code.
    #[serde(default)]
    pub code: Option<UserCodeView>,
    /// The port of the callback on this machine, if it has one.
    #[serde(default)]
    pub callback_port: Option<u16>,
    /// What the user must approve before the authorization request.
    #[serde(default)]
    pub approval: Option<ApprovalView>,
    /// Whether the callback URL from a browser on another machine can be submitted.
    #[serde(default)]
    pub takes_address: bool,
    /// The start of the sign-in.
    #[ts(type = "number")]
    pub since: UnixSeconds,
}

/// Omits the page, whose URL contains the `state` of the sign-in, and the code: with either, another
/// program could interfere with the sign-in.
impl fmt::Debug for SignInView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInView")
            .field("server", &self.server)
            .field("browser_problem", &self.browser_problem)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// The question whether this server may get tokens for this resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ApprovalView {
    /// The resource's identifier at the authorization server.
    pub resource: String,
    /// The issuer of the tokens.
    pub issuer: String,
    /// The resource that was approved before, if it has changed.
    pub previous: Option<String>,
    /// The audience of its tokens, if that must be approved.
    pub audience: Option<String>,
    /// The audience that was approved before, if any.
    pub previous_audience: Option<String>,
    /// Another server whose tokens have the same audience. Each could use the other's tokens.
    pub other_server: Option<String>,
    /// Whether the page asks the question. Otherwise, the sign-in waits for
    /// [`ApproveResource`](super::Request::ApproveResource).
    pub on_page: bool,
}

/// A user code to enter on any device (RFC 8628).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct UserCodeView {
    /// The code.
    pub code: String,
    /// The verification URI. The URL of the sign-in may already contain the code.
    pub page: String,
    /// When it expires.
    #[ts(type = "number")]
    pub until: UnixSeconds,
}

impl fmt::Debug for UserCodeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserCodeView")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// A host that Postern can configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum HostId {
    /// Claude Desktop.
    ClaudeDesktop,
}

/// A host and its configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HostView {
    /// The host.
    pub id: HostId,
    /// Its display name.
    pub name: String,
    /// Its configuration file.
    pub path: String,
    /// Whether the file exists.
    pub exists: bool,
    /// The servers of Postern in the file.
    pub servers: Vec<String>,
    /// Why the file cannot be changed.
    pub problem: Option<Problem>,
}

/// The bundled gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum ServerModeState {
    /// It is not configured.
    Unconfigured,
    /// It is configured and does not run.
    Off,
    /// It is being started.
    Starting,
    /// It runs.
    Running {
        /// Its URL.
        url: String,
        /// Its process ID.
        pid: u32,
    },
    /// It ended unexpectedly, or could not start.
    Failed {
        /// The reason.
        problem: Problem,
    },
}

#[cfg(test)]
mod tests {
    use super::{SignInView, UserCodeView};

    #[test]
    fn debug_output_of_sign_in_omits_page_and_code() {
        let view = SignInView {
            server: "snippets".into(),
            url: "https://login.example/authorize?state=secret".into(),
            browser_problem: None,
            code: Some(UserCodeView {
                code: "WDJB-MJHT".into(),
                page: "https://login.example/device?code=WDJB-MJHT".into(),
                until: 1,
            }),
            callback_port: None,
            approval: None,
            takes_address: false,
            since: 0,
        };
        let shown = format!("{view:?} {:?}", view.code);
        assert!(shown.contains("snippets"), "{shown}");
        assert!(
            !shown.contains("secret") && !shown.contains("WDJB"),
            "{shown}"
        );
    }
}
