//! Issues tokens: the response of the token endpoint.

use serde::Serialize;

use crate::claims;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::random;
use crate::token_grant::{SignedInUser, Subject, TokenGrant};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The lifetime of an access token, in seconds.
struct Lifetime {
    expires_in: u64,
    /// When the client should refresh a token that is still valid.
    refresh_in: Option<u64>,
}

impl Lifetime {
    /// Returns 60 to 90 minutes, or 20 to 28 hours if the client handles claims challenges.
    fn for_grant(grant: &TokenGrant<'_>) -> Self {
        if grant.claims.handles_challenges() {
            let expires_in = random::seconds(20 * HOUR, 8 * HOUR);
            Self {
                expires_in,
                refresh_in: Some(expires_in / 2),
            }
        } else {
            Self {
                expires_in: random::seconds(60 * MINUTE, 30 * MINUTE),
                refresh_in: None,
            }
        }
    }
}

/// The token response (RFC 6749 §5.1). It contains tokens, so it has no `Debug`.
#[derive(Serialize)]
pub(crate) struct Tokens {
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    pub(crate) expires_in: u64,
    pub(crate) ext_expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_in: Option<u64>,
    pub(crate) access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_info: Option<String>,
}

impl Tokens {
    pub(crate) fn issue(entra: &Entra, grant: &TokenGrant<'_>) -> Result<Self, Fault> {
        let resource = grant.requested.resource.id();
        tracing::info!(
            client = %grant.identity.id, subject = %grant.subject.object_id(), %resource,
            "tokens issued"
        );
        Self::sign(entra, grant).map_err(|error| {
            tracing::error!(%error, "cannot issue tokens");
            Fault::Internal
        })
    }

    fn sign(entra: &Entra, grant: &TokenGrant<'_>) -> anyhow::Result<Self> {
        let Lifetime {
            expires_in,
            refresh_in,
        } = Lifetime::for_grant(grant);
        let tokens = Self {
            token_type: "Bearer",
            scope: None,
            expires_in,
            ext_expires_in: expires_in,
            refresh_in,
            access_token: claims::access_token(entra, grant, expires_in)?,
            refresh_token: None,
            id_token: None,
            client_info: None,
        };
        match &grant.subject {
            Subject::Application(_) => Ok(tokens),
            Subject::User(signed_in) => tokens.with_user(entra, grant, signed_in),
        }
    }

    fn with_user(
        self,
        entra: &Entra,
        grant: &TokenGrant<'_>,
        signed_in: &SignedInUser<'_>,
    ) -> anyhow::Result<Self> {
        let id_token = signed_in
            .oidc
            .openid
            .then(|| claims::id_token(entra, &grant.identity, signed_in))
            .transpose()?;
        let refresh_token = signed_in
            .refresh
            .as_ref()
            .map(|grant| grant.seal(entra))
            .transpose()?;
        Ok(Self {
            scope: Some(grant.requested.response_scope(signed_in.oidc)),
            refresh_token,
            id_token,
            client_info: signed_in
                .client_info
                .then(|| claims::client_info(signed_in.member)),
            ..self
        })
    }
}
