//! Elsewhere the system is not asked.

/// See [`Ask`](super::Ask).
pub(super) const ASK: Option<super::Ask> = None;
