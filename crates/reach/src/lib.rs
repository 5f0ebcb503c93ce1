//! Reads why a request got no answer from the errors of the HTTP and TLS libraries.
//!
//! Owns: the flaws of certificates, ports that do not speak TLS, names that do not resolve, and
//! what the user can do about each. Does not own: the clients, and which error a failure becomes.

mod certificate;
mod name;

use std::error::Error;
use std::io;

pub use certificate::CertificateFlaw;
pub use name::UnknownName;

/// Says what to do about a port that does not speak TLS, where the URL is https.
pub const NOT_TLS_HINT: &str = "check the port; if the server is meant to speak plain HTTP, write http:// in its URL; elsewhere than on this machine everybody on the way can read and change what is sent then, and its entry in config.toml needs `allow_http = true`";

/// What kept a request from its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The server's certificate is not trusted.
    Certificate(CertificateFlaw),
    /// The server answered the TLS handshake with something that is not TLS.
    NotTls,
    /// The server's name has no address.
    Name(UnknownName),
}

impl Obstacle {
    /// Finds the obstacle among the causes of the error of a request to `host`. Returns `None` for
    /// every other error.
    #[must_use]
    pub fn find(error: &(dyn Error + 'static), host: &str) -> Option<Self> {
        if let Some(error) = cause::<rustls::Error>(error) {
            return match error {
                rustls::Error::InvalidCertificate(flaw) => Some(Self::Certificate(flaw.into())),
                rustls::Error::InvalidMessage(_) => Some(Self::NotTls),
                _ => None,
            };
        }
        UnknownName::find(error, host).map(Self::Name)
    }
}

/// Returns the causes of an error, outermost first. What an `io::Error` wraps is no source of it.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
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

/// Returns the outermost cause of this type.
#[must_use]
pub fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Returns the text of the innermost cause.
#[must_use]
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}
