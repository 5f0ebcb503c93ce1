//! The token endpoint (RFC 6749 §3.2) and revocation (RFC 7009).

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

use texts::{Describe, Text, text};

use super::grant::Tokens;
use crate::http::{BufferedResponse, HttpError, retry_after, send};
use crate::oauth_error::OAuthError;
use crate::registration::{Client, TokenEndpointAuth};
use crate::secret::{AccessToken, Code, IdToken, RefreshToken, Verifier};

/// A token endpoint, the client, and the parameters of its requests.
pub(crate) struct TokenEndpoint<'a> {
    pub(crate) http: &'a reqwest::Client,
    pub(crate) url: &'a EndpointUrl,
    pub(crate) client: &'a Client,
    /// The `resource` parameter, if the server supports RFC 8707.
    pub(crate) resource: Option<&'a Resource>,
    /// The scopes of every request, if the server needs them to determine the audience.
    pub(crate) scopes: &'a [String],
    /// The claims that Entra is asked for, as JSON.
    pub(crate) claims: Option<&'a str>,
}

/// The result of a token request.
pub(crate) struct Issued {
    pub(crate) tokens: Tokens,
    pub(crate) id_token: Option<IdToken>,
}

/// Why a token request failed.
#[derive(Clone, Debug)]
pub(crate) enum EndpointError {
    /// The server sent an error response.
    Refused(Box<OAuthError>),
    /// The server is overloaded or unavailable for a while.
    Busy {
        reason: Text,
        retry_after: Option<Duration>,
    },
    /// There is no response, or one of another server (a captive portal).
    Http(HttpError),
}

/// Why there was no OAuth response, and when to retry if the server said so.
pub(crate) struct Unavailable {
    pub(crate) reason: Text,
    pub(crate) retry_after: Option<Duration>,
}

impl EndpointError {
    /// Returns the OAuth error, if the server sent one.
    pub(crate) fn oauth_error(self) -> Result<Box<OAuthError>, Unavailable> {
        match self {
            Self::Refused(oauth_error) => Ok(oauth_error),
            Self::Busy {
                reason,
                retry_after,
            } => Err(Unavailable {
                reason,
                retry_after,
            }),
            Self::Http(error) => Err(Unavailable {
                reason: error.text(),
                retry_after: None,
            }),
        }
    }
}

pub(crate) type Token = StandardTokenResponse<Extras, BasicTokenType>;

type OauthClient = oauth2::Client<
    OAuthError,
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
    /// Exchanges a code for tokens.
    pub(crate) async fn redeem(
        &self,
        code: &Code,
        verifier: &Verifier,
        redirect_uri: &str,
        now: u64,
    ) -> Result<Issued, EndpointError> {
        let client = self.oauth_client();
        let redirect = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|error| invalid_response(&error.to_string()))?;
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
        let response = request.request_async(&HttpAdapter(self.http)).await;
        issued(&response.map_err(endpoint_error)?, now)
    }

    /// Refreshes the tokens. Members that the response omits stay unchanged.
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
        let response = request.request_async(&HttpAdapter(self.http)).await;
        let mut tokens = issued(&response.map_err(endpoint_error)?, now)?.tokens;
        tokens.refresh.get_or_insert_with(|| refresh.clone());
        Ok(tokens)
    }

    fn oauth_client(&self) -> OauthClient {
        let client = oauth2::Client::new(ClientId::new(self.client.id.clone()))
            .set_token_uri(TokenUrl::from_url(self.url.url().clone()));
        match &self.client.auth {
            TokenEndpointAuth::None => client.set_auth_type(AuthType::RequestBody),
            TokenEndpointAuth::Basic(secret) => client
                .set_auth_type(AuthType::BasicAuth)
                .set_client_secret(oauth2::ClientSecret::new(secret.expose().to_owned())),
            TokenEndpointAuth::Post(secret) => client
                .set_auth_type(AuthType::RequestBody)
                .set_client_secret(oauth2::ClientSecret::new(secret.expose().to_owned())),
        }
    }
}

/// Adapts our HTTP client to the oauth2 crate.
struct HttpAdapter<'a>(&'a reqwest::Client);

impl<'c> AsyncHttpClient<'c> for HttpAdapter<'_> {
    type Error = WireError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WireError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)
                .map_err(|error| WireError::Http(HttpError::from_reqwest(error)))?;
            let request = reqwest::RequestBuilder::from_parts(self.0.clone(), request);
            convert(send(request).await.map_err(WireError::Http)?)
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
    Http(HttpError),
}

/// A response with 5xx or 429 says nothing about the tokens, whatever its body is.
fn convert(response: BufferedResponse) -> Result<HttpResponse, WireError> {
    let BufferedResponse {
        status,
        headers,
        body,
        peer: _,
    } = response;
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

fn endpoint_error(error: RequestTokenError<WireError, OAuthError>) -> EndpointError {
    match error {
        RequestTokenError::ServerResponse(oauth_error) => {
            EndpointError::Refused(Box::new(oauth_error))
        }
        RequestTokenError::Request(WireError::Http(error)) => EndpointError::Http(error),
        RequestTokenError::Request(WireError::Busy {
            status,
            retry_after,
        }) => EndpointError::Busy {
            reason: text!(AnswersStatus {
                status: status.to_string()
            }),
            retry_after,
        },
        // The text may contain a token, so only the path is logged.
        RequestTokenError::Parse(error, _) => {
            invalid_response(&format!("not a token response (at `{}`)", error.path()))
        }
        RequestTokenError::Other(reason) => invalid_response(&reason),
    }
}

/// Returns the error for a response that is not from a token endpoint: of a captive portal or a
/// proxy.
pub(super) fn invalid_response(what: &str) -> EndpointError {
    EndpointError::Http(HttpError::Unreachable(text!(InvalidResponse {
        reason: what
    })))
}

pub(crate) fn issued(token: &Token, now: u64) -> Result<Issued, EndpointError> {
    if *token.token_type() != BasicTokenType::Bearer {
        return Err(invalid_response("the token is not a bearer token"));
    }
    let access = token.access_token().secret();
    // RFC 6750 §2.1. A header value requires the same.
    if access.is_empty() || !access.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid_response("the access token is not valid"));
    }
    let extras = token.extra_fields();
    Ok(Issued {
        tokens: Tokens {
            access: AccessToken::new(access.as_str()),
            refresh: token
                .refresh_token()
                .map(|token| token.secret().as_str())
                // Some servers send an empty refresh token if they have none.
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
