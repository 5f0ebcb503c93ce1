//! The errors of authorization, sign-in and sign-out, named by what to do next.

mod describe;

use std::time::Duration;

use model::SecretName;
use reach::{CertificateFlaw, UnknownName};
use texts::Text;

use crate::approval::Approval;
use crate::explanation::Explanation;
use crate::http::HttpError;
use crate::vault::VaultError;

/// Why there is no `Authorization` header for a request.
#[derive(Clone, Debug)]
pub enum AuthorizationError {
    /// The user must sign in.
    SignInNeeded {
        /// The server.
        server: String,
        /// Why a sign-in is needed.
        reason: SignInReason,
        /// The error of the authorization server, if there was one.
        explanation: Option<Box<Explanation>>,
    },
    /// A policy of the organisation denies access for now. Signing in again changes nothing.
    Forbidden {
        /// The server.
        server: String,
        /// The error of the authorization server.
        explanation: Box<Explanation>,
    },
    /// Try again later. The sign-in is kept.
    Unreachable {
        /// The server.
        server: String,
        /// The authorization server, which does not answer.
        issuer: String,
        /// What went wrong.
        reason: Text,
        /// How long the authorization server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The authorization server issued a token for one of Microsoft's own APIs. It is not sent.
    ForeignAudience {
        /// The server.
        server: String,
        /// The audience of the token.
        audience: String,
        /// The API that it belongs to.
        owner: &'static str,
    },
    /// The tokens cannot be read or stored.
    Vault(VaultError),
    /// The client credentials grant failed. No user can sign in here.
    NotGranted {
        /// The server.
        server: String,
        /// The reason, and what to do about it.
        reason: Text,
        /// The error of the authorization server, if there was one.
        explanation: Option<Box<Explanation>>,
    },
    /// The configuration must be changed, here or at the authorization server.
    Misconfigured {
        /// The server.
        server: String,
        /// The reason, and what to do about it.
        reason: Text,
        /// The error of the authorization server, if there was one.
        explanation: Option<Box<Explanation>>,
    },
}

/// Why a sign-in is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInReason {
    /// No account is signed in to this server.
    NotSignedIn,
    /// The sign-in has expired and cannot be refreshed.
    Expired,
    /// The authorization server no longer accepts the sign-in.
    Revoked,
    /// The authorization server requires user interaction: a second factor, a consent.
    InteractionRequired,
    /// The authorization server refused to refresh a sign-in by device code. A policy may forbid
    /// that flow alone, so the next sign-in must use a browser.
    DeviceCodeRefused,
    /// The server refuses every token that the authorization server issues.
    KeepsRefusing,
    /// The record of the sign-in is damaged or was changed.
    Damaged,
    /// The sign-in has scopes of a resource that the user has not approved for this server.
    NotApproved,
    /// The tokens have another audience than the approved one.
    AudienceChanged,
}

/// Why a sign-in did not succeed.
#[derive(Clone, Debug)]
pub enum SignInError {
    /// The user or an administrator's policy declined (`access_denied`).
    Declined {
        /// The server.
        server: String,
        /// The error of the authorization server.
        explanation: Box<Explanation>,
    },
    /// The user did not finish the sign-in in time.
    TimedOut {
        /// The server.
        server: String,
        /// The timeout.
        waited: Duration,
    },
    /// The authorization server returned an error.
    Refused {
        /// The server.
        server: String,
        /// The error of the authorization server.
        explanation: Box<Explanation>,
    },
    /// Try again later.
    Unreachable {
        /// The server, or its authorization server.
        server: String,
        /// What went wrong.
        reason: Text,
    },
    /// The authorization server is overloaded or unavailable for a while.
    Busy {
        /// The authorization server.
        issuer: String,
        /// Its response.
        reason: Text,
    },
    /// The certificate is not trusted.
    Untrusted {
        /// The server, or its authorization server.
        server: String,
        /// What is wrong with the certificate.
        flaw: CertificateFlaw,
    },
    /// The URL is https, and the port does not speak TLS.
    NotTls {
        /// The server, or its authorization server.
        server: String,
    },
    /// The name in the URL does not resolve.
    UnknownName {
        /// The server, or its authorization server.
        server: String,
        /// The host name.
        name: UnknownName,
    },
    /// The clock of this machine is wrong.
    ClockWrong {
        /// The server.
        server: String,
        /// The difference, at least.
        off_by: Duration,
        /// True if this machine is behind.
        behind: bool,
    },
    /// The port of the redirect URI is in use.
    PortTaken {
        /// The server.
        server: String,
        /// The port.
        port: u16,
    },
    /// Another sign-in listens on the port of the redirect URI.
    PortAwaited {
        /// The server.
        server: String,
        /// The port.
        port: u16,
        /// The server of the other sign-in.
        other: String,
    },
    /// This application must be registered at the authorization server.
    NoRegistration {
        /// The server.
        server: String,
        /// Its authorization server.
        issuer: String,
    },
    /// The secret of the configured client is not stored.
    SecretMissing {
        /// The server.
        server: String,
        /// The secret's name.
        secret: SecretName,
    },
    /// The authorization server has no device codes (RFC 8628), or registers no client for them.
    NoDeviceCode {
        /// The server.
        server: String,
        /// Its authorization server.
        issuer: String,
    },
    /// The server uses client credentials. No user signs in to it.
    NotForPeople {
        /// The server.
        server: String,
    },
    /// The server asks for no sign-in.
    NotProtected {
        /// The server.
        server: String,
    },
    /// The server refuses requests without a token, and neither it nor its origin names an
    /// authorization server.
    NoSignIn {
        /// The server.
        server: String,
        /// The HTTP status of the response, if there was one.
        status: Option<u16>,
        /// The message of the response, on one short line.
        words: Option<String>,
    },
    /// The URL is at a Postern gateway that has no server at this path.
    NoSuchServer {
        /// The server.
        server: String,
        /// The origin of the gateway.
        gateway: String,
    },
    /// The server has no MCP endpoint at the path of its URL.
    WrongPath {
        /// The server.
        server: String,
        /// The HTTP status of the response.
        status: u16,
    },
    /// Continuing would not be safe.
    Insecure {
        /// The server.
        server: String,
        /// The reason.
        what: String,
    },
    /// The server may not have tokens for the resource that it names.
    ForeignResource {
        /// The server.
        server: String,
        /// What it requests, and why it may not have it.
        reason: String,
        /// The configuration entry that allows it.
        entry: String,
    },
    /// The user must approve the resource first.
    ApprovalNeeded {
        /// The approval to ask for.
        approval: Box<Approval>,
    },
    /// The user did not approve the resource.
    NotApproved {
        /// The server.
        server: String,
        /// The resource that it requested.
        resource: String,
    },
    /// An authorization server names an endpoint that belongs to another one.
    MixUp(Box<MixUp>),
    /// The server or its authorization server sent an invalid response.
    Malformed {
        /// The server.
        server: String,
        /// What is invalid.
        what: String,
    },
    /// The authorization server does not know the client any more. The registration is deleted,
    /// and the next sign-in registers again.
    RegistrationLost {
        /// The server.
        server: String,
        /// The error code.
        error: String,
    },
    /// A sign-in by device code was refused, or its code expired. A policy may forbid that flow
    /// alone, so a sign-in with a browser may succeed.
    DeviceCode(Box<SignInError>),
    /// The tokens cannot be stored.
    Vault(VaultError),
}

/// An authorization server names an endpoint that belongs to another one (mix-up attack, RFC 9700
/// §4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
pub enum SignOutError {
    /// No such account is signed in.
    Unknown,
    /// Signed out here, but the authorization server did not revoke the tokens.
    NotRevoked {
        /// The authorization server.
        issuer: String,
        /// What went wrong.
        reason: Text,
    },
    /// The records could not be deleted.
    Vault(VaultError),
}

/// Why a secret could not be stored.
#[derive(Clone, Debug)]
pub enum SecretError {
    /// It is not a valid header value.
    Unfit,
    /// The vault could not store it.
    Vault(VaultError),
}

impl From<VaultError> for AuthorizationError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<VaultError> for SignInError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<VaultError> for SignOutError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<VaultError> for SecretError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}
