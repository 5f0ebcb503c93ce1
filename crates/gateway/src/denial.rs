//! The error that a client gets instead of a code.

/// An error that the client gets by redirect (RFC 6749 §4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) error: &'static str,
    pub(crate) description: String,
}

impl Denial {
    pub(crate) fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self {
            error,
            description: description.into(),
        }
    }
}
