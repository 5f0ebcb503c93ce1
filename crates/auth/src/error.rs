//! The errors of authorization, sign-in and sign-out, named by what to do next.

use std::time::Duration;

use model::SecretName;
use reach::{CertificateFlaw, NOT_TLS_HINT, UnknownName};

use crate::approval::Approval;
use crate::explanation::Explanation;
use crate::http::HttpError;
use crate::vault::VaultError;

/// The hint if a device code is refused.
const BROWSER: &str = "sign in to it with a browser in place of a device code";

/// Why there is no `Authorization` header for a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// The user must sign in.
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
        /// The server.
        server: String,
        /// Why a sign-in is needed.
        reason: SignInReason,
        /// The error of the authorization server, if there was one.
        explanation: Option<Box<Explanation>>,
    },
    /// A policy of the organisation denies access for now. Signing in again changes nothing.
    #[error("the sign-in to {server} is not renewed: {explanation}")]
    Forbidden {
        /// The server.
        server: String,
        /// The error of the authorization server.
        explanation: Box<Explanation>,
    },
    /// Try again later. The sign-in is kept.
    #[error(
        "cannot get a token for {server} from the authorization server {issuer}: {reason}; hint: check the network, Postern tries again by itself"
    )]
    Unreachable {
        /// The server.
        server: String,
        /// The authorization server, which does not answer.
        issuer: String,
        /// What went wrong.
        reason: String,
        /// How long the authorization server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The authorization server issued a token for one of Microsoft's own APIs. It is not sent.
    #[error(
        "the token for {server} is not sent: its audience `{audience}` is {owner}; hint: tell the administrators of the server and of its authorization server, or set `resource` of this server to that API if this is right"
    )]
    ForeignAudience {
        /// The server.
        server: String,
        /// The audience of the token.
        audience: String,
        /// The API that it belongs to.
        owner: &'static str,
    },
    /// The tokens cannot be read or stored.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The client credentials grant failed. No user can sign in here.
    #[error("cannot get a token for {server}: {reason}; hint: {hint}")]
    NotGranted {
        /// The server.
        server: String,
        /// The reason.
        reason: String,
        /// What to do about it.
        hint: &'static str,
        /// The error of the authorization server, if there was one.
        explanation: Option<Box<Explanation>>,
    },
    /// The configuration must be changed, here or at the authorization server.
    #[error(
        "the sign-in to {server} cannot be renewed: {reason}; hint: {}",
        explanation.as_ref().map_or(
            "check the client id, the scopes and the registration of this server",
            |explanation| explanation.todo,
        )
    )]
    Misconfigured {
        /// The server.
        server: String,
        /// The reason.
        reason: String,
        /// The error of the authorization server, if there was one.
        explanation: Option<Box<Explanation>>,
    },
}

/// Why a sign-in is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInReason {
    /// No account is signed in to this server.
    #[error("not signed in")]
    NotSignedIn,
    /// The sign-in has expired and cannot be refreshed.
    #[error("the last sign-in has ended")]
    Expired,
    /// The authorization server no longer accepts the sign-in.
    #[error("the last sign-in was revoked or has expired at the authorization server")]
    Revoked,
    /// The authorization server requires user interaction: a second factor, a consent.
    #[error("the authorization server requires user interaction")]
    InteractionRequired,
    /// The authorization server refused to refresh a sign-in by device code. A policy may forbid
    /// that flow alone, so the next sign-in must use a browser.
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
    /// The tokens have another audience than the approved one.
    #[error("its tokens are for another audience than before, which you have to approve")]
    AudienceChanged,
}

/// Why a sign-in did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignInError {
    /// The user or an administrator's policy declined (`access_denied`).
    #[error("the sign-in to {server} was declined: {explanation}")]
    Declined {
        /// The server.
        server: String,
        /// The error of the authorization server.
        explanation: Box<Explanation>,
    },
    /// The user did not finish the sign-in in time.
    #[error(
        "the sign-in to {server} was not finished within {} minutes; hint: start it again",
        waited.as_secs() / 60
    )]
    TimedOut {
        /// The server.
        server: String,
        /// The timeout.
        waited: Duration,
    },
    /// The authorization server returned an error.
    #[error("the sign-in to {server} was refused: {explanation}")]
    Refused {
        /// The server.
        server: String,
        /// The error of the authorization server.
        explanation: Box<Explanation>,
    },
    /// Try again later.
    #[error("{server} cannot be reached: {reason}; hint: check the network and the address")]
    Unreachable {
        /// The server, or its authorization server.
        server: String,
        /// What went wrong.
        reason: String,
    },
    /// The authorization server is overloaded or unavailable for a while.
    #[error(
        "the authorization server {issuer} cannot answer at the moment: {reason}; hint: try again in a few minutes"
    )]
    Busy {
        /// The authorization server.
        issuer: String,
        /// Its response.
        reason: String,
    },
    /// The certificate is not trusted.
    #[error("the certificate of {server} is not trusted: {flaw}; hint: {}", flaw.hint())]
    Untrusted {
        /// The server, or its authorization server.
        server: String,
        /// What is wrong with the certificate.
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
        /// The host name.
        name: UnknownName,
    },
    /// The clock of this machine is wrong.
    #[error(
        "the clock of this machine is {} minutes {} that of the authorization server of {server}; hint: set the date and time, then sign in again",
        off_by.as_secs() / 60,
        if *behind { "behind" } else { "ahead of" }
    )]
    ClockWrong {
        /// The server.
        server: String,
        /// The difference, at least.
        off_by: Duration,
        /// True if this machine is behind.
        behind: bool,
    },
    /// The port of the redirect URI is in use.
    #[error(
        "cannot sign in to {server}: port {port} is in use; hint: end the program that uses it, or change redirect_port of this server"
    )]
    PortTaken {
        /// The server.
        server: String,
        /// The port.
        port: u16,
    },
    /// Another sign-in listens on the port of the redirect URI.
    #[error(
        "cannot sign in to {server}: the sign-in to {other} uses port {port}; hint: finish or cancel that one first, or give the servers different redirect_ports"
    )]
    PortAwaited {
        /// The server.
        server: String,
        /// The port.
        port: u16,
        /// The server of the other sign-in.
        other: String,
    },
    /// This application must be registered at the authorization server.
    #[error(
        "the authorization server {issuer} of {server} does not let applications register themselves; hint: have Postern registered there and set the client id of this server"
    )]
    NoRegistration {
        /// The server.
        server: String,
        /// Its authorization server.
        issuer: String,
    },
    /// The secret of the configured client is not stored.
    #[error(
        "the sign-in to {server} needs the secret `{secret}`; hint: store it with `postern secrets set {secret}`, then sign in again"
    )]
    SecretMissing {
        /// The server.
        server: String,
        /// The secret's name.
        secret: SecretName,
    },
    /// The authorization server has no device codes (RFC 8628), or registers no client for them.
    #[error(
        "the authorization server {issuer} of {server} offers no sign-in by device code; hint: sign in with a browser"
    )]
    NoDeviceCode {
        /// The server.
        server: String,
        /// Its authorization server.
        issuer: String,
    },
    /// The server uses client credentials. No user signs in to it.
    #[error("{server} uses client credentials and needs no sign-in; hint: use it as it is")]
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
    /// The server refuses requests without a token, and neither it nor its origin names an
    /// authorization server.
    #[error(
        "{server} {}names no way to sign in{}; hint: if it wants an API key or another header, write it into `headers` of this server in config.toml",
        status.map(|status| format!("answers {status} and ")).unwrap_or_default(),
        words.as_ref().map(|words| format!(": {words}")).unwrap_or_default()
    )]
    NoSignIn {
        /// The server.
        server: String,
        /// The HTTP status of the response, if there was one.
        status: Option<u16>,
        /// The message of the response, on one short line.
        words: Option<String>,
    },
    /// The URL is at a Postern gateway that has no server at this path.
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
        /// The HTTP status of the response.
        status: u16,
    },
    /// Continuing would not be safe.
    #[error(
        "the sign-in to {server} would not be safe: {what}; hint: tell the server's administrator"
    )]
    Insecure {
        /// The server.
        server: String,
        /// The reason.
        what: String,
    },
    /// The server may not have tokens for the resource that it names.
    #[error(
        "the sign-in to {server} is refused: it {reason}; hint: if you trust it with that, write {entry} under this server in config.toml"
    )]
    ForeignResource {
        /// The server.
        server: String,
        /// What it requests, and why it may not have it.
        reason: String,
        /// The configuration entry that allows it.
        entry: String,
    },
    /// The user must approve the resource first.
    #[error(
        "{} asks for access to `{}`, which you have not approved; hint: approve it in the window, or at a terminal with `postern sign-in`",
        approval.server,
        approval.resource
    )]
    ApprovalNeeded {
        /// The approval to ask for.
        approval: Box<Approval>,
    },
    /// The user did not approve the resource.
    #[error(
        "access to `{resource}` was not allowed for {server}; hint: sign in again if that was not meant"
    )]
    NotApproved {
        /// The server.
        server: String,
        /// The resource that it requested.
        resource: String,
    },
    /// An authorization server names an endpoint that belongs to another one.
    #[error(transparent)]
    MixUp(Box<MixUp>),
    /// The server or its authorization server sent an invalid response.
    #[error("the sign-in to {server} failed: {what}; hint: tell the server's administrator")]
    Malformed {
        /// The server.
        server: String,
        /// What is invalid.
        what: String,
    },
    /// The authorization server does not know the client any more. The registration is deleted,
    /// and the next sign-in registers again.
    #[error(
        "the authorization server of {server} does not know Postern any more: {error}; hint: sign in again, Postern then registers again"
    )]
    RegistrationLost {
        /// The server.
        server: String,
        /// The error code.
        error: String,
    },
    /// A sign-in by device code was refused, or its code expired. A policy may forbid that flow
    /// alone, so a sign-in with a browser may succeed.
    #[error("{0}, or sign in with a browser in place of the device code")]
    DeviceCode(Box<SignInError>),
    /// The tokens cannot be stored.
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
    /// The name of the endpoint.
    pub endpoint: &'static str,
    /// The origin of the endpoint.
    pub address: String,
    /// The authorization server that it belongs to.
    pub owner: String,
    /// The configuration entry to write if that is intended.
    pub entry: String,
}

impl SignInError {
    /// Returns the error of the authorization server, if that is the cause.
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

    /// Returns true if the user did nothing before the timeout.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        match self {
            Self::DeviceCode(ended) => ended.is_timed_out(),
            ended => matches!(ended, Self::TimedOut { .. }),
        }
    }

    /// Converts the error of a sign-in by device code: `DeviceCode`, if the authorization server
    /// ended it.
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

    pub(crate) fn from_http_error(server: String, error: HttpError) -> Self {
        match error {
            HttpError::Untrusted(flaw) => Self::Untrusted { server, flaw },
            HttpError::NotTls => Self::NotTls { server },
            HttpError::UnknownName(name) => Self::UnknownName { server, name },
            HttpError::Unreachable(reason) => Self::Unreachable { server, reason },
            HttpError::PrivateAddress(what) => Self::Insecure { server, what },
        }
    }
}

impl AuthorizationError {
    /// Returns the error of the authorization server, if that is the cause.
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

/// What could not be done during sign-out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignOutError {
    /// No such account is signed in.
    #[error("this account is not signed in; hint: `postern status` lists the accounts")]
    Unknown,
    /// Signed out here, but the authorization server did not revoke the tokens.
    #[error(
        "signed out locally, but {issuer} did not revoke the tokens: {reason}; hint: wait until they expire, or end the session on its own account page"
    )]
    NotRevoked {
        /// The authorization server.
        issuer: String,
        /// What went wrong.
        reason: String,
    },
    /// The records could not be deleted.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Why a secret could not be stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// It is not a valid header value.
    #[error(
        "this cannot be the value of a header; hint: it has to be one line of printable ASCII without blanks around it"
    )]
    Unfit,
    /// The vault could not store it.
    #[error(transparent)]
    Vault(#[from] VaultError),
}
