//! Requests and their replies.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{
    BrowserAnswer, ClientSecret, HeaderSecret, HostId, HostView, Problem, ProblemKind, State,
    UnixSeconds,
};

/// A request to the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(
    tag = "call",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
#[ts(export)]
pub enum Request {
    /// Gets the current state. Replied with [`Reply::State`].
    Status,
    /// Gets the current state, and again after every change. Replied with many [`Reply::State`].
    Watch,
    /// Starts a sign-in to a server, or joins the pending one, and waits for its end.
    SignIn {
        /// The server's name.
        server: String,
        /// How the sign-in page is delivered. A pending sign-in with another delivery starts again
        /// with this one, unless this is the default.
        #[serde(default)]
        #[ts(optional, as = "Option<SignInWay>")]
        way: SignInWay,
    },
    /// Checks whether a server accepts the tokens of its account, before a sign-in is started.
    CheckSignIn {
        /// The server's name.
        server: String,
    },
    /// Completes a sign-in with the callback URL from a browser that cannot reach this machine.
    FinishSignIn {
        /// The server's name.
        server: String,
        /// The complete URL.
        #[ts(as = "String")]
        address: BrowserAnswer,
    },
    /// Approves the resource that the sign-in to a server waits for. The sign-in then continues.
    ApproveResource {
        /// The server's name.
        server: String,
        /// The resource that was shown, as in [`super::ApprovalView::resource`]. No other resource is
        /// approved.
        resource: String,
        /// The audience that was shown, if any.
        audience: Option<String>,
    },
    /// Uses another account for a server: without a browser if an existing sign-in of that account is
    /// sufficient, otherwise by a sign-in in the browser. Waits for its end.
    SwitchAccount {
        /// The server's name.
        server: String,
        /// The account's [`super::AccountView::id`]. If absent, the user chooses in the browser.
        account: Option<String>,
        /// How the sign-in page is delivered.
        #[serde(default)]
        #[ts(optional, as = "Option<SignInWay>")]
        way: SignInWay,
    },
    /// Cancels the pending sign-in.
    CancelSignIn {
        /// The server's name.
        server: String,
    },
    /// Deletes an account's tokens, and revokes them if the authorization server supports that.
    SignOut {
        /// The account's [`super::AccountView::id`]. All accounts if absent.
        account: Option<String>,
        /// Whether to open a page of the authorization server that ends the browser's session too.
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        everywhere: bool,
    },
    /// Probes the URL of a server to add, within ten seconds. Writes nothing, sends no credentials and
    /// starts no sign-in. Replied with [`Reply::Inspection`].
    InspectServer {
        /// The new name.
        name: String,
        /// The URL of the MCP endpoint, which may lack the path.
        url: String,
        /// See [`Request::AddServer`].
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        allow_http: bool,
    },
    /// Adds a server to the configuration, or saves an ephemeral one.
    AddServer {
        /// The new name.
        name: String,
        /// The URL of the MCP endpoint.
        url: String,
        /// Whether the user has confirmed an `http:` URL of another machine, whose traffic others can
        /// read and change.
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        allow_http: bool,
    },
    /// Removes a server from the configuration.
    RemoveServer {
        /// The server's name.
        name: String,
    },
    /// Opens a separate session with the server and lists its tools.
    TestServer {
        /// The server's name.
        name: String,
    },
    /// Calls a tool in a separate session.
    CallTool {
        /// The server's name.
        server: String,
        /// The tool's name.
        tool: String,
        /// The arguments, a JSON object as text.
        arguments: String,
    },
    /// Lists the hosts that Postern can configure.
    ListHosts,
    /// Returns the change that adds a server to a host. Writes nothing.
    PreviewHostAdd {
        /// The host.
        host: HostId,
        /// The server's name.
        server: String,
    },
    /// Returns the change that removes a server from a host. Writes nothing.
    PreviewHostRemove {
        /// The host.
        host: HostId,
        /// The server's name.
        server: String,
    },
    /// Adds a server to a host's file.
    AddToHost {
        /// The host.
        host: HostId,
        /// The server's name.
        server: String,
        /// The diff that was shown and approved. Any other change is not made.
        approved: String,
    },
    /// Removes a server from a host's file.
    RemoveFromHost {
        /// The host.
        host: HostId,
        /// The server's name.
        server: String,
        /// The diff that was shown and approved. Any other change is not made.
        approved: String,
    },
    /// Returns the changes that import a host's entries for `mcp-remote`. Writes nothing.
    PreviewHostImport {
        /// The host.
        host: HostId,
        /// The names of the entries in the host's file. All that can be imported if empty.
        entries: Vec<String>,
    },
    /// Imports entries: each becomes a server in the configuration, with its secrets stored, and the
    /// host's entry runs `postern connect`.
    ImportFromHost {
        /// The host.
        host: HostId,
        /// The entries of the preview.
        entries: Vec<String>,
        /// The changes that were shown and approved. Any other change is not made.
        approved: HostImport,
        /// Whether the user has confirmed every server that is `exposed`.
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        allow_http: bool,
    },
    /// Lists the consents that a server's gateway has stored for Postern.
    ListConsents {
        /// The server's name. If absent, asks the gateways of all servers, and names those that could
        /// not be asked.
        server: Option<String>,
    },
    /// Revokes a consent at the gateway.
    RevokeConsent {
        /// The server whose gateway stores the consent.
        server: String,
        /// The consent's [`ConsentView::id`].
        id: String,
    },
    /// Lists the secrets that server headers use, and all stored ones.
    ListSecrets,
    /// Stores a secret, and replaces one with the same name.
    SetSecret {
        /// Its name.
        name: String,
        /// The header's value.
        #[ts(as = "String")]
        value: HeaderSecret,
    },
    /// Removes a stored secret.
    RemoveSecret {
        /// Its name.
        name: String,
    },
    /// Writes the first configuration of the bundled gateway.
    ConfigureServerMode {
        /// The values from the form.
        form: ServerModeForm,
    },
    /// Starts the bundled gateway.
    StartServerMode,
    /// Stops the bundled gateway.
    StopServerMode,
    /// Runs the diagnostics.
    Doctor,
    /// Ends the bridge, including the bundled gateway.
    Quit,
    /// Asks the bridge to answer its pending requests and end, so that a newer one can start.
    Yield,
}

/// How the sign-in page is delivered to the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum SignInWay {
    /// In a browser that the bridge opens. If it cannot open one, as `remote`.
    #[default]
    #[serde(alias = "here")]
    Local,
    /// In a browser on another machine: by a user code if the authorization server supports that,
    /// otherwise as `manual`.
    #[serde(alias = "elsewhere")]
    Remote,
    /// Only by a user code that is entered on any device (RFC 8628).
    #[serde(alias = "code")]
    DeviceCode,
    /// By a URL that the user opens, in a browser that may be unable to reach this machine.
    #[serde(alias = "page")]
    Manual,
}

/// Whether a server needs a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum SignInCheck {
    /// The server accepts the tokens of its account, and requires no further scopes.
    SignedIn {
        /// The account's [`super::AccountView::id`].
        account: String,
    },
    /// The server needs a sign-in, or could not be asked.
    Needed,
}

/// The reply to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "reply", content = "value", rename_all = "kebab-case")]
#[ts(export)]
pub enum Reply {
    /// The request succeeded.
    Done,
    /// The state.
    State(Box<State>),
    /// Whether a server needs a sign-in.
    SignInCheck(SignInCheck),
    /// The result of probing the URL of a server to add.
    Inspection(Inspection),
    /// The result of a test.
    Test(TestReport),
    /// The result of a tool call.
    Tool(ToolResult),
    /// The hosts.
    Hosts(Vec<HostView>),
    /// A change to a host's file, planned or made.
    HostChange(HostChange),
    /// An import of a host's entries, planned or made.
    HostImport(HostImport),
    /// The consents.
    Consents(ConsentList),
    /// The secrets, without their values.
    Secrets(Vec<SecretView>),
    /// The results of the diagnostics.
    Doctor(Vec<DoctorCheck>),
}

/// The result of probing the URL of a server to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum Inspection {
    /// It responds without a sign-in.
    Ready {
        /// The result of the test.
        report: TestReport,
    },
    /// It responds with 401 and supports a sign-in.
    SignIn,
    /// It responds with 401 and names no authorization server, as servers do that require an API key
    /// in a header.
    HeaderNeeded {
        /// The server's error description, if any.
        words: Option<String>,
    },
    /// No MCP server responds at this URL, but one does at another path of the same origin. The user
    /// must decide whether to use that.
    Elsewhere {
        /// The problem with the given URL.
        problem: Problem,
        /// The URL of the server that was found.
        url: String,
        /// The result for that URL.
        found: Box<Inspection>,
    },
    /// No MCP server responds: the URL is wrong.
    NoServer {
        /// The problem with the response.
        problem: Problem,
    },
    /// The server cannot be used now, or not without more configuration.
    NotNow {
        /// The reason.
        problem: Problem,
    },
}

/// The result of a test of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct TestReport {
    /// The server's own name and version.
    pub server_info: String,
    /// The negotiated protocol version.
    pub protocol_version: String,
    /// The names of its tools.
    pub tools: Vec<String>,
    /// The duration of the session, in milliseconds.
    pub milliseconds: u32,
}

/// The result of a tool call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ToolResult {
    /// The text of the result.
    pub text: String,
    /// Whether the tool reports an error.
    pub is_error: bool,
    /// The complete result, as JSON text.
    pub json: String,
}

/// A change to a host's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HostChange {
    /// The file.
    pub path: String,
    /// The change as a unified diff. Empty if there is nothing to change.
    pub diff: String,
    /// The backup of the previous file, once the change is made.
    pub backup: Option<String>,
    /// What the user must do for it to take effect.
    pub afterwards: Option<String>,
}

/// An import of a host's entries for `mcp-remote`, planned or made. Contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HostImport {
    /// The host's file.
    pub path: String,
    /// The change to it as a unified diff, with `…` for possible secrets. Empty if there is nothing to
    /// import.
    pub diff: String,
    /// The configuration file, to which new servers are added.
    pub config_path: String,
    /// The resulting servers.
    pub servers: Vec<ImportedServer>,
    /// The entries for `mcp-remote` that are not imported.
    pub left: Vec<SkippedEntry>,
    /// The backup of the host's previous file, including secrets, once the change is made.
    pub backup: Option<String>,
    /// What the user must do for it to take effect.
    pub afterwards: Option<String>,
}

/// The server that results from an imported entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ImportedServer {
    /// The entry's name in the host's file.
    pub entry: String,
    /// The server's name.
    pub name: String,
    /// Its URL, without a query.
    pub url: String,
    /// Whether it is an `http:` URL of another machine, whose traffic others can read and change.
    pub exposed: bool,
    /// The TOML that is added to the configuration. Empty if the server already exists.
    pub config: String,
    /// The names of the secrets that are stored for it.
    pub secrets: Vec<String>,
    /// The parts of the entry that are not imported, and what to do about them.
    pub remarks: Vec<String>,
}

/// An entry of a host that is not imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SkippedEntry {
    /// The entry's name in the host's file.
    pub entry: String,
    /// Why it is not imported.
    pub reason: String,
}

/// The consents of all gateways that could be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ConsentList {
    /// The consents. Each is listed once, even if several servers share its gateway.
    pub consents: Vec<ConsentView>,
    /// How many servers have answered, without those that do not list consents.
    pub answered: u32,
    /// The servers that could not be asked. Empty if the request names a server, because then its
    /// error is the reply.
    pub not_asked: Vec<NotAsked>,
}

/// A server whose gateway could not be asked for consents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct NotAsked {
    /// The server's name.
    pub server: String,
    /// A short reason, to be shown in parentheses after the name.
    pub reason: String,
    /// The kind, which programs may branch on.
    pub kind: ProblemKind,
}

/// A consent that a gateway has stored for Postern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ConsentView {
    /// The consent's ID at the gateway.
    pub id: String,
    /// The configured server whose gateway stores the consent.
    pub via: String,
    /// The server's name at the gateway.
    pub server: String,
    /// The client that has the consent.
    pub client: String,
    /// The scopes granted.
    pub scopes: Vec<String>,
    /// The time of the consent, if the gateway provides it.
    #[ts(type = "number | null")]
    pub granted_at: Option<UnixSeconds>,
}

/// A secret that server headers use, or that is stored. Does not contain its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Whether it is stored.
    pub stored: bool,
    /// The servers whose headers use it.
    pub servers: Vec<String>,
}

/// One check of the diagnostics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct DoctorCheck {
    /// The subject of the check.
    pub subject: String,
    /// The outcome.
    pub outcome: DoctorOutcome,
    /// A description of the result.
    pub finding: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum DoctorOutcome {
    /// No problem was found.
    #[serde(alias = "fine")]
    Ok,
    /// It works, with a possible problem.
    Warning,
    /// It does not work.
    #[serde(alias = "broken")]
    Failed,
}

/// The form from which the first `gateway.toml` is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ServerModeForm {
    /// The loopback port.
    pub port: u16,
    /// The Entra authority, `https://login.microsoftonline.com/{tenant}/v2.0`.
    pub authority: String,
    /// The gateway's application (client) ID.
    pub client_id: String,
    /// The gateway's client secret. It is written to a file that only the user can read.
    #[ts(as = "String")]
    pub client_secret: ClientSecret,
    /// The name of the server behind it.
    pub server: String,
    /// The server's MCP endpoint.
    pub server_url: String,
}
