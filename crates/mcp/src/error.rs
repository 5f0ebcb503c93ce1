//! What can go wrong between us and a remote, named by what one does next.

use std::fmt;

use reach::{CertificateFlaw, NOT_TLS_HINT};

use crate::Message;
use crate::era::is_modern_error;

/// Why something sent did not get through. Its text is for people and holds no secret.
#[derive(Clone, Debug)]
pub enum UpstreamError {
    /// 401: sign in, or refresh.
    Unauthorized {
        /// The values of `WWW-Authenticate`, joined by `, `.
        challenge: Option<String>,
        /// What the remote says of it, on one short line without any header's value of ours.
        words: Option<String>,
    },
    /// 403: ask for more scopes, if the challenge names some.
    Forbidden {
        /// The values of `WWW-Authenticate`, joined by `, `.
        challenge: Option<String>,
        /// What the remote says of it, on one short line without any header's value of ours.
        words: Option<String>,
    },
    /// The remote no longer knows the session: initialize again, unless that was done already.
    SessionGone {
        /// The session that is gone.
        generation: Generation,
    },
    /// No connection, or it broke before an answer began.
    Unreachable {
        /// What the network says.
        reason: String,
        /// Whether the remote may have seen the message; `false` means that it has not.
        sent: bool,
    },
    /// The remote's certificate is not trusted; it has seen nothing.
    Untrusted {
        /// What is wrong with it.
        flaw: CertificateFlaw,
    },
    /// The URL is https, and the port does not speak TLS; the remote has seen nothing.
    NotTls,
    /// The answer is not MCP: a wrong URL, or a page of a proxy.
    NotMcp {
        /// The HTTP status.
        status: u16,
        /// What came instead: its content type and how it begins.
        what: String,
    },
    /// Any other refusal.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The JSON-RPC error in the body, if there is one; to be passed on unchanged.
        body: Option<Message>,
    },
    /// The stream ended before the answer, and could not be resumed. The remote may have done
    /// what it was asked.
    StreamEnded,
}

/// Which of the sessions that a connection had, one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// Returns the generation of the session that follows.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl UpstreamError {
    /// Whether the remote, or what stands before it, says that it is not ready just now.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Rejected {
                status: 408 | 429 | 500..,
                ..
            }
        )
    }

    /// Returns whether no MCP endpoint is at the path of the URL, as far as the status says.
    #[must_use]
    pub fn is_wrong_path(&self) -> bool {
        matches!(
            self,
            Self::Rejected {
                status: 404 | 405 | 410,
                ..
            }
        )
    }

    /// Whether the remote has provably not processed the message, so that it may be sent again.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized { .. }
                | Self::SessionGone { .. }
                | Self::Unreachable { sent: false, .. }
        )
    }

    /// Whether a server of one era refuses a request of the other one like this (2026-07-28,
    /// Streamable HTTP, "Backward Compatibility"): with a status, and no error of the modern era.
    pub(crate) fn is_of_other_era(&self) -> bool {
        match self {
            Self::Rejected { status, body } => {
                matches!(status, 400 | 404 | 405 | 406 | 415 | 422)
                    && !body.as_ref().is_some_and(is_modern_error)
            }
            _ => false,
        }
    }

    /// Whether a server of the modern era refuses a request of any like this.
    pub(crate) fn is_modern_refusal(&self) -> bool {
        match self {
            Self::Rejected { body, .. } => body.as_ref().is_some_and(is_modern_error),
            _ => false,
        }
    }

    /// Adds to the failure of a handshake that broke off what can be done. It may be repeated, other
    /// than a call; and many ports that speak TLS close plain connections without a word.
    pub(crate) fn with_handshake_hint(self, scheme: &str) -> Self {
        let hint = match scheme {
            "http" => {
                "check whether the server is running; if its port speaks TLS, write https:// in its URL"
            }
            _ => "check whether the server is running",
        };
        match self {
            Self::Unreachable { reason, sent: true } => Self::Unreachable {
                reason: format!("{reason}; hint: {hint}"),
                sent: true,
            },
            other => other,
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized { .. } => f.write_str("the server wants a sign-in (HTTP 401)"),
            Self::Forbidden { words, .. } => {
                f.write_str("the server does not allow this (HTTP 403)")?;
                words.iter().try_for_each(|words| write!(f, ": {words}"))
            }
            Self::SessionGone { .. } => f.write_str("the server has forgotten the session"),
            Self::Unreachable { reason, .. } => {
                write!(f, "the server cannot be reached: {reason}")
            }
            Self::Untrusted { flaw } => write!(
                f,
                "the server's certificate is not trusted: {flaw}; hint: {}",
                flaw.hint()
            ),
            Self::NotTls => write!(
                f,
                "the server does not speak TLS on that port; hint: {NOT_TLS_HINT}"
            ),
            Self::NotMcp { status, what } => {
                write!(f, "the answer is not MCP (HTTP {status}): {what}")
            }
            Self::Rejected { status, .. } if self.is_wrong_path() => {
                let what = match status {
                    405 => "takes no messages",
                    _ => "has nothing",
                };
                write!(f, "the server {what} at this path (HTTP {status})")
            }
            Self::Rejected { status, .. } => {
                write!(f, "the server refused the message (HTTP {status})")
            }
            Self::StreamEnded => f.write_str("the server ended the stream before the answer"),
        }
    }
}
