//! Errors between the bridge and a server, named by what the caller does next.
//!
//! Owns: the errors, their texts, and the generation of the session that an error is about. Does
//! not own: which response or network error means which of them (`upstream`).

use std::fmt;

use reach::CertificateFlaw;
use texts::{Describe, text};

use crate::Message;
use crate::era::is_modern_error;

/// Why a message did not get through. Its text is for users and holds no secret.
#[derive(Clone, Debug)]
pub enum UpstreamError {
    /// HTTP 401: sign in, or refresh.
    Unauthorized {
        /// The values of `WWW-Authenticate`, joined by `, `.
        challenge: Option<String>,
        /// What the server says about it, on one short line without any header value that was sent.
        words: Option<String>,
    },
    /// HTTP 403: request more scopes, if the challenge names some.
    Forbidden {
        /// The values of `WWW-Authenticate`, joined by `, `.
        challenge: Option<String>,
        /// What the server says about it, on one short line without any header value that was sent.
        words: Option<String>,
    },
    /// The server no longer knows the session: initialize again, unless that was already done.
    SessionGone {
        /// The session that is gone.
        generation: Generation,
    },
    /// No connection, or the connection broke before a response began.
    Unreachable {
        /// The network error.
        reason: String,
        /// True if the server may have received the message. `false` means that it has not.
        sent: bool,
    },
    /// The server's certificate is not trusted. The server has received nothing.
    Untrusted {
        /// What is wrong with the certificate.
        flaw: CertificateFlaw,
    },
    /// The URL is https, but the port does not speak TLS. The server has received nothing.
    NotTls,
    /// The response is not MCP: the URL is wrong, or a proxy sent a page.
    NotMcp {
        /// The HTTP status.
        status: u16,
        /// What came instead: the content type and the beginning of the body.
        what: String,
    },
    /// Any other error status.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The JSON-RPC error in the body, if any. It is to be passed on unchanged.
        body: Option<Message>,
    },
    /// The stream ended before the response and could not be resumed. The server may have processed
    /// the request.
    StreamEnded,
}

/// Numbers the sessions that one connection has one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// Returns the generation of the next session.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl UpstreamError {
    /// Returns true if the server, or a proxy in front of it, says that it is temporarily
    /// unavailable.
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

    /// Returns true if the status says that the URL's path has no MCP endpoint.
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

    /// Returns true if the server has provably not processed the message, so that it may be sent
    /// again.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized { .. }
                | Self::SessionGone { .. }
                | Self::Unreachable { sent: false, .. }
        )
    }

    /// Returns true if a server of one era rejects a request of the other era like this: with such
    /// a status, and without an error of the modern era (2026-07-28, Streamable HTTP, "Backward
    /// Compatibility").
    pub(crate) fn is_of_other_era(&self) -> bool {
        match self {
            Self::Rejected { status, body } => {
                matches!(status, 400 | 404 | 405 | 406 | 415 | 422)
                    && !body.as_ref().is_some_and(is_modern_error)
            }
            _ => false,
        }
    }

    /// Returns true if only a server of the modern era rejects a request like this.
    pub(crate) fn is_modern_refusal(&self) -> bool {
        match self {
            Self::Rejected { body, .. } => body.as_ref().is_some_and(is_modern_error),
            _ => false,
        }
    }

    /// Adds a hint to the error of a handshake that broke off. A handshake may be repeated, unlike
    /// a call. Many TLS ports close plain connections without an error.
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
            Self::Untrusted { flaw } => {
                let text = text!(ServerCertificateNotTrusted {
                    reason: flaw.text()
                });
                text.fmt(f)
            }
            Self::NotTls => text!(TheServerWithoutTls).fmt(f),
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
