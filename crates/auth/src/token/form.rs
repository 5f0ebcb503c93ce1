//! Form requests of a client to its authorization server.
//!
//! Owns: client authentication in a form, the meaning of the responses, and the grants other than
//! code and refresh token.

use model::EndpointUrl;
use serde::de::DeserializeOwned;

use texts::{Describe, Text, text};

use super::endpoint::{EndpointError, Issued, Token, TokenEndpoint, invalid_response, issued};
use super::grant::Tokens;
use crate::http::{BufferedResponse, retry_after, send};
use crate::oauth_error::OAuthError;
use crate::registration::{Client, DEVICE_CODE, TokenEndpointAuth};
use crate::secret::DeviceCode;

impl TokenEndpoint<'_> {
    /// Polls once for the tokens of a device code (RFC 8628 §3.4).
    pub(crate) async fn redeem_device_code(
        &self,
        code: &DeviceCode,
        now: u64,
    ) -> Result<Issued, EndpointError> {
        let mut form = vec![("grant_type", DEVICE_CODE), ("device_code", code.expose())];
        form.extend(
            self.resource
                .map(|resource| ("resource", resource.as_str())),
        );
        form.extend(self.claims.map(|claims| ("claims", claims)));
        let token: Token = send_json(form_request(self.http, self.url, self.client, form)).await?;
        issued(&token, now)
    }
}

/// Revokes a token (RFC 7009).
pub(crate) async fn revoke(
    http: &reqwest::Client,
    url: &EndpointUrl,
    client: &Client,
    tokens: &Tokens,
) -> Result<(), Text> {
    let (token, hint) = match &tokens.refresh {
        Some(refresh) => (refresh.expose(), "refresh_token"),
        None => (tokens.access.expose(), "access_token"),
    };
    let form = vec![("token", token), ("token_type_hint", hint)];
    let response = send(form_request(http, url, client, form)).await;
    match response.map_err(|error| error.text())?.status {
        status if status.is_success() => Ok(()),
        status => Err(text!(AnswersStatus {
            status: status.to_string()
        })),
    }
}

/// Creates a request with `form` and client authentication (RFC 6749 §2.3).
pub(crate) fn form_request<'a>(
    http: &reqwest::Client,
    url: &EndpointUrl,
    client: &'a Client,
    mut form: Vec<(&'a str, &'a str)>,
) -> reqwest::RequestBuilder {
    let mut request = http
        .post(url.url().clone())
        .header("accept", "application/json");
    match &client.auth {
        TokenEndpointAuth::None => form.push(("client_id", &client.id)),
        TokenEndpointAuth::Post(secret) => {
            form.extend([
                ("client_id", &*client.id),
                ("client_secret", secret.expose()),
            ]);
        }
        TokenEndpointAuth::Basic(secret) => {
            let encode = |text: &str| -> String {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            request = request.basic_auth(encode(&client.id), Some(encode(secret.expose())));
        }
    }
    request.form(&form)
}

/// Sends a request whose response is JSON, or an OAuth error. A response with 5xx or 429 says
/// nothing about the request, whatever its body is.
pub(crate) async fn send_json<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
) -> Result<T, EndpointError> {
    let BufferedResponse {
        status,
        headers,
        body,
        ..
    } = send(request).await.map_err(EndpointError::Http)?;
    if status.is_server_error() || status == ::http::StatusCode::TOO_MANY_REQUESTS {
        return Err(EndpointError::Busy {
            reason: text!(AnswersStatus {
                status: status.to_string()
            }),
            retry_after: retry_after(&headers),
        });
    }
    if status.is_success() {
        // The text may contain a secret, so only the position is logged.
        return serde_json::from_slice(&body.0).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            invalid_response(&format!("unexpected JSON (line {line}, column {column})"))
        });
    }
    match serde_json::from_slice::<Box<OAuthError>>(&body.0) {
        Ok(oauth_error) => Err(EndpointError::Refused(oauth_error)),
        Err(_) => Err(invalid_response(&status.to_string())),
    }
}
