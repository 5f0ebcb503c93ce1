//! Entra's OpenID Connect discovery document, fetched when first needed and kept for a day.

use std::sync::Arc;

use model::{Clock, EndpointUrl};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::error::UpstreamError;
use super::http::Http;
use crate::storage::Seconds;

/// How long a document is used before a new one is asked for.
const FRESH: Seconds = 24 * 60 * 60;
/// How long a failure is not repeated while there is an old document.
const RETRY: Seconds = 60;
/// The same while there is none: whoever asks then gets the failure at once.
const PAUSE: Seconds = 10;

/// What of the document is used.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    /// The issuer; at a shared authority with `{tenantid}` in it.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: EndpointUrl,
    pub(super) token_endpoint: EndpointUrl,
    pub(super) jwks_uri: EndpointUrl,
}

pub(super) struct MetadataCache {
    authority: String,
    /// Held while fetching, so that one request serves all who wait.
    kept: Mutex<Kept>,
}

enum Kept {
    Nothing,
    Document {
        metadata: Arc<Metadata>,
        fresh_until: Seconds,
    },
    Failure {
        error: UpstreamError,
        until: Seconds,
    },
}

impl MetadataCache {
    pub(super) fn new(authority: &str) -> Self {
        Self {
            authority: authority.trim_end_matches('/').to_owned(),
            kept: Mutex::new(Kept::Nothing),
        }
    }

    /// The document; an old one if there is no way to a new one.
    pub(super) async fn current(
        &self,
        http: &Http,
        clock: &Clock,
    ) -> Result<Arc<Metadata>, UpstreamError> {
        let mut kept = self.kept.lock().await;
        let now = clock.unix();
        match &*kept {
            Kept::Document {
                metadata,
                fresh_until,
            } if now < *fresh_until => return Ok(Arc::clone(metadata)),
            Kept::Failure { error, until } if now < *until => return Err(error.clone()),
            Kept::Document { .. } | Kept::Failure { .. } | Kept::Nothing => {}
        }
        let fetched = self.fetch(http).await;
        let now = clock.unix();
        match (fetched, &mut *kept) {
            (Ok(metadata), kept) => {
                let metadata = Arc::new(metadata);
                *kept = Kept::Document {
                    metadata: Arc::clone(&metadata),
                    fresh_until: now + FRESH,
                };
                Ok(metadata)
            }
            (
                Err(error),
                Kept::Document {
                    metadata,
                    fresh_until,
                },
            ) => {
                tracing::warn!(%error, "using older metadata of the identity provider");
                *fresh_until = now + RETRY;
                Ok(Arc::clone(metadata))
            }
            (Err(error), kept @ (Kept::Failure { .. } | Kept::Nothing)) => {
                *kept = Kept::Failure {
                    error: error.clone(),
                    until: now + PAUSE,
                };
                Err(error)
            }
        }
    }

    async fn fetch(&self, http: &Http) -> Result<Metadata, UpstreamError> {
        let url = format!("{}/.well-known/openid-configuration", self.authority);
        let metadata: Metadata = http.json(&url).await?;
        if belongs(&metadata.issuer, &self.authority) {
            Ok(metadata)
        } else {
            Err(UpstreamError::Misconfigured(
                "its issuer is not the authority that was configured".to_owned(),
            ))
        }
    }
}

/// Whether a document with `issuer` may be used for `authority`: they are the same but for the
/// tenant, which Entra writes as an id or as `{tenantid}` whatever was asked for.
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
    fn an_issuer_belongs_to_its_authority() {
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
