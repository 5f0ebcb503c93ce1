//! Random values, from the operating system's generator.

use super::base64url;

/// Returns 256 random bits as 43 characters of base64url, enough for a code, a token, a state, a nonce
/// or a PKCE verifier.
pub(crate) fn token() -> String {
    base64url(&bytes::<32>())
}

/// Returns an identifier that is not a secret.
pub(crate) fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// # Panics
/// If the operating system has no randomness, when nothing here could be safe.
pub(super) fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).expect("the operating system provides randomness");
    out
}
