//! What a client sees of the bridge: one value, whole, after every change.

use std::fmt;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{Problem, UnixSeconds};

/// Everything there is to see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct State {
    /// The bridge itself.
    pub bridge: BridgeView,
    /// Who is signed in.
    pub accounts: Vec<AccountView>,
    /// The servers, configured and ephemeral, by name.
    pub servers: Vec<ServerView>,
    /// The sessions of hosts with servers, but for those of a single request.
    pub sessions: Vec<SessionView>,
    /// The sign-ins that wait for the user.
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
    /// Its process.
    pub pid: u32,
    /// The base of the HTTP endpoints, `http://127.0.0.1:4127`, or why there is none.
    pub http: Option<String>,
    /// The URL of the socket (on Windows, the named pipe) on which the same is served to hosts that
    /// take one: `unix:///run/user/1000/postern/http.sock`.
    #[serde(default)]
    pub socket: Option<String>,
    /// Why there is no HTTP endpoint, or why it is not where the configuration says.
    pub http_problem: Option<Problem>,
    /// The configuration file.
    pub config_file: String,
    /// What is wrong with the configuration file; the last good one, if any, is in force.
    pub config_problem: Option<Problem>,
    /// Where tokens are kept.
    pub vault: VaultView,
}

/// Where tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct VaultView {
    /// Its state.
    pub state: VaultState,
    /// In words.
    pub detail: String,
    /// What to do, where tokens cannot be kept.
    #[serde(default)]
    pub hint: Option<String>,
}

/// The state of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum VaultState {
    /// The key is in the OS keychain.
    Keychain,
    /// The key is in a file, as was asked for.
    KeyFile,
    /// The keychain is locked.
    Locked,
    /// There is no keychain.
    Absent,
    /// The newest tokens cannot be written, because the disk is full for example. They are in
    /// memory, and are written as soon as that is possible.
    Behind,
}

/// One person at one authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct AccountView {
    /// Names the account in requests.
    pub id: String,
    /// The authority.
    pub issuer: String,
    /// The person's name.
    pub name: Option<String>,
    /// How the person signs in.
    pub username: Option<String>,
    /// Whether tokens are at hand.
    pub state: AccountState,
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum AccountState {
    /// It can.
    SignedIn,
    /// The authority wants a new sign-in.
    SignInNeeded,
}

/// One MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ServerView {
    /// Its name.
    pub name: String,
    /// The remote's endpoint.
    pub url: String,
    /// The local Streamable HTTP endpoint.
    pub endpoint: Option<String>,
    /// The local HTTP+SSE endpoint.
    pub sse_endpoint: Option<String>,
    /// The local Streamable HTTP endpoint on the socket, for hosts that take its URL.
    #[serde(default)]
    pub socket_endpoint: Option<String>,
    /// How it is.
    pub state: ServerState,
    /// Why it needs a sign-in, where the authorization server has said something about that, or the
    /// server refuses the tokens of the last one.
    #[serde(default)]
    pub sign_in_problem: Option<Problem>,
    /// The account used for it, as [`AccountView::id`] names it.
    pub account: Option<String>,
    /// Its tools, when they were last seen.
    pub tools: Option<Vec<ToolView>>,
    /// Whether it came by `connect URL` and is not in the configuration.
    pub ephemeral: bool,
    /// The names of the headers that the configuration adds to every request.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Scopes of other servers' resources that it has asked for. They are never asked for.
    #[serde(default)]
    pub foreign_scopes: Vec<String>,
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum ServerState {
    /// Nobody has asked for it yet.
    Unknown,
    /// It is being connected to.
    Connecting,
    /// It answered the last time it was asked.
    Ready,
    /// Someone must sign in first.
    SignInNeeded,
    /// It does not work.
    Failed {
        /// Why.
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
    /// What it does, in the server's words.
    pub description: Option<String>,
    /// Its input schema, as JSON text.
    pub input_schema: String,
}

/// One host's conversation with one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SessionView {
    /// Names the session.
    pub id: u32,
    /// The server's name.
    pub server: String,
    /// The host, as it names itself.
    pub host: String,
    /// The face it came through: `stdio`, `http` or `sse`.
    pub face: String,
    /// Since when.
    #[ts(type = "number")]
    pub since: UnixSeconds,
    /// Whether the host is there now.
    #[serde(default)]
    pub state: SessionState,
}

/// Whether the host of a session is there. A session whose host has ended, or may have, is not
/// listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum SessionState {
    /// It is: a connection, a stream or a request of it is open.
    #[default]
    Active,
    /// It has nothing open, which over Streamable HTTP it need not have, and may come back.
    Idle {
        /// When its last request or stream ended.
        #[ts(type = "number")]
        since: UnixSeconds,
    },
}

/// A sign-in that waits for somebody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SignInView {
    /// The server's name.
    pub server: String,
    /// The page to open, for a browser that was not opened. Empty while the sign-in waits for an
    /// approval that no page asks for.
    pub url: String,
    /// Why no browser was opened.
    pub browser_problem: Option<String>,
    /// The code to enter there, where that is how one signs in.
    #[serde(default)]
    pub code: Option<UserCodeView>,
    /// The port of this machine that the browser comes back to, where it does.
    #[serde(default)]
    pub callback_port: Option<u16>,
    /// What the user has to approve before the authorization server is asked.
    #[serde(default)]
    pub approval: Option<ApprovalView>,
    /// Whether the address that a browser on another machine ended on can be handed in.
    #[serde(default)]
    pub takes_address: bool,
    /// Since when.
    #[ts(type = "number")]
    pub since: UnixSeconds,
}

/// The page carries the `state` of the sign-in, and the code is one: whoever has them could meddle
/// with it.
impl fmt::Debug for SignInView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInView")
            .field("server", &self.server)
            .field("browser_problem", &self.browser_problem)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// A question to the user: may this server have tokens for this resource?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ApprovalView {
    /// The resource, as its authorization server knows it.
    pub resource: String,
    /// The authorization server that issues the tokens.
    pub issuer: String,
    /// The resource that was approved before, if the server asks for another one now.
    pub previous: Option<String>,
    /// The audience of its tokens, if that is what has to be approved.
    pub audience: Option<String>,
    /// The audience that was approved before, if there was one.
    pub previous_audience: Option<String>,
    /// Another server whose tokens have that audience too: each could use the other's.
    pub other_server: Option<String>,
    /// Whether the page asks. Else the sign-in waits for
    /// [`ApproveResource`](super::Request::ApproveResource).
    pub on_page: bool,
}

/// A code to enter on any device (RFC 8628).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct UserCodeView {
    /// The code.
    pub code: String,
    /// The page to enter it on. That of the sign-in may have it filled in already.
    pub page: String,
    /// Until when.
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

/// A host program that Postern can configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum HostId {
    /// Claude Desktop.
    ClaudeDesktop,
}

/// A host program and what stands in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HostView {
    /// The host.
    pub id: HostId,
    /// Its name for people.
    pub name: String,
    /// Its configuration file.
    pub path: String,
    /// Whether the file is there.
    pub exists: bool,
    /// The servers of ours in it.
    pub servers: Vec<String>,
    /// Why the file cannot be changed.
    pub problem: Option<Problem>,
}

/// The bundled gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum ServerModeState {
    /// It was never configured.
    Unconfigured,
    /// It is configured and does not run.
    Off,
    /// It is being started.
    Starting,
    /// It runs.
    Running {
        /// Its address.
        url: String,
        /// Its process.
        pid: u32,
    },
    /// It ended by itself, or could not start.
    Failed {
        /// Why.
        problem: Problem,
    },
}

#[cfg(test)]
mod tests {
    use super::{SignInView, UserCodeView};

    #[test]
    fn the_page_and_the_code_of_a_sign_in_are_not_among_its_debug_output() {
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
