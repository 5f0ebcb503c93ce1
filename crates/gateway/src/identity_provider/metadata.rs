//! Entra's OpenID Connect discovery document, fetched when it is first needed and cached for a day.

use std::sync::Arc;

use model::{Clock, EndpointUrl};
use serde::Deserialize;

use super::error::IdentityProviderError;
use super::fetched::{Fetched, New};
use super::http::Http;
use crate::storage::Seconds;

/// How long a document is fresh.
const FRESH: Seconds = 24 * 60 * 60;

/// The parts of the document that the gateway uses.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    /// The issuer. That of a shared authority contains `{tenantid}`.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: EndpointUrl,
    pub(super) token_endpoint: EndpointUrl,
    pub(super) jwks_uri: EndpointUrl,
}

pub(super) struct MetadataCache {
    authority: String,
    kept: Fetched<Metadata>,
}

impl MetadataCache {
    pub(super) fn new(authority: &str) -> Self {
        Self {
            authority: authority.trim_end_matches('/').to_owned(),
            kept: Fetched::new("metadata of the identity provider"),
        }
    }

    /// Returns the document, or an old one if a new one cannot be fetched.
    ///
    /// # Errors
    ///
    /// If there is no document, and none can be fetched.
    pub(super) async fn current(
        &self,
        http: &Http,
        clock: &Clock,
    ) -> Result<Arc<Metadata>, IdentityProviderError> {
        let fetch = || fetch(http.clone(), self.authority.clone(), clock.clone());
        self.kept.get(clock, fetch).await
    }
}

async fn fetch(
    http: Http,
    authority: String,
    clock: Clock,
) -> Result<New<Metadata>, IdentityProviderError> {
    let url = format!("{authority}/.well-known/openid-configuration");
    let metadata: Metadata = http.json(&url).await?;
    if !belongs(&metadata.issuer, &authority) {
        return Err(IdentityProviderError::Misconfigured(
            "its issuer is not the authority that was configured".to_owned(),
        ));
    }
    Ok(New {
        value: metadata,
        fresh_until: clock.unix() + FRESH,
        good_until: Seconds::MAX,
    })
}

/// Returns true if a document with `issuer` may be used for `authority`. Both must be equal except for
/// the tenant, which Entra writes as an id or as `{tenantid}`, regardless of the request.
fn belongs(issuer: &str, authority: &str) -> bool {
    fn around_tenant(text: &str) -> Option<(&str, &str)> {
        let host = text.find("://")? + 3;
        let start = host + text[host..].find('/')? + 1;
        let end = text[start..]
            .find('/')
            .map_or(text.len(), |length| start + length);
        Some((&text[..start], &text[end..]))
    }
    issuer == authority
        || matches!((around_tenant(issuer), around_tenant(authority)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn metadata_issuer_must_match_authority() {
        let authority = "https://login.microsoftonline.com/organizations/v2.0";
        assert!(belongs(authority, authority));
        assert!(belongs(
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            authority
        ));
        assert!(belongs(
            "https://login.microsoftonline.com/1-2/v2.0",
            authority
        ));
        for other in [
            "https://login.evil.example/{tenantid}/v2.0",
            "https://login.microsoftonline.com/{tenantid}/v3.0",
            "https://login.microsoftonline.com/",
            "",
        ] {
            assert!(!belongs(other, authority), "{other}");
        }
    }
}
