//! The gateway as a client of Microsoft Entra ID.
//!
//! Owns: Entra's metadata and keys, the authorization URL, code exchange and refresh, and the
//! validation of the id token. Does not own: which client requested the sign-in, and what is stored.
//!
//! Invariants: `resource` is never sent, because Entra takes it for an App ID URI (AADSTS9010010).
//! Entra's texts reach no caller before they are reduced to [`EntraError`].

mod credential;
mod error;
mod fetched;
mod http;
mod id_token;
mod keys;
mod metadata;

use std::borrow::Cow;
use std::time::Duration;

use model::Clock;
use model::config::gateway::EntraConfig;
use oauth2::basic::{
    BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, CsrfToken, EndpointNotSet, EndpointSet,
    ExtraTokenFields, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenResponse as _, TokenUrl,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::secrets::Secrets;
use crate::storage::Seconds;
use crate::user::User;
use credential::Credential;
use http::Http;
use id_token::Expected;
use keys::Keys;
use metadata::{Metadata, MetadataCache};

pub(crate) use error::{EntraError, IdentityProviderError, relayed};

/// How long before their expiry tokens are refreshed, at most.
const EARLY: Seconds = 5 * 60;

/// Short-lived tokens are refreshed when a fifth of their lifetime is left. Otherwise tokens with a
/// lifetime of five minutes would be refreshed with each request.
const LEFT_AT_RENEWAL: Seconds = 5;

/// The lifetime of Entra's tokens if the response names none.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

/// Microsoft Entra ID, as this gateway's registration sees it.
pub(crate) struct Entra {
    client_id: ClientId,
    credential: Credential,
    scopes: Vec<Scope>,
    /// The tenants whose users may sign in and stay signed in. Empty if the authority determines that.
    allowed_tenants: Vec<String>,
    /// The authority's own tenant, if it names one by its id.
    tenant: Option<String>,
    redirect: RedirectUrl,
    http: Http,
    metadata: MetadataCache,
    keys: Keys,
    clock: Clock,
}

/// The data of a sign-in from its start to its callback.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The nonce that the id token must contain.
    nonce: String,
    /// The PKCE verifier.
    verifier: String,
}

/// A finished sign-in.
pub(crate) struct SignedIn {
    pub(crate) user: User,
    pub(crate) tokens: Tokens,
}

/// Entra's tokens of one session. They leave this type only in sealed form.
#[derive(Serialize, Deserialize)]
pub(crate) struct Tokens {
    access: String,
    refresh: Option<String>,
    pub(crate) expires_at: Seconds,
}

impl Tokens {
    /// Returns when these tokens, which were received at `now`, must be refreshed.
    pub(crate) fn refresh_at(&self, now: Seconds) -> Seconds {
        let life = self.expires_at.saturating_sub(now);
        let early = EARLY.min(life / LEFT_AT_RENEWAL);
        self.expires_at.saturating_sub(early)
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.access.zeroize();
        self.refresh.zeroize();
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.verifier.zeroize();
    }
}

#[derive(Debug, Deserialize, Serialize)]
struct EntraFields {
    id_token: Option<String>,
}

impl ExtraTokenFields for EntraFields {}

type EntraTokens = StandardTokenResponse<EntraFields, BasicTokenType>;

type Client = oauth2::Client<
    EntraError,
    EntraTokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Entra {
    /// Makes a client of Entra. Sends nothing yet.
    pub(crate) fn new(
        config: &EntraConfig,
        allowed_tenants: &[String],
        callback: String,
        secrets: &Secrets,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client_id: ClientId::new(config.client_id.clone()),
            credential: Credential::new(config, secrets)?,
            scopes: config.scopes.iter().cloned().map(Scope::new).collect(),
            allowed_tenants: allowed_tenants.to_vec(),
            tenant: config.tenant_id().map(str::to_owned),
            redirect: RedirectUrl::new(callback)?,
            http: Http::new(config.authority.is_loopback())?,
            metadata: MetadataCache::new(config.authority.as_str()),
            keys: Keys::new(),
            clock,
        })
    }

    /// Returns true if the configuration allows users of this tenant.
    pub(crate) fn admits(&self, tenant: &str) -> bool {
        match self.allowed_tenants.is_empty() {
            true => self
                .tenant
                .as_ref()
                .is_none_or(|own| own.eq_ignore_ascii_case(tenant)),
            false => self
                .allowed_tenants
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(tenant)),
        }
    }

    /// Returns the URL to which the browser is sent, and the data to keep until it returns with
    /// `state`.
    pub(crate) async fn begin(
        &self,
        state: &SecretString,
        prompt: Option<&str>,
    ) -> Result<(String, Pending), IdentityProviderError> {
        let metadata = self.metadata().await?;
        let pending = Pending {
            nonce: crate::crypto::token(),
            verifier: crate::crypto::token(),
        };
        let verifier = PkceCodeVerifier::new(pending.verifier.clone());
        let client = self.client(&metadata);
        let mut request = client
            .authorize_url(|| CsrfToken::new(state.expose_secret().to_owned()))
            .add_scopes(self.scopes.iter().cloned())
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_extra_param("response_mode", "query")
            .add_extra_param("nonce", pending.nonce.clone());
        if let Some(prompt) = prompt {
            request = request.add_extra_param("prompt", prompt);
        }
        let (url, _) = request.url();
        Ok((url.into(), pending))
    }

    /// Redeems Entra's code and validates the id token.
    pub(crate) async fn finish(
        &self,
        pending: &Pending,
        code: &str,
    ) -> Result<SignedIn, IdentityProviderError> {
        let metadata = self.metadata().await?;
        let client = self.client(&metadata);
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
        let proof = self.proof(&metadata).await?;
        for (name, value) in proof.parameters() {
            request = request.add_extra_param(*name, value.expose_secret().to_owned());
        }
        let answer = request.request_async(&self.http).await?;
        let id_token = answer.extra_fields().id_token.as_deref();
        let id_token = id_token.ok_or(IdentityProviderError::Untrusted("there is no id token"))?;
        let user = self.user(&metadata, id_token, &pending.nonce).await?;
        let tokens = self.tokens(&answer, None);
        Ok(SignedIn { user, tokens })
    }

    /// Redeems the refresh token for new tokens.
    pub(crate) async fn refresh(&self, tokens: &Tokens) -> Result<Tokens, IdentityProviderError> {
        let Some(refresh) = &tokens.refresh else {
            return Err(IdentityProviderError::Over);
        };
        let metadata = self.metadata().await?;
        let client = self.client(&metadata);
        let refresh = oauth2::RefreshToken::new(refresh.clone());
        let mut request = client
            .exchange_refresh_token(&refresh)
            .add_scopes(self.scopes.iter().cloned());
        let proof = self.proof(&metadata).await?;
        for (name, value) in proof.parameters() {
            request = request.add_extra_param(*name, value.expose_secret().to_owned());
        }
        let answer = request.request_async(&self.http).await?;
        Ok(self.tokens(&answer, tokens.refresh.as_deref()))
    }

    /// Returns the issuer that callbacks may name (RFC 9207).
    pub(crate) async fn issuer(&self) -> Result<String, IdentityProviderError> {
        Ok(self.metadata().await?.issuer.clone())
    }

    async fn metadata(&self) -> Result<std::sync::Arc<Metadata>, IdentityProviderError> {
        self.metadata.current(&self.http, &self.clock).await
    }

    fn client(&self, metadata: &Metadata) -> Client {
        let client = oauth2::Client::new(self.client_id.clone())
            .set_auth_uri(AuthUrl::from_url(
                metadata.authorization_endpoint.url().clone(),
            ))
            .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.url().clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_redirect_uri(self.redirect.clone());
        match self.credential.secret() {
            Some(secret) => client
                .set_client_secret(oauth2::ClientSecret::new(secret.expose_secret().to_owned())),
            None => client,
        }
    }

    async fn proof(&self, metadata: &Metadata) -> Result<credential::Proof, IdentityProviderError> {
        let audience = metadata.token_endpoint.as_str();
        self.credential
            .prove(&self.client_id, audience, &self.clock)
            .await
    }

    async fn user(
        &self,
        metadata: &Metadata,
        id_token: &str,
        nonce: &str,
    ) -> Result<User, IdentityProviderError> {
        let key_id = id_token::key_id(id_token)?;
        let key = self
            .keys
            .find(&self.http, &metadata.jwks_uri, &key_id, &self.clock)
            .await?;
        let expected = Expected {
            issuer: &metadata.issuer,
            client_id: self.client_id.as_str(),
            nonce,
            allowed_tenants: &self.allowed_tenants,
            now: self.clock.unix(),
        };
        Ok(id_token::check(id_token, &key, &expected)?)
    }

    fn tokens(&self, answer: &EntraTokens, before: Option<&str>) -> Tokens {
        let life = answer.expires_in().unwrap_or(DEFAULT_LIFE);
        let refresh = answer.refresh_token().map(|token| token.secret().as_str());
        Tokens {
            access: answer.access_token().secret().clone(),
            refresh: refresh.or(before).map(str::to_owned),
            expires_at: self.clock.unix() + life.as_secs(),
        }
    }
}

/// Returns the origins that `form-action` must allow for a form that leads to Entra. A federated
/// tenant may redirect to a host that is on no list, so every https host is allowed. For a loopback
/// stand-in, only that is allowed.
pub(crate) fn form_action(authority: &model::EndpointUrl) -> Cow<'static, str> {
    if authority.is_loopback() && authority.url().scheme() == "http" {
        Cow::Owned(authority.url().origin().ascii_serialization())
    } else {
        Cow::Borrowed("https:")
    }
}
