//! Diagnoses the sign-in to a server, and says what to change.
//!
//! Owns: the findings and their texts.
//! Does not own: discovery (`discovery`, `sign_in`), and whether the server itself speaks MCP.
//! Invariant: it changes nothing. It opens no browser, registers no client and requests no token.

mod application;
mod document;
mod network;
mod user;

use model::Issuer;
use model::config::ServerAuth;

use texts::{Describe, Language, Text};

use crate::discovery::AuthorizationServer;
use crate::error::SignInError;
use crate::target::{ClientMetadata, Target};
use crate::token::source::Source;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub kind: CheckKind,
    /// The outcome.
    pub verdict: Verdict,
    /// What was found.
    pub what: String,
    /// What to change, or what has to stay as it is.
    pub todo: Option<String>,
}

/// What a [`Finding`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// The kind of server, and the issuer of its tokens.
    Discovery,
    /// The registration of this application.
    Registration,
    /// The redirect URI and its port.
    Redirect,
    /// The resource of the tokens.
    Access,
    /// The difference between this machine's clock and that of the authorization server.
    Clock,
    /// Whether the server and its authorization server are reachable.
    Reach,
    /// The proxy.
    Proxy,
    /// The issuers of the certificates of the server and its authorization server.
    Certificate,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works or could not be checked, and the user should know.
    Warning,
    /// It does not work.
    Failed,
}

/// What was not found at a server that names no way to sign in, and additionally at one that
/// answers 401.
const NO_METADATA: &str = "it names no way to sign in: there is no protected resource metadata (RFC 9728) and no authorization server metadata (RFC 8414)";
const NO_ENDPOINT: &str = "nor is there an /authorize (MCP 2025-03-26)";

/// The authorization server that issues the tokens.
struct TokenIssuer {
    issuer: Issuer,
    server: AuthorizationServer,
}

/// See [`Identity::diagnose`](crate::Identity::diagnose).
pub(crate) async fn diagnose(
    source: &Source,
    client: &ClientMetadata,
    target: &Target,
    challenge: Option<&str>,
) -> Vec<Finding> {
    if target.url().is_exposed() {
        let what = "not checked: a server with a plain http URL gets no sign-in";
        return vec![
            Finding::ok(CheckKind::Discovery, what),
            network::proxy(source, target.url().url(), None),
        ];
    }
    let (mut findings, authority) = match target.auth() {
        ServerAuth::None => {
            let what = "it needs no sign-in, as its configuration says";
            (vec![Finding::ok(CheckKind::Discovery, what)], None)
        }
        ServerAuth::ClientCredentials(config) => {
            application::findings(source, target, config).await
        }
        ServerAuth::Discover | ServerAuth::Client { .. } | ServerAuth::Entra { .. } => {
            user::findings(source, client, target, challenge).await
        }
    };
    findings.extend(network::findings(source, target, authority.as_ref()).await);
    findings
}

impl Finding {
    fn new(
        kind: CheckKind,
        verdict: Verdict,
        what: impl Into<String>,
        todo: Option<String>,
    ) -> Self {
        Self {
            kind,
            verdict,
            what: what.into(),
            todo,
        }
    }

    fn ok(kind: CheckKind, what: impl Into<String>) -> Self {
        Self::new(kind, Verdict::Ok, what, None)
    }

    fn warning(kind: CheckKind, what: impl Into<String>) -> Self {
        Self::new(kind, Verdict::Warning, what, None)
    }

    fn failed(kind: CheckKind, what: impl Into<String>) -> Self {
        Self::new(kind, Verdict::Failed, what, None)
    }

    /// Makes a failed check of a text and its hint.
    fn from_text(kind: CheckKind, text: &Text) -> Self {
        let what = text.message(Language::English);
        Self::new(kind, Verdict::Failed, what, text.hint(Language::English))
    }

    fn with(self, todo: impl Into<String>) -> Self {
        Self {
            todo: Some(todo.into()),
            ..self
        }
    }

    /// Converts an error of discovery. Returns `None` if there is no server at the URL, which does
    /// not concern the sign-in.
    fn of_error(auth: &ServerAuth, error: &SignInError) -> Option<Self> {
        Some(match (error, auth) {
            (SignInError::WrongPath { .. } | SignInError::NoSuchServer { .. }, _) => return None,
            (SignInError::NotProtected { .. }, _) => {
                Self::ok(CheckKind::Discovery, "it asks for no sign-in")
            }
            // Using the server shows what it wants in place of a token.
            (SignInError::NoSignIn { status, .. }, ServerAuth::Discover) => {
                let what = match status {
                    Some(401) | None => format!("{NO_METADATA}, {NO_ENDPOINT}"),
                    Some(_) => NO_METADATA.to_owned(),
                };
                Self::ok(CheckKind::Discovery, what)
            }
            _ => Self::from_text(CheckKind::Discovery, &error.text()),
        })
    }
}
