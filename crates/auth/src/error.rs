//! What can go wrong while authorizing, signing in and signing out, named by what to do next.

use std::time::Duration;

use model::SecretName;
use reach::{CertificateFlaw, NOT_TLS_HINT, UnknownName};

use crate::audience::Approval;
use crate::explanation::Explanation;
use crate::http::Fault;
use crate::vault::VaultError;

/// What to do where a device code does not do.
const BROWSER: &str = "sign in to it with a browser in place of a device code";

/// Why there is no `Authorization` header for a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// Ask the user to sign in.
    #[error(
        "{server} needs a sign-in: {}",
        match (reason, explanation) {
            (SignInReason::DeviceCodeRefused, Some(known)) => format!("{}; hint: {BROWSER}", known.what),
            (SignInReason::DeviceCodeRefused, None) => format!("{reason}; hint: {BROWSER}"),
            (_, Some(explanation)) => explanation.to_string(),
            (_, None) => format!("{reason}; hint: sign in to it in Postern"),
        }
    )]
    SignInNeeded {
        /// The server asked for.
        server: String,
        /// Why what there was does not do.
        reason: SignInReason,
        /// What the authorization server said, if it was that.
        explanation: Option<Box<Explanation>>,
    },
    /// A rule of the organisation forbids it here and now: signing in again changes nothing.
    #[error("the sign-in to {server} is not renewed: {explanation}")]
    Forbidden {
        /// The server asked for.
        server: String,
        /// What the authorization server said.
        explanation: Box<Explanation>,
    },
    /// Try again later: the sign-in is kept.
    #[error(
        "cannot get a token for {server} from the authorization server {issuer}: {reason}; hint: check the network, Postern tries again by itself"
    )]
    Unreachable {
        /// The server asked for.
        server: String,
        /// The authorization server, which is the one that does not answer.
        issuer: String,
        /// What went wrong on the way.
        reason: String,
        /// How long the authorization server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The authorization server issued a token for an API of Microsoft's own. It is not sent.
    #[error(
        "the token for {server} is not sent: its audience `{audience}` is {owner}; hint: tell the administrators of the server and of its authorization server, or set `resource` of this server to that API if this is right"
    )]
    ForeignAudience {
        /// The server asked for.
        server: String,
        /// The audience of the token.
        audience: String,
        /// Whose it is.
        owner: &'static str,
    },
    /// The tokens cannot be read or kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Nobody can sign in: this program does, and is given no token.
    #[error("this program gets no token for {server}: {reason}; hint: {hint}")]
    NotGranted {
        /// The server asked for.
        server: String,
        /// Why not.
        reason: String,
        /// What can be done about it.
        hint: &'static str,
        /// What the authorization server said, if it was that.
        explanation: Option<Box<Explanation>>,
    },
    /// Someone must change the configuration, here or at the authorization server.
    #[error(
        "the sign-in to {server} cannot be renewed: {reason}; hint: {}",
        explanation.as_ref().map_or(
            "check the client id, the scopes and the registration of this server",
            |explanation| explanation.todo,
        )
    )]
    Misconfigured {
        /// The server asked for.
        server: String,
        /// Why not.
        reason: String,
        /// What the authorization server said, if it was that.
        explanation: Option<Box<Explanation>>,
    },
}

/// Why a sign-in is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInReason {
    /// Nobody has signed in to this server, or has signed out.
    #[error("nobody is signed in")]
    NotSignedIn,
    /// The sign-in has ended and cannot be renewed.
    #[error("the last sign-in has ended")]
    Expired,
    /// The authorization server no longer accepts the sign-in.
    #[error("the last sign-in was revoked or has expired at the authorization server")]
    Revoked,
    /// The authorization server wants the user to do something: a second factor, a consent.
    #[error("the authorization server wants to ask the user something")]
    InteractionRequired,
    /// The authorization server refused to refresh a sign-in by device code. A policy may forbid
    /// that flow alone, so the next sign-in has to be with a browser.
    #[error(
        "the authorization server no longer accepts the last sign-in, which was by device code"
    )]
    DeviceCodeRefused,
    /// The server refuses every token that the authorization server issues.
    #[error("the server refuses the tokens of the last sign-in")]
    KeepsRefusing,
    /// The record of the sign-in is damaged or was changed.
    #[error("the record of the last sign-in is damaged")]
    Damaged,
    /// The sign-in has scopes of a resource that the user has not approved for this server.
    #[error("you have not approved the resource that its tokens are for")]
    NotApproved,
    /// The tokens have another audience than the one that was approved.
    #[error("its tokens are for another audience than before, which you have to approve")]
    AudienceChanged,
}

/// Why a sign-in did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignInError {
    /// The user, or a rule of an administrator, said no (`access_denied`).
    #[error("the sign-in to {server} was declined: {explanation}")]
    Declined {
        /// The server signed in to.
        server: String,
        /// What the authorization server said.
        explanation: Box<Explanation>,
    },
    /// Nobody finished the sign-in in the browser in time.
    #[error(
        "nobody finished the sign-in to {server} within {} minutes; hint: start it again",
        waited.as_secs() / 60
    )]
    TimedOut {
        /// The server signed in to.
        server: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The authorization server refused.
    #[error("the sign-in to {server} was refused: {explanation}")]
    Refused {
        /// The server signed in to.
        server: String,
        /// What the authorization server said.
        explanation: Box<Explanation>,
    },
    /// Try again later.
    #[error("{server} cannot be reached: {reason}; hint: check the network and the address")]
    Unreachable {
        /// The server, or its authorization server.
        server: String,
        /// What went wrong on the way.
        reason: String,
    },
    /// The authorization server is there, and wants to be left alone for a while.
    #[error(
        "the authorization server {issuer} cannot answer at the moment: {reason}; hint: try again in a few minutes"
    )]
    Busy {
        /// The authorization server.
        issuer: String,
        /// What it said.
        reason: String,
    },
    /// The certificate is not trusted.
    #[error("the certificate of {server} is not trusted: {flaw}; hint: {}", flaw.hint())]
    Untrusted {
        /// The server, or its authorization server.
        server: String,
        /// What is wrong with it.
        flaw: CertificateFlaw,
    },
    /// The URL is https, and the port does not speak TLS.
    #[error("{server} does not speak TLS on that port; hint: {NOT_TLS_HINT}")]
    NotTls {
        /// The server, or its authorization server.
        server: String,
    },
    /// The name in the URL does not resolve.
    #[error("{server} cannot be reached: {name}; hint: {}", name.hint())]
    UnknownName {
        /// The server, or its authorization server.
        server: String,
        /// The name.
        name: UnknownName,
    },
    /// The clock of this machine is wrong.
    #[error(
        "the clock of this machine is {} minutes {} that of the authorization server of {server}; hint: set the date and time, then sign in again",
        off_by.as_secs() / 60,
        if *behind { "behind" } else { "ahead of" }
    )]
    ClockWrong {
        /// The server signed in to.
        server: String,
        /// By how much, at least.
        off_by: Duration,
        /// Whether this machine is behind.
        behind: bool,
    },
    /// The port of the redirect URI is taken.
    #[error(
        "port {port} is taken by another program, so the sign-in to {server} has nowhere to return to; hint: end that program, or change redirect_port of this server"
    )]
    PortTaken {
        /// The server signed in to.
        server: String,
        /// The port.
        port: u16,
    },
    /// The port of the redirect URI is held by a sign-in of ours.
    #[error(
        "the sign-in to {server} has to return to port {port}, where the one to {other} is still waited for; hint: finish or cancel that one first, or give the servers different redirect_ports"
    )]
    PortAwaited {
        /// The server signed in to.
        server: String,
        /// The port.
        port: u16,
        /// The server whose sign-in is under way.
        other: String,
    },
    /// Someone must register this program at the authorization server.
    #[error(
        "the authorization server {issuer} of {server} does not let programs register themselves; hint: have Postern registered there and set the client id of this server"
    )]
    NoRegistration {
        /// The server signed in to.
        server: String,
        /// Its authorization server.
        issuer: String,
    },
    /// The secret of the configured client has to be stored.
    #[error(
        "the sign-in to {server} needs the secret `{secret}`; hint: store it with `postern secrets set {secret}`, then sign in again"
    )]
    SecretMissing {
        /// The server signed in to.
        server: String,
        /// The secret's name.
        secret: SecretName,
    },
    /// The authorization server has no device codes (RFC 8628), or registers nobody for them.
    #[error(
        "the authorization server {issuer} of {server} offers no sign-in by device code; hint: sign in with a browser"
    )]
    NoDeviceCode {
        /// The server signed in to.
        server: String,
        /// Its authorization server.
        issuer: String,
    },
    /// Nobody signs in to it: this program proves itself.
    #[error("nobody signs in to {server}, Postern does that by itself; hint: use it as it is")]
    NotForPeople {
        /// The server.
        server: String,
    },
    /// The server asks for no sign-in.
    #[error("{server} asks for no sign-in; hint: use it as it is")]
    NotProtected {
        /// The server.
        server: String,
    },
    /// The server refuses requests without a token, and neither it nor its origin says how to get one.
    #[error(
        "{server} {}names no way to sign in{}; hint: if it wants an API key or another header, write it into `headers` of this server in config.toml",
        status.map(|status| format!("answers {status} and ")).unwrap_or_default(),
        words.as_ref().map(|words| format!(": {words}")).unwrap_or_default()
    )]
    NoSignIn {
        /// The server.
        server: String,
        /// The HTTP status of its refusal, if it was seen.
        status: Option<u16>,
        /// What it said, on one short line.
        words: Option<String>,
    },
    /// The URL leads to a Postern gateway, which has no server at that path.
    #[error("no such server at this gateway ({gateway}); hint: check the path of the server's URL")]
    NoSuchServer {
        /// The server.
        server: String,
        /// The origin of the gateway.
        gateway: String,
    },
    /// The server has no MCP endpoint at the path of its URL.
    #[error(
        "{server} has nothing at this path (HTTP {status}); hint: check the URL; it usually ends in /mcp"
    )]
    WrongPath {
        /// The server.
        server: String,
        /// How it answers.
        status: u16,
    },
    /// Going on would not be safe.
    #[error("the sign-in to {server} would not be safe: {what}; hint: tell who runs the server")]
    Insecure {
        /// The server signed in to.
        server: String,
        /// What is wrong.
        what: String,
    },
    /// The server may not have tokens for the resource that it asks for.
    #[error(
        "the sign-in to {server} is refused: it {reason}; hint: if you trust it with that, write {entry} under this server in config.toml"
    )]
    ForeignResource {
        /// The server.
        server: String,
        /// What it asks for, and why it may not have it.
        reason: String,
        /// The configuration entry that allows it.
        entry: String,
    },
    /// The user has to approve the resource first.
    #[error(
        "{} asks for access to `{}`, which you have not approved; hint: approve it in the window, or at a terminal with `postern sign-in`",
        approval.server,
        approval.resource
    )]
    ApprovalNeeded {
        /// What is to be approved.
        approval: Box<Approval>,
    },
    /// The user did not approve the resource.
    #[error(
        "access to `{resource}` was not allowed for {server}; hint: sign in again if that was not meant"
    )]
    NotApproved {
        /// The server.
        server: String,
        /// The resource that it asked for.
        resource: String,
    },
    /// An authorization server names an endpoint that belongs to another one.
    #[error(transparent)]
    MixUp(Box<MixUp>),
    /// The server or its authorization server answered nonsense.
    #[error("the sign-in to {server} failed: {what}; hint: tell who runs the server")]
    Malformed {
        /// The server signed in to.
        server: String,
        /// What is wrong.
        what: String,
    },
    /// The registration of this program was refused; it is forgotten, and the next sign-in
    /// registers again.
    #[error(
        "the authorization server of {server} no longer knows this program: {error}; hint: sign in again, Postern registers anew"
    )]
    RegistrationLost {
        /// The server signed in to.
        server: String,
        /// The error code.
        error: String,
    },
    /// A sign-in by device code was refused, or its code expired. A policy may forbid that flow
    /// alone, so a sign-in with a browser may succeed.
    #[error("{0}, or sign in with a browser in place of the device code")]
    DeviceCode(Box<SignInError>),
    /// The tokens cannot be kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// An authorization server names an endpoint that belongs to another one (mix-up attack, RFC 9700
/// §4.4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sign-in to {server} is refused: its authorization server {issuer} names the {endpoint} {address}, which belongs to {owner}; hint: {entry}"
)]
pub struct MixUp {
    /// The server.
    pub server: String,
    /// The authorization server that the server names.
    pub issuer: String,
    /// Which endpoint.
    pub endpoint: &'static str,
    /// Where it is.
    pub address: String,
    /// Whose it is.
    pub owner: String,
    /// The configuration entry to write if it is right.
    pub entry: String,
}

impl SignInError {
    /// What the authorization server said, if that is why.
    #[must_use]
    pub fn explanation(&self) -> Option<&Explanation> {
        if let Self::DeviceCode(ended) = self {
            return ended.explanation();
        }
        let (Self::Declined { explanation, .. } | Self::Refused { explanation, .. }) = self else {
            return None;
        };
        Some(explanation)
    }

    /// Whether the user did nothing until the sign-in ended.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        match self {
            Self::DeviceCode(ended) => ended.is_timed_out(),
            ended => matches!(ended, Self::TimedOut { .. }),
        }
    }

    /// The end of a sign-in by device code: `DeviceCode` where the authorization server ended it.
    pub(crate) fn by_device_code(self) -> Self {
        let is_refusal = matches!(
            self,
            Self::Declined { .. }
                | Self::Refused { .. }
                | Self::RegistrationLost { .. }
                | Self::TimedOut { .. }
        );
        match is_refusal {
            true => Self::DeviceCode(Box::new(self)),
            false => self,
        }
    }

    pub(crate) fn from_fault(server: String, fault: Fault) -> Self {
        match fault {
            Fault::Untrusted(flaw) => Self::Untrusted { server, flaw },
            Fault::NotTls => Self::NotTls { server },
            Fault::UnknownName(name) => Self::UnknownName { server, name },
            Fault::Unreachable(reason) => Self::Unreachable { server, reason },
            Fault::Inside(what) => Self::Insecure { server, what },
        }
    }
}

impl AuthorizationError {
    /// What the authorization server said, if that is why.
    #[must_use]
    pub fn explanation(&self) -> Option<&Explanation> {
        match self {
            Self::SignInNeeded { explanation, .. }
            | Self::NotGranted { explanation, .. }
            | Self::Misconfigured { explanation, .. } => explanation.as_deref(),
            Self::Forbidden { explanation, .. } => Some(explanation),
            Self::Unreachable { .. } | Self::ForeignAudience { .. } | Self::Vault(_) => None,
        }
    }
}

/// What is left undone after signing out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignOutError {
    /// No such account is signed in.
    #[error("this account is not signed in; hint: `postern status` lists the accounts")]
    Unknown,
    /// Signed out here, but the authorization server could not be told.
    #[error(
        "signed out here, but {issuer} could not be told: {reason}; hint: its tokens end by themselves, or end the session on its own account page"
    )]
    NotRevoked {
        /// The authorization server.
        issuer: String,
        /// What went wrong.
        reason: String,
    },
    /// The records could not be removed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Why a secret is not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// No header can carry it.
    #[error(
        "this cannot be the value of a header; hint: it has to be one line of printable ASCII without blanks around it"
    )]
    Unfit,
    /// It could not be kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
}
