//! Digests of several values.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Returns the SHA-256 digest of `parts` as 43 URL-safe characters. The length of each part counts
/// too, so no other list of parts has the same digest.
pub(crate) fn of_parts(parts: &[&[u8]]) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &bytes))
}
