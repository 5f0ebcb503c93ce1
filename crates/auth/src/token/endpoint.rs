//! The token endpoint (RFC 6749 section 3.2) and revocation (RFC 7009).

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use ::http::StatusCode;
use model::{EndpointUrl, Resource};
use oauth2::basic::{BasicRevocationErrorResponse, BasicTokenType};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, EmptyExtraTokenFields, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    Scope, StandardRevocableToken, StandardTokenIntrospectionResponse, StandardTokenResponse,
    TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::form::proven;
use super::grant::Tokens;
use super::oauth_error::Refusal;
use crate::http::{Answer, Fault, retry_after, send};
use crate::registration::{Client, ClientProof};
use crate::secret::{AccessToken, Code, IdToken, RefreshToken, Verifier};

/// Who asks, and where.
pub(crate) struct TokenEndpoint<'a> {
    pub(crate) http: &'a reqwest::Client,
    pub(crate) url: &'a EndpointUrl,
    pub(crate) client: &'a Client,
    /// Sent as it is, where the server goes by RFC 8707.
    pub(crate) resource: Option<&'a Resource>,
    /// Sent with every request, where the server needs that to know the audience.
    pub(crate) scopes: &'a [String],
    /// What Entra is asked to put into the token, as JSON.
    pub(crate) claims: Option<&'a str>,
}

/// What a successful request yields.
pub(crate) struct Issued {
    pub(crate) tokens: Tokens,
    pub(crate) id_token: Option<IdToken>,
}

/// Why there are no tokens.
#[derive(Clone, Debug)]
pub(crate) enum EndpointError {
    /// The server understood and refused.
    Refused(Box<Refusal>),
    /// The server is there and asks to be left alone for a while.
    Busy {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// Nobody was reached, or somebody who is not the server (a captive portal).
    Fault(Fault),
}

/// Why nobody understood, and when to ask again if the server said that.
pub(crate) struct Away {
    pub(crate) reason: String,
    pub(crate) retry_after: Option<Duration>,
}

impl EndpointError {
    /// The refusal, if the server refused.
    pub(crate) fn refusal(self) -> Result<Box<Refusal>, Away> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::Busy {
                reason,
                retry_after,
            } => Err(Away {
                reason,
                retry_after,
            }),
            Self::Fault(fault) => Err(Away {
                reason: fault.to_string(),
                retry_after: None,
            }),
        }
    }
}

pub(crate) type Token = StandardTokenResponse<Extras, BasicTokenType>;

type OauthClient = oauth2::Client<
    Refusal,
    Token,
    StandardTokenIntrospectionResponse<EmptyExtraTokenFields, BasicTokenType>,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

#[derive(Deserialize, Serialize)]
pub(crate) struct Extras {
    refresh_in: Option<u64>,
    #[serde(skip_serializing)]
    id_token: Option<String>,
}

impl oauth2::ExtraTokenFields for Extras {}

impl fmt::Debug for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extras")
            .field("refresh_in", &self.refresh_in)
            .finish_non_exhaustive()
    }
}

impl TokenEndpoint<'_> {
    /// Redeems a code.
    pub(crate) async fn redeem(
        &self,
        code: &Code,
        verifier: &Verifier,
        redirect_uri: &str,
        now: u64,
    ) -> Result<Issued, EndpointError> {
        let client = self.oauth_client();
        let redirect = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|error| strange(&error.to_string()))?;
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
            .set_redirect_uri(Cow::Owned(redirect));
        if !self.scopes.is_empty() {
            request = request.add_extra_param("scope", self.scopes.join(" "));
        }
        if let Some(resource) = self.resource {
            request = request.add_extra_param("resource", resource.as_str());
        }
        if let Some(claims) = self.claims {
            request = request.add_extra_param("claims", claims);
        }
        let answer = request.request_async(&Wire(self.http)).await;
        issued(&answer.map_err(told)?, now)
    }

    /// Gets new tokens for a refresh token. What the answer leaves out stays as it was.
    pub(crate) async fn refresh(
        &self,
        refresh: &RefreshToken,
        now: u64,
    ) -> Result<Tokens, EndpointError> {
        let client = self.oauth_client();
        let token = oauth2::RefreshToken::new(refresh.expose().to_owned());
        let mut request = client
            .exchange_refresh_token(&token)
            .add_scopes(self.scopes.iter().cloned().map(Scope::new));
        if let Some(resource) = self.resource {
            request = request.add_extra_param("resource", resource.as_str());
        }
        if let Some(claims) = self.claims {
            request = request.add_extra_param("claims", claims);
        }
        let answer = request.request_async(&Wire(self.http)).await;
        let mut tokens = issued(&answer.map_err(told)?, now)?.tokens;
        tokens.refresh.get_or_insert_with(|| refresh.clone());
        Ok(tokens)
    }

    fn oauth_client(&self) -> OauthClient {
        let client = oauth2::Client::new(ClientId::new(self.client.id.clone()))
            .set_token_uri(TokenUrl::from_url(self.url.url().clone()));
        match &self.client.proof {
            ClientProof::None => client.set_auth_type(AuthType::RequestBody),
            ClientProof::Basic(secret) => client
                .set_auth_type(AuthType::BasicAuth)
                .set_client_secret(oauth2::ClientSecret::new(secret.expose().to_owned())),
            ClientProof::Post(secret) => client
                .set_auth_type(AuthType::RequestBody)
                .set_client_secret(oauth2::ClientSecret::new(secret.expose().to_owned())),
        }
    }
}

/// Tells the server to forget a token (RFC 7009).
pub(crate) async fn revoke(
    http: &reqwest::Client,
    url: &EndpointUrl,
    client: &Client,
    tokens: &Tokens,
) -> Result<(), String> {
    let (token, hint) = match &tokens.refresh {
        Some(refresh) => (refresh.expose(), "refresh_token"),
        None => (tokens.access.expose(), "access_token"),
    };
    let form = vec![("token", token), ("token_type_hint", hint)];
    let answer = send(proven(http, url, client, form)).await;
    match answer.map_err(|fault| fault.to_string())?.status {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answers {status}")),
    }
}

/// Our HTTP client in the place where the oauth2 crate wants one.
struct Wire<'a>(&'a reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Wire<'_> {
    type Error = WireError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WireError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)
                .map_err(|error| WireError::Fault(crate::http::fault(error)))?;
            let request = reqwest::RequestBuilder::from_parts(self.0.clone(), request);
            respond(send(request).await.map_err(WireError::Fault)?)
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error("the server answers {status}")]
    Busy {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error(transparent)]
    Fault(Fault),
}

/// An answer that is not about the request (5xx, 429) says nothing of the tokens, whatever is
/// in it.
fn respond(answer: Answer) -> Result<HttpResponse, WireError> {
    let Answer {
        status,
        headers,
        body,
        peer: _,
    } = answer;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(WireError::Busy {
            status,
            retry_after: retry_after(&headers),
        });
    }
    let mut response = HttpResponse::new(body.0);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn told(error: RequestTokenError<WireError, Refusal>) -> EndpointError {
    match error {
        RequestTokenError::ServerResponse(refusal) => EndpointError::Refused(Box::new(refusal)),
        RequestTokenError::Request(WireError::Fault(fault)) => EndpointError::Fault(fault),
        RequestTokenError::Request(WireError::Busy {
            status,
            retry_after,
        }) => EndpointError::Busy {
            reason: format!("it answers {status}"),
            retry_after,
        },
        // What did not parse may be a token: name the place, not the text.
        RequestTokenError::Parse(error, _) => {
            strange(&format!("no token answer (at `{}`)", error.path()))
        }
        RequestTokenError::Other(reason) => strange(&reason),
    }
}

/// Something answered that is not a token endpoint: a captive portal, a proxy's page.
pub(super) fn strange(what: &str) -> EndpointError {
    EndpointError::Fault(Fault::Unreachable(format!("it answers strangely: {what}")))
}

pub(crate) fn issued(token: &Token, now: u64) -> Result<Issued, EndpointError> {
    if *token.token_type() != BasicTokenType::Bearer {
        return Err(strange("the token is not a bearer token"));
    }
    let access = token.access_token().secret();
    // RFC 6750 section 2.1; also what a header can carry.
    if access.is_empty() || !access.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(strange("the access token is not one"));
    }
    let extras = token.extra_fields();
    Ok(Issued {
        tokens: Tokens {
            access: AccessToken::new(access.as_str()),
            refresh: token
                .refresh_token()
                .map(|token| token.secret().as_str())
                // Some servers write an empty one where they have none.
                .filter(|token| !token.is_empty())
                .map(RefreshToken::new),
            obtained_at: now,
            expires_at: token
                .expires_in()
                .map(|life| now.saturating_add(life.as_secs())),
            refresh_at: extras.refresh_in.map(|delay| now.saturating_add(delay)),
            scopes: token
                .scopes()
                .map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
        },
        id_token: extras.id_token.as_deref().map(IdToken::new),
    })
}
