//! Random secrets.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

/// Returns 256 random bits as 43 URL-safe characters.
///
/// # Errors
/// If the system has no random numbers.
pub(crate) fn secret() -> io::Result<SecretString> {
    let mut bytes = [0; 32];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system's random number generator failed"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}
