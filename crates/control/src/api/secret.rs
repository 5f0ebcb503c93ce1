//! Secrets that a user enters and that are not shown again.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Returns the secret text, to store it.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        /// For comparing requests, not for authentication: it does not take constant time.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.expose() == other.expose()
            }
        }

        impl Eq for $name {}

        /// For the control socket.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.expose())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

secret! {
    /// A client secret. It is only serialised for the control socket.
    ClientSecret
}
secret! {
    /// A secret header value. It is only serialised for the control socket.
    HeaderSecret
}
secret! {
    /// The callback URL from a browser, which contains an authorization code. It is only serialised
    /// for the control socket.
    BrowserAnswer
}

#[cfg(test)]
mod tests {
    use crate::api::{Request, ServerModeForm};

    #[test]
    fn secret_is_serialised_but_not_in_debug_output() {
        let request = Request::ConfigureServerMode {
            form: ServerModeForm {
                port: 4180,
                authority: "https://login.microsoftonline.com/t/v2.0".to_owned(),
                client_id: "id".to_owned(),
                client_secret: "hush".into(),
                server: "snippets".to_owned(),
                server_url: "http://127.0.0.1:9/mcp".to_owned(),
            },
        };
        let shown = format!("{request:?}");
        assert!(
            shown.contains("snippets") && !shown.contains("hush"),
            "{shown}"
        );
        let sent = serde_json::to_string(&request).unwrap();
        assert!(sent.contains(r#""clientSecret":"hush""#), "{sent}");
        assert_eq!(serde_json::from_str::<Request>(&sent).unwrap(), request);
    }
}
