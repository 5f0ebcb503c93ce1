//! What stands between a server and a sign-in to it: one look at everything, with what to change
//! where.
//!
//! Owns: the findings and their words. Does not own: finding out (`discovery`, `sign_in`), and
//! whether the server itself speaks MCP.
//! Invariant: it changes nothing. No browser, no registration, no token.

mod application;
mod document;
mod network;
mod user;

use model::Issuer;
use model::config::ServerAuth;

use crate::discovery::AuthorizationServer;
use crate::error::SignInError;
use crate::identity::{Program, Target};
use crate::token::source::Source;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub aspect: Aspect,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, in words.
    pub what: String,
    /// What to change where, or what has to be as it is.
    pub todo: Option<String>,
}

/// What a [`Finding`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Which kind of server it is, and who issues its tokens.
    Discovery,
    /// How this program is known there.
    Registration,
    /// Where the browser comes back to.
    Redirect,
    /// Which resource its tokens are for.
    Access,
    /// This machine's clock against that of the authorization server.
    Clock,
    /// Whether the server and its authorization server answer at all.
    Reach,
    /// The proxy on the way.
    Proxy,
    /// Who vouches for the server and its authorization server.
    Certificate,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It works, or could not be judged; somebody should know.
    Doubtful,
    /// It does not work.
    Broken,
}

/// What was looked for at a server that names no way to sign in, and at one that answers 401 besides.
const NO_METADATA: &str = "it names no way to sign in: there is no protected resource metadata (RFC 9728) and no authorization server metadata (RFC 8414)";
const NO_ENDPOINT: &str = "nor is there an /authorize (MCP 2025-03-26)";

/// Who issues the tokens.
struct Authority {
    issuer: Issuer,
    server: AuthorizationServer,
}

/// See [`Identity::examine`](crate::Identity::examine).
pub(crate) async fn examine(
    source: &Source,
    program: &Program,
    target: &Target,
    challenge: Option<&str>,
) -> Vec<Finding> {
    if target.url.is_exposed() {
        let what = "not looked for: nobody signs in to a server that is reached by plain http";
        return vec![
            Finding::fine(Aspect::Discovery, what),
            network::proxy(source, target.url.url(), None),
        ];
    }
    let (mut findings, authority) = match &target.auth {
        ServerAuth::None => {
            let what = "nobody signs in to it, as its configuration says";
            (vec![Finding::fine(Aspect::Discovery, what)], None)
        }
        ServerAuth::ClientCredentials(config) => {
            application::findings(source, target, config).await
        }
        ServerAuth::Discover | ServerAuth::Client { .. } | ServerAuth::Entra { .. } => {
            user::findings(source, program, target, challenge).await
        }
    };
    findings.extend(network::findings(source, target, authority.as_ref()).await);
    findings
}

impl Finding {
    fn new(
        aspect: Aspect,
        verdict: Verdict,
        what: impl Into<String>,
        todo: Option<String>,
    ) -> Self {
        Self {
            aspect,
            verdict,
            what: what.into(),
            todo,
        }
    }

    fn fine(aspect: Aspect, what: impl Into<String>) -> Self {
        Self::new(aspect, Verdict::Fine, what, None)
    }

    fn doubtful(aspect: Aspect, what: impl Into<String>) -> Self {
        Self::new(aspect, Verdict::Doubtful, what, None)
    }

    fn broken(aspect: Aspect, what: impl Into<String>) -> Self {
        Self::new(aspect, Verdict::Broken, what, None)
    }

    fn with(self, todo: impl Into<String>) -> Self {
        Self {
            todo: Some(todo.into()),
            ..self
        }
    }

    /// What stands in the way of finding out. Returns `None` if there is no server at the URL, which
    /// is not a matter of signing in.
    fn of_error(auth: &ServerAuth, error: &SignInError) -> Option<Self> {
        let text = error.to_string();
        Some(match (error, auth) {
            (SignInError::WrongPath { .. } | SignInError::NoSuchServer { .. }, _) => return None,
            (SignInError::NotProtected { .. }, _) => {
                Self::fine(Aspect::Discovery, "it asks for no sign-in")
            }
            // What it wants in place of a token is seen where it is used.
            (SignInError::NoSignIn { status, .. }, ServerAuth::Discover) => {
                let what = match status {
                    Some(401) | None => format!("{NO_METADATA}, {NO_ENDPOINT}"),
                    Some(_) => NO_METADATA.to_owned(),
                };
                Self::fine(Aspect::Discovery, what)
            }
            _ => match text.split_once("; hint: ") {
                Some((what, todo)) => Self::broken(Aspect::Discovery, what).with(todo),
                None => Self::broken(Aspect::Discovery, text),
            },
        })
    }
}
