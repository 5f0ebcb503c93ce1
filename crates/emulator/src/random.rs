//! Random values from the system's generator, and digests.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Returns `N` random bytes.
///
/// # Panics
/// If the system's generator fails. Nothing can be signed or sealed then.
#[expect(clippy::expect_used, reason = "nothing is safe without random values")]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random generator works");
    bytes
}

/// Returns `N` random bytes as base64url.
pub(crate) fn token<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
}

/// Returns a random integer in `[low, low + span)`.
pub(crate) fn seconds(low: u64, span: u64) -> u64 {
    low + u64::from_be_bytes(bytes()) % span
}

/// Returns the SHA-256 digest as base64url: an `S256` challenge, a thumbprint or a pairwise
/// subject.
pub(crate) fn sha256(input: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(digest(input))
}

/// Returns the SHA-256 digest, 32 bytes.
pub(crate) fn digest(input: impl AsRef<[u8]>) -> Vec<u8> {
    digest::digest(&digest::SHA256, input.as_ref())
        .as_ref()
        .to_vec()
}
