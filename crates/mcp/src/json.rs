//! Reading JSON texts that may be large.
//!
//! Owns: that reading more than [`threads::MAX_PASS`] bytes blocks no other session. Does not own:
//! what is read.

use memchr::memmem;
use serde::Deserialize;

/// Parses a value from JSON text, as [`serde_json::from_str`] does.
///
/// # Errors
///
/// If the text is not such a value.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    threads::pass(text.len(), || serde_json::from_str(text))
}

/// Returns true if the text contains `part`.
#[must_use]
pub fn contains(text: &[u8], part: &[u8]) -> bool {
    threads::pass(text.len(), || memmem::find(text, part).is_some())
}
