//! Requests and their replies.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{
    BrowserAnswer, ClientSecret, HeaderSecret, HostId, HostView, Problem, ProblemKind, State,
    UnixSeconds,
};

/// One call of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(
    tag = "call",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
#[ts(export)]
pub enum Request {
    /// What there is now. Replied with [`Reply::State`].
    Status,
    /// What there is now, and again after every change. Replied with many [`Reply::State`].
    Watch,
    /// Starts a sign-in for a server, or joins the one under way, and waits for its end.
    SignIn {
        /// The server's name.
        server: String,
        /// Where the person who asks has a browser. A sign-in under way that goes another way
        /// starts again on this one, unless it is the usual.
        #[serde(default)]
        #[ts(optional, as = "Option<SignInWay>")]
        way: SignInWay,
    },
    /// Asks a server whether it accepts the tokens of its account, before a sign-in is started.
    CheckSignIn {
        /// The server's name.
        server: String,
    },
    /// Brings the address that a browser ended on which cannot reach this machine.
    FinishSignIn {
        /// The server's name.
        server: String,
        /// The whole address.
        #[ts(as = "String")]
        address: BrowserAnswer,
    },
    /// Approves the resource that the sign-in to a server waits for. The sign-in goes on then.
    ApproveResource {
        /// The server's name.
        server: String,
        /// The resource that was shown, as [`super::ApprovalView::resource`] names it. No other one
        /// is approved.
        resource: String,
        /// The audience that was shown with it, if one was.
        audience: Option<String>,
    },
    /// Has another account open a server: at once where a sign-in of that account can, else by a
    /// sign-in in the browser, whose end is waited for.
    SwitchAccount {
        /// The server's name.
        server: String,
        /// The account, as [`super::AccountView::id`] names it; if absent, the person chooses in
        /// the browser.
        account: Option<String>,
        /// Where the person who asks has a browser.
        #[serde(default)]
        #[ts(optional, as = "Option<SignInWay>")]
        way: SignInWay,
    },
    /// Ends the sign-in that waits for the browser.
    CancelSignIn {
        /// The server's name.
        server: String,
    },
    /// Forgets an account's tokens, and revokes them where the authority offers that.
    SignOut {
        /// The account, as [`super::AccountView::id`] names it; all accounts if absent.
        account: Option<String>,
        /// Whether the browser's own session with the authority is to end too, on a page of the
        /// authority's that is opened.
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        everywhere: bool,
    },
    /// Asks what is at the address of a server that is to be added, within ten seconds. Nothing is
    /// written, no credentials are sent and no sign-in starts. Replied with [`Reply::Inspection`].
    InspectServer {
        /// The new name.
        name: String,
        /// The remote's MCP endpoint, as far as it is known.
        url: String,
        /// As for [`Request::AddServer`].
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        allow_http: bool,
    },
    /// Adds a server to the configuration, or keeps an ephemeral one.
    AddServer {
        /// The new name.
        name: String,
        /// The remote's MCP endpoint.
        url: String,
        /// Whether a person has agreed that it is http to another machine, where others can read
        /// and change what is sent.
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        allow_http: bool,
    },
    /// Removes a server from the configuration.
    RemoveServer {
        /// The server's name.
        name: String,
    },
    /// Opens a session of its own to the server and lists its tools.
    TestServer {
        /// The server's name.
        name: String,
    },
    /// Calls a tool in a session of its own.
    CallTool {
        /// The server's name.
        server: String,
        /// The tool's name.
        tool: String,
        /// The arguments, a JSON object as text.
        arguments: String,
    },
    /// The host programs that Postern can configure.
    ListHosts,
    /// What adding a server to a host would change; nothing is written.
    PreviewHostAdd {
        /// The host.
        host: HostId,
        /// The server's name.
        server: String,
    },
    /// What removing it would change; nothing is written.
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
    /// Removes it again.
    RemoveFromHost {
        /// The host.
        host: HostId,
        /// The server's name.
        server: String,
        /// The diff that was shown and approved. Any other change is not made.
        approved: String,
    },
    /// What taking over a host's entries for `mcp-remote` would change; nothing is written.
    PreviewHostImport {
        /// The host.
        host: HostId,
        /// The entries, as the host names them; all that can be taken over if empty.
        entries: Vec<String>,
    },
    /// Takes them over: each becomes a server of the configuration, with its secrets stored, and
    /// the host's entry one of ours.
    ImportFromHost {
        /// The host.
        host: HostId,
        /// The entries that the preview was asked for.
        entries: Vec<String>,
        /// What was shown and approved. Anything else is not done.
        approved: HostImport,
        /// Whether a person has agreed to every server that is `exposed`.
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        allow_http: bool,
    },
    /// What a server's gateway granted to us.
    ListConsents {
        /// The server's name; every server's if absent, and those that cannot be asked are named.
        server: Option<String>,
    },
    /// Takes a consent back at the gateway.
    RevokeConsent {
        /// The server through which the gateway is known.
        server: String,
        /// The consent, as [`ConsentView::id`] names it.
        id: String,
    },
    /// The secrets that headers of servers need, and those that are stored.
    ListSecrets,
    /// Stores a secret, in place of one of the same name.
    SetSecret {
        /// Its name.
        name: String,
        /// What a header is to say.
        #[ts(as = "String")]
        value: HeaderSecret,
    },
    /// Forgets a stored secret.
    RemoveSecret {
        /// Its name.
        name: String,
    },
    /// Writes the first configuration of the bundled gateway.
    ConfigureServerMode {
        /// What the person filled in.
        form: ServerModeForm,
    },
    /// Starts the bundled gateway.
    StartServerMode,
    /// Ends it.
    StopServerMode,
    /// Looks everything over.
    Doctor,
    /// Ends the bridge, and the server mode with it.
    Quit,
    /// Asks an older bridge to finish what it owes and end, so that a newer one can start.
    Yield,
}

/// Where somebody signs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum SignInWay {
    /// In a browser that the bridge opens; where it can open none, as `elsewhere`.
    #[default]
    Here,
    /// In a browser on another machine: by a code where the server offers that, else as `page`.
    Elsewhere,
    /// By a code that is entered on any device (RFC 8628), and not otherwise.
    Code,
    /// On a page that nobody opens here, in a browser that may be unable to reach this machine.
    Page,
}

/// Whether a sign-in to a server would bring anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum SignInCheck {
    /// The server accepts the tokens of its account, and has asked for no more than they allow.
    SignedIn {
        /// The account, as [`super::AccountView::id`] names it.
        account: String,
    },
    /// It would, or may: the server takes another sign-in, or could not be asked.
    Needed,
}

/// What a [`Request`] is answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "reply", content = "value", rename_all = "kebab-case")]
#[ts(export)]
pub enum Reply {
    /// It was done.
    Done,
    /// The state.
    State(Box<State>),
    /// Whether a sign-in would bring anything.
    SignInCheck(SignInCheck),
    /// What is at the address of a server that is to be added.
    Inspection(Inspection),
    /// The outcome of a test.
    Test(TestReport),
    /// What a tool answered.
    Tool(ToolResult),
    /// The hosts.
    Hosts(Vec<HostView>),
    /// A change to a host's file, made or to be made.
    HostChange(HostChange),
    /// Entries of a host, taken over or to be taken over.
    HostImport(HostImport),
    /// The consents.
    Consents(ConsentList),
    /// The secrets, without their values.
    Secrets(Vec<SecretView>),
    /// What the doctor found.
    Doctor(Vec<DoctorCheck>),
}

/// What is at the address of a server that is to be added, and so what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[ts(export)]
pub enum Inspection {
    /// It answers without a sign-in.
    Ready {
        /// What it answered.
        report: TestReport,
    },
    /// It answers 401 and offers a sign-in.
    SignIn,
    /// It answers 401 and names no way to sign in, as servers do that take an API key in a header.
    HeaderNeeded {
        /// The server's own words, if there are any.
        words: Option<String>,
    },
    /// No MCP server answers there, but one does at another path of the same origin. It is for the
    /// user to decide whether that is the one.
    Elsewhere {
        /// What is at the address that was given.
        problem: Problem,
        /// Where a server was found.
        url: String,
        /// What was found there.
        found: Box<Inspection>,
    },
    /// No MCP server answers there: the address is wrong.
    NoServer {
        /// What answers.
        problem: Problem,
    },
    /// The server cannot be used now, or not without more configuration.
    NotNow {
        /// Why.
        problem: Problem,
    },
}

/// What a test of a server found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct TestReport {
    /// The server's own name and version.
    pub server_info: String,
    /// The protocol version agreed on.
    pub protocol_version: String,
    /// The names of its tools.
    pub tools: Vec<String>,
    /// How long the session took, in milliseconds.
    pub milliseconds: u32,
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ToolResult {
    /// The text of the answer.
    pub text: String,
    /// Whether the tool says that it failed.
    pub is_error: bool,
    /// The whole result, as JSON text.
    pub json: String,
}

/// A change to a host's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HostChange {
    /// The file.
    pub path: String,
    /// The change as a unified diff; empty if there is nothing to change.
    pub diff: String,
    /// Where the file as it was is kept, once the change was made.
    pub backup: Option<String>,
    /// What the person has to do for it to take effect.
    pub afterwards: Option<String>,
}

/// Entries of a host for `mcp-remote`, taken over or to be taken over. None of it is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HostImport {
    /// The host's file.
    pub path: String,
    /// The change to it as a unified diff, with `…` for what may be a secret; empty if there is
    /// nothing to take over.
    pub diff: String,
    /// The file of the servers, which those that are new are added to.
    pub config_path: String,
    /// What the entries become.
    pub servers: Vec<ImportedServer>,
    /// The entries for `mcp-remote` that stay as they are.
    pub left: Vec<SkippedEntry>,
    /// Where the host's file as it was is kept, secrets and all, once the change was made.
    pub backup: Option<String>,
    /// What the person has to do for it to take effect.
    pub afterwards: Option<String>,
}

/// The server that an entry of a host becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ImportedServer {
    /// The entry, as the host names it.
    pub entry: String,
    /// The server's name.
    pub name: String,
    /// Its address, without a query.
    pub url: String,
    /// Whether it is http to another machine, where others can read and change what is sent.
    pub exposed: bool,
    /// What is added to the configuration, as TOML; empty if such a server is there already.
    pub config: String,
    /// The names of the secrets that are stored for it.
    pub secrets: Vec<String>,
    /// What of the entry is not taken over, and what there is to do.
    pub remarks: Vec<String>,
}

/// An entry of a host that is not taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SkippedEntry {
    /// The entry, as the host names it.
    pub entry: String,
    /// Why.
    pub reason: String,
}

/// What gateways granted to us, as far as they could be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ConsentList {
    /// The consents, each once, whichever of the servers its gateway was asked through.
    pub consents: Vec<ConsentView>,
    /// How many servers have answered. One that offers no list of consents does not count.
    pub answered: u32,
    /// The servers that could not be asked. Empty where one server was named: its error is the
    /// reply then.
    pub not_asked: Vec<NotAsked>,
}

/// A server whose gateway could not be asked for consents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct NotAsked {
    /// The server's name.
    pub server: String,
    /// Why, in a few words that stand in brackets behind the name.
    pub reason: String,
    /// What a program may branch on.
    pub kind: ProblemKind,
}

/// What a gateway granted to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ConsentView {
    /// The consent's name at the gateway.
    pub id: String,
    /// The server as we name it, through which the gateway is known.
    pub via: String,
    /// The server as the gateway names it.
    pub server: String,
    /// The client that the consent was given to.
    pub client: String,
    /// The scopes granted.
    pub scopes: Vec<String>,
    /// Since when, where the gateway tells.
    #[ts(type = "number | null")]
    pub granted_at: Option<UnixSeconds>,
}

/// A secret that headers of servers need, or that is stored. Nobody sees its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Whether it is stored.
    pub stored: bool,
    /// The servers whose headers need it.
    pub servers: Vec<String>,
}

/// One thing that the doctor looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct DoctorCheck {
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub outcome: DoctorOutcome,
    /// In words.
    pub finding: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// How one check of the doctor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum DoctorOutcome {
    /// As it should be.
    Fine,
    /// Works, but somebody should know.
    Warning,
    /// Does not work.
    Broken,
}

/// The short form that makes the first `gateway.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ServerModeForm {
    /// The loopback port.
    pub port: u16,
    /// The Entra authority, `https://login.microsoftonline.com/{tenant}/v2.0`.
    pub authority: String,
    /// The gateway's application (client) id.
    pub client_id: String,
    /// The gateway's client secret. It is written to a file that only the user can read.
    #[ts(as = "String")]
    pub client_secret: ClientSecret,
    /// The name of the server behind it.
    pub server: String,
    /// The server's MCP endpoint.
    pub server_url: String,
}
