//! The client metadata document.
//!
//! Owns: which URL can be a client ID. Does not own: the document at the URL.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// The URL of a client ID metadata document. The client ID is exactly this text
/// (draft-ietf-oauth-client-id-metadata-document, section 3).
///
/// It is https, has a path without `.` and `..`, and has no fragment and no user name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^https://[^/?#@]+/[^#]+$"))]
pub struct ClientMetadataUrl(String);

/// Why a text is not a [`ClientMetadataUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be a client ID; hint: use the https URL of a document, as in https://example.com/client.json"
)]
pub struct ClientMetadataUrlError(String);

impl ClientMetadataUrl {
    /// Returns the original text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientMetadataUrl {
    type Err = ClientMetadataUrlError;

    fn from_str(text: &str) -> Result<Self, ClientMetadataUrlError> {
        // If the parser would normalise the text, an authorization server would see another client ID.
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
    fn client_metadata_url_requires_https_and_path() {
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
