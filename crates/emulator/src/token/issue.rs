//! What a grant yields: the response of the token endpoint.

use serde::Serialize;

use crate::app::App;
use crate::browser::Session;
use crate::claims;
use crate::cloud::Member;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::random;
use crate::scope::{Asked, Oidc};
use crate::sign_in::client_info;
use crate::token::refresh_token::RefreshGrant;

/// Access tokens live 60 to 90 minutes.
const SHORTEST: u64 = 60 * 60;
const SPREAD: u64 = 30 * 60;

/// A redeemed grant: who gets tokens, for whom, for what.
pub(crate) struct Granted<'e> {
    pub(crate) client: &'e App,
    pub(crate) member: Member<'e>,
    pub(crate) session: Session,
    pub(crate) oidc: Oidc,
    pub(crate) asked: Asked<'e>,
    pub(crate) nonce: Option<String>,
    pub(crate) refresh: Option<RefreshGrant>,
    pub(crate) client_info: bool,
}

/// A token response (RFC 6749 section 5.1). It holds tokens, so it does not print.
#[derive(Serialize)]
pub(crate) struct Tokens {
    token_type: &'static str,
    scope: String,
    expires_in: u64,
    ext_expires_in: u64,
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_info: Option<String>,
}

impl Tokens {
    pub(super) fn issue(entra: &Entra, granted: &Granted<'_>) -> Result<Self, Fault> {
        let resource = granted.asked.resource.id();
        tracing::info!(
            client = %granted.client.client_id, user = %granted.member.user.object_id, %resource,
            "tokens issued"
        );
        Self::sign(entra, granted).map_err(|error| {
            tracing::error!(%error, "no tokens could be issued");
            Fault::Internal
        })
    }

    fn sign(entra: &Entra, granted: &Granted<'_>) -> anyhow::Result<Self> {
        let expires_in = random::seconds(SHORTEST, SPREAD);
        let id_token = granted
            .oidc
            .openid
            .then(|| claims::id_token(entra, granted))
            .transpose()?;
        let refresh_token = granted
            .refresh
            .as_ref()
            .map(|grant| grant.seal(entra))
            .transpose()?;
        Ok(Self {
            token_type: "Bearer",
            scope: granted.asked.response_scope(granted.oidc),
            expires_in,
            ext_expires_in: expires_in,
            access_token: claims::access_token(entra, granted, expires_in)?,
            refresh_token,
            id_token,
            client_info: granted.client_info.then(|| client_info(granted.member)),
        })
    }
}
