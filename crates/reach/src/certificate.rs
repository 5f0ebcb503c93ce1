//! What is wrong with a server's certificate, and what the user can do.

use std::fmt;

use rustls::CertificateError;

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// The hint for a certificate authority that is not trusted.
const TRUST: &str = "if it is your organisation's, install its certificate in the system, or name its PEM file in `extra_ca_files` under [bridge] of config.toml, then `postern bridge --replace --detach`";

/// Why a certificate is not trusted. Its text has no hint.
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

impl CertificateFlaw {
    /// Returns what the user or the server's administrators can do. Mentions `extra_ca_files` only
    /// if it helps.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownIssuer | Self::OtherKey => TRUST.to_owned(),
            Self::AuthorityAsServer => "issue the server a certificate with basicConstraints CA:FALSE and its host in subjectAltName (`openssl req -x509` takes `-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:HOST`), or one that is signed by a certificate authority whose file goes into `extra_ca_files` under [bridge] of config.toml".to_owned(),
            Self::Version1 => "issue the server a certificate of version 3 with its host in subjectAltName (`openssl x509 -req` takes `-extfile`)".to_owned(),
            Self::WrongName { asked, names } if names.is_empty() => {
                format!("issue the server a certificate with `{asked}` in subjectAltName")
            }
            Self::WrongName { asked, .. } => format!(
                "use a name in the URL that the certificate is for, or issue the server one for `{asked}`"
            ),
            Self::Expired { .. } => {
                "check this computer's clock; if it is right, the server's administrators have to renew the certificate".to_owned()
            }
            Self::NotYetValid => "check this computer's clock".to_owned(),
            Self::Other(_) => "tell the server's administrators".to_owned(),
        }
    }
}

impl fmt::Display for CertificateFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => {
                f.write_str("this computer does not trust the certificate authority that issued it")
            }
            Self::OtherKey => f.write_str(
                "this computer trusts a certificate authority with the name of its issuer, but with another key",
            ),
            Self::AuthorityAsServer => f.write_str(
                "it is the certificate of a certificate authority (CA:TRUE), as `openssl req -x509` makes it, and a server must not use that as its own",
            ),
            Self::Version1 => f.write_str("it is of X.509 version 1, which names no host"),
            Self::WrongName { names, .. } if names.is_empty() => {
                f.write_str("it names no host (no subjectAltName)")
            }
            Self::WrongName { asked, names } => {
                write!(f, "it is for `{}`, not for `{asked}`", names.join("`, `"))
            }
            Self::Expired { days: None } => f.write_str("it has expired"),
            Self::Expired { days: Some(days) } => write!(f, "it expired {days} days ago"),
            Self::NotYetValid => f.write_str("it is not valid yet"),
            Self::Other(words) => f.write_str(words),
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
