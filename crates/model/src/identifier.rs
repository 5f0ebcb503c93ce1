//! Identifiers that must match byte for byte.
//!
//! They look like URLs but are not parsed as URLs: a URL type would add a trailing slash and break the
//! match (RFC 8414 section 3.3, RFC 8707 section 2).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Creates an identifier from the unchanged text.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Returns the unchanged text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque! {
    /// An authorization server's identifier (RFC 8414 section 2, RFC 9207).
    Issuer
}
opaque! {
    /// A protected resource's identifier (RFC 8707, RFC 9728), or an Entra App ID URI.
    Resource
}
