//! Secrets, one type per meaning.
//!
//! Invariants: none of them has `Display`, `Serialize` or a `Debug` that shows anything; the
//! text is wiped when dropped; it is reached through [`expose`](AccessToken::expose) alone,
//! which is called where a secret goes on the wire or into the vault and nowhere else.

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

            /// The text itself, for the wire and for the vault.
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
    /// What opens the server (RFC 6750).
    AccessToken
}
secret! {
    /// What a new access token is got with (RFC 6749 section 6).
    RefreshToken
}
secret! {
    /// A client's secret, where a registration hands one out (RFC 7591).
    ClientSecret
}
secret! {
    /// The authorization code (RFC 6749 section 4.1.2).
    Code
}
secret! {
    /// The device code, which a user code belongs to (RFC 8628 section 3.2).
    DeviceCode
}
secret! {
    /// The PKCE code verifier (RFC 7636).
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
    /// What proves a client (RFC 7521).
    Assertion
}
secret! {
    /// What a person stored by name, to be the value of a header.
    StoredSecret
}

macro_rules! compared {
    ($name:ident) => {
        impl $name {
            /// Compares without telling by its duration where a difference lies.
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
    fn a_secret_shows_nothing_and_compares_whole() {
        let state = State::new("s3cret");
        assert!(!format!("{state:?}").contains("s3cret"));
        assert!(state.matches("s3cret"));
        assert!(!state.matches("s3cre"));
        assert!(!state.matches(""));
    }
}
