//! What a person types into the window and nobody may read again.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// The text itself, for where it is kept.
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

        /// Whether two requests are the same. Nobody is let in by that.
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
    /// A client's secret at an authority. It shows itself to nobody but the control socket, which
    /// brings it to the bridge.
    ClientSecret
}
secret! {
    /// The value of a header that nobody else may know. As [`ClientSecret`], it shows itself to
    /// nobody but the control socket.
    HeaderSecret
}
secret! {
    /// The address that a browser ended on, which carries a code. As [`ClientSecret`], it shows
    /// itself to nobody but the control socket.
    BrowserAnswer
}

#[cfg(test)]
mod tests {
    use crate::api::{Request, ServerModeForm};

    #[test]
    fn a_request_with_a_secret_carries_it_and_does_not_show_it() {
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
