//! Reading texts that may be large.
//!
//! Owns: that a pass over more than [`threads::MAX_PASS`] bytes holds up no other session. Does not
//! own: what is read.

use memchr::memmem;
use serde::Deserialize;

/// Reads a value from a JSON text, as [`serde_json::from_str`] does.
///
/// # Errors
///
/// If the text is not such a value.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    threads::pass(text.len(), || serde_json::from_str(text))
}

/// Returns whether `part` stands somewhere in the text.
#[must_use]
pub fn contains(text: &[u8], part: &[u8]) -> bool {
    threads::pass(text.len(), || memmem::find(text, part).is_some())
}
