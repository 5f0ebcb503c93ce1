//! What can go wrong between us and a remote, named by what one does next.

use std::error::Error;
use std::{fmt, io};

use hyper_util::client::legacy;
use rustls::CertificateError;

use super::Generation;
use crate::Message;
use crate::era::is_modern_error;

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// Why something sent did not get through. Its text is for people and holds no secret.
#[derive(Clone, Debug)]
pub enum Failure {
    /// 401: sign in, or refresh.
    Unauthorized {
        /// The values of `WWW-Authenticate`, joined by `, `.
        challenge: Option<String>,
    },
    /// 403: ask for more scopes, if the challenge names some.
    Forbidden {
        /// The values of `WWW-Authenticate`, joined by `, `.
        challenge: Option<String>,
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
        reason: String,
    },
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

impl Failure {
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

    /// No response came.
    pub(super) fn without_response(error: &legacy::Error) -> Self {
        if let Some(tls) = find::<rustls::Error>(error)
            && let rustls::Error::InvalidCertificate(certificate) = tls
        {
            let reason = untrusted(certificate);
            return Self::Untrusted { reason };
        }
        let unsent = error.is_connect()
            || find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled);
        Self::Unreachable {
            reason: innermost(error),
            sent: !unsent,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized { .. } => f.write_str("the server wants a sign-in (HTTP 401)"),
            Self::Forbidden { .. } => f.write_str("the server does not allow this (HTTP 403)"),
            Self::SessionGone { .. } => f.write_str("the server has forgotten the session"),
            Self::Unreachable { reason, .. } => {
                write!(f, "the server cannot be reached: {reason}")
            }
            Self::Untrusted { reason } => {
                write!(f, "the server's certificate is not trusted: {reason}")
            }
            Self::NotMcp { status, what } => {
                write!(f, "the answer is not MCP (HTTP {status}): {what}")
            }
            Self::Rejected { status, .. } => {
                write!(f, "the server refused the message (HTTP {status})")
            }
            Self::StreamEnded => f.write_str("the server ended the stream before the answer"),
        }
    }
}

/// What is wrong with a certificate, and who can mend it.
fn untrusted(certificate: &CertificateError) -> String {
    match certificate {
        CertificateError::UnknownIssuer => {
            "it was issued by nobody this computer trusts; hint: where a company inspects its \
             traffic, add its certificate authority to the system or to the settings"
                .to_owned()
        }
        CertificateError::Expired => "it has expired; hint: check this computer's clock".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "it expired {} days ago; hint: check this computer's clock",
            time.as_secs().saturating_sub(not_after.as_secs()) / DAY
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; hint: check this computer's clock".to_owned()
        }
        other => other.to_string(),
    }
}

/// The causes of an error, outermost first. What an `io::Error` wraps is no source of it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}
