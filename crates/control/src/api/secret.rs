//! What a person types into the window and nobody may read again.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A client's secret at an authority. It shows itself to nobody but the control socket, which
/// brings it to the bridge.
#[derive(Clone)]
pub struct ClientSecret(SecretString);

impl ClientSecret {
    /// The text itself, for the file that only the user can read.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for ClientSecret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for ClientSecret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// Whether two requests are the same. Nobody is let in by that.
impl PartialEq for ClientSecret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for ClientSecret {}

/// For the control socket.
impl Serialize for ClientSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for ClientSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
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
