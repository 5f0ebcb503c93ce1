//! Other systems are not asked.

/// See [`Lookup`](super::Lookup).
pub(super) const LOOKUP: Option<super::Lookup> = None;
