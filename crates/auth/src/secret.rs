//! Secrets, one type per meaning.
//!
//! Invariants: no type has `Display`, `Serialize` or a `Debug` that shows the text. The text is
//! wiped on drop. Only [`expose`](AccessToken::expose) returns it, and only code that writes a
//! secret to the wire or to the vault calls that.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $name(SecretString);

        impl $name {
            pub(crate) fn new(text: impl Into<String>) -> Self {
                Self(SecretString::from(text.into()))
            }

            /// Returns the text, for the wire and for the vault.
            pub(crate) fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

secret! {
    /// An access token (RFC 6750).
    AccessToken
}
secret! {
    /// A refresh token (RFC 6749 §6).
    RefreshToken
}
secret! {
    /// The secret of a client (RFC 7591).
    ClientSecret
}
secret! {
    /// An authorization code (RFC 6749 §4.1.2).
    Code
}
secret! {
    /// A device code (RFC 8628 §3.2).
    DeviceCode
}
secret! {
    /// A PKCE code verifier (RFC 7636).
    Verifier
}
secret! {
    /// The `state` of one sign-in.
    State
}
secret! {
    /// The `nonce` of one sign-in (OpenID Connect Core 1.0).
    Nonce
}
secret! {
    /// An ID token (OpenID Connect Core 1.0).
    IdToken
}
secret! {
    /// A client assertion (RFC 7521).
    Assertion
}
secret! {
    /// A secret that the user stored by name, for use as a header value.
    StoredSecret
}

macro_rules! compared {
    ($name:ident) => {
        impl $name {
            /// Compares in constant time.
            pub(crate) fn matches(&self, other: &str) -> bool {
                self.expose().as_bytes().ct_eq(other.as_bytes()).into()
            }
        }
    };
}

compared!(State);
compared!(Nonce);

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn secret_has_no_debug_text_and_compares_whole() {
        let state = State::new("s3cret");
        assert!(!format!("{state:?}").contains("s3cret"));
        assert!(state.matches("s3cret"));
        assert!(!state.matches("s3cre"));
        assert!(!state.matches(""));
    }
}
