//! What is wrong with a server's certificate, and what the user can do.

use rustls::CertificateError;
use texts::{Describe, Text, text};

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateFlaw {
    /// This computer trusts none of its issuers.
    UnknownIssuer,
    /// This computer trusts an authority with the issuer's name, but with another key.
    OtherKey,
    /// The server uses the certificate of a certificate authority (`CA:TRUE`) as its own.
    AuthorityAsServer,
    /// It has no extensions, and so no names (X.509 version 1).
    Version1,
    /// It is for other hosts.
    WrongName {
        /// The host of the request.
        asked: String,
        /// The names and addresses of the certificate, which may be none.
        names: Vec<String>,
    },
    /// It has expired.
    Expired {
        /// The number of days since then, if it is known.
        days: Option<u64>,
    },
    /// It will be valid later.
    NotYetValid,
    /// Another error of the TLS library.
    Other(String),
}

impl From<&CertificateError> for CertificateFlaw {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::BadSignature => Self::OtherKey,
            CertificateError::Expired => Self::Expired { days: None },
            CertificateError::ExpiredContext { time, not_after } => {
                let since = time.as_secs().saturating_sub(not_after.as_secs());
                Self::Expired {
                    days: Some(since / DAY),
                }
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => Self::WrongName {
                asked: expected.to_str().into_owned(),
                names: presented.iter().filter_map(|name| host_in(name)).collect(),
            },
            CertificateError::Other(error) => match error.0.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => Self::AuthorityAsServer,
                Some(webpki::Error::UnsupportedCertVersion) => Self::Version1,
                Some(other) => Self::Other(other.to_string()),
                None => Self::Other(error.to_string()),
            },
            other => Self::Other(other.to_string()),
        }
    }
}

impl Describe for CertificateFlaw {
    fn text(&self) -> Text {
        match self {
            Self::UnknownIssuer => text!(CertificateUnknownIssuer),
            Self::OtherKey => text!(CertificateOtherKey),
            Self::AuthorityAsServer => text!(CertificateAuthorityAsServer),
            Self::Version1 => text!(CertificateVersion1),
            Self::WrongName { asked, names } if names.is_empty() => {
                text!(CertificateNamesNoHost { host: asked })
            }
            Self::WrongName { asked, names } => {
                let names = format!("`{}`", names.join("`, `"));
                text!(CertificateWrongName { host: asked, names })
            }
            Self::Expired { days: None } => text!(CertificateExpired),
            Self::Expired { days: Some(days) } => text!(CertificateExpiredDaysAgo { days: *days }),
            Self::NotYetValid => text!(CertificateNotYetValid),
            Self::Other(reason) => text!(CertificateOther { reason }),
        }
    }
}

/// Returns the host of a name in webpki's syntax, as in `DnsName("mcp.example")`.
fn host_in(name: &str) -> Option<String> {
    let (kind, rest) = name.split_once('(')?;
    let is_host = matches!(kind, "DnsName" | "IpAddress");
    let host = rest.trim_end_matches(')').trim_matches('"');
    is_host.then(|| host.to_owned())
}
