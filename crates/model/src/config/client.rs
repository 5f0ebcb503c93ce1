//! What a client is known by that was made known to an authorization server beforehand.
//!
//! Owns: which URL can be a client id, and how a secret is named that lies elsewhere.
//! Does not own: the secret, and the document at the URL.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::SecretName;

/// `{ keychain = "NAME" }`: a secret that `postern secrets set NAME` has stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Its name.
    pub keychain: SecretName,
}

/// The URL of a client ID metadata document, which is the client id itself
/// (draft-ietf-oauth-client-id-metadata-document, section 3), byte for byte.
///
/// It is https, has a path without `.` and `..`, and neither a fragment nor a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^https://[^/?#@]+/[^#]+$"))]
pub struct ClientMetadataUrl(String);

/// Why a text is no [`ClientMetadataUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be a client id; hint: use the https address of a document, as in https://example.com/client.json"
)]
pub struct ClientMetadataUrlError(String);

impl ClientMetadataUrl {
    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientMetadataUrl {
    type Err = ClientMetadataUrlError;

    fn from_str(text: &str) -> Result<Self, ClientMetadataUrlError> {
        // A text that the parser would write otherwise is another text to an authorization server.
        let fits = Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https"
                && url.as_str() == text
                && url.path() != "/"
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        match fits {
            true => Ok(Self(text.to_owned())),
            false => Err(ClientMetadataUrlError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ClientMetadataUrl {
    type Error = ClientMetadataUrlError;

    fn try_from(text: String) -> Result<Self, ClientMetadataUrlError> {
        text.parse()
    }
}

impl From<ClientMetadataUrl> for String {
    fn from(url: ClientMetadataUrl) -> Self {
        url.0
    }
}

impl fmt::Display for ClientMetadataUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ClientMetadataUrl;

    #[test]
    fn only_the_address_of_a_document_is_a_client_id() {
        for good in [
            "https://example.com/client.json",
            "https://example.com:8443/a/b?c=d",
        ] {
            let url: ClientMetadataUrl = good.parse().unwrap();
            assert_eq!(url.as_str(), good);
        }
        for bad in [
            "http://example.com/client.json",
            "https://example.com",
            "https://example.com/",
            "https://example.com/client.json#part",
            "https://someone@example.com/client.json",
            "https://:secret@example.com/client.json",
            "https://example.com/a/../client.json",
            "https://EXAMPLE.com/client.json",
            "https://example.com:443/client.json",
            "client",
            "",
        ] {
            let refused = bad.parse::<ClientMetadataUrl>().unwrap_err();
            assert!(refused.to_string().contains("; hint: "), "{bad}");
        }
    }
}
