//! Access tokens as requests carry them: the header, and a number that tells tokens apart.

use std::sync::atomic::{AtomicU64, Ordering};

use ::http::HeaderValue;

use super::grant::Tokens;

/// The number of the next access token that this process gets.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Returns a unique number for an access token.
pub(crate) fn next_serial() -> u64 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// Returns the value of the `Authorization` header, marked sensitive.
pub(crate) fn header(tokens: &Tokens) -> HeaderValue {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", tokens.access.expose()))
        // The token endpoint accepts no other characters, and the vault stores what came from
        // there.
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}
