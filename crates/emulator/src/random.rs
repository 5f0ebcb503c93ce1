//! Chance, from the system's generator, and digests.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` random bytes.
///
/// # Panics
/// If the system has no entropy: nothing can be signed or sealed then.
#[expect(clippy::expect_used, reason = "without entropy nothing may go on")]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random generator works");
    bytes
}

/// `N` random bytes as base64url.
pub(crate) fn token<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
}

/// A whole number of seconds in `[low, low + span)`.
pub(crate) fn seconds(low: u64, span: u64) -> u64 {
    low + u64::from_be_bytes(bytes()) % span
}

/// SHA-256 as base64url: a `S256` challenge, a thumbprint, a pairwise subject.
pub(crate) fn sha256(input: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(digest(input))
}

/// SHA-256, 32 bytes.
pub(crate) fn digest(input: impl AsRef<[u8]>) -> Vec<u8> {
    digest::digest(&digest::SHA256, input.as_ref())
        .as_ref()
        .to_vec()
}
