//! Finds out why a request got no response, from the errors of the HTTP and TLS libraries.
//!
//! Owns: the flaws of certificates, ports that do not speak TLS, and names that do not resolve.
//! Does not own: the clients, and the conversion to other errors.

mod certificate;
mod name;

use std::error::Error;
use std::io;

pub use certificate::CertificateFlaw;
pub use name::UnknownName;

/// Why a request did not reach its server.
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
    /// Finds the obstacle among the causes of an error of a request to `host`. Returns `None` for
    /// other errors.
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

/// Returns the causes of an error, the outermost first. Includes errors that an `io::Error` wraps,
/// which are not its source.
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
