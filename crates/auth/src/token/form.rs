//! Requests of a client to its authorization server that are plain forms.
//!
//! Owns: how a client proves itself in one, what its answer means, and the grants beside the code
//! and the refresh token.

use serde::de::DeserializeOwned;

use super::endpoint::{EndpointError, Issued, Token, TokenEndpoint, issued, strange};
use super::oauth_error::Refusal;
use crate::http::{Answer, retry_after, send};
use crate::registration::{Client, ClientProof};
use crate::secret::DeviceCode;

/// The grant type of device codes (RFC 8628 section 3.4).
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

impl TokenEndpoint<'_> {
    /// Asks once whether somebody has approved a device code (RFC 8628 section 3.4).
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
        let token: Token = ask(proven(self.http, self.url, self.client, form)).await?;
        issued(&token, now)
    }
}

/// `form`, sent by `client`: with what proves that it is that one (RFC 6749 section 2.3).
pub(crate) fn proven<'a>(
    http: &reqwest::Client,
    url: &model::EndpointUrl,
    client: &'a Client,
    mut form: Vec<(&'a str, &'a str)>,
) -> reqwest::RequestBuilder {
    let mut request = http
        .post(url.url().clone())
        .header("accept", "application/json");
    match &client.proof {
        ClientProof::None => form.push(("client_id", &client.id)),
        ClientProof::Post(secret) => {
            form.extend([
                ("client_id", &*client.id),
                ("client_secret", secret.expose()),
            ]);
        }
        ClientProof::Basic(secret) => {
            let encode = |text: &str| -> String {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            request = request.basic_auth(encode(&client.id), Some(encode(secret.expose())));
        }
    }
    request.form(&form)
}

/// Sends a request whose answer is JSON, or a refusal. An answer that is not about the request
/// (5xx, 429) says nothing of it, whatever is in it.
pub(crate) async fn ask<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
) -> Result<T, EndpointError> {
    let Answer {
        status,
        headers,
        body,
        ..
    } = send(request).await.map_err(EndpointError::Fault)?;
    if status.is_server_error() || status == ::http::StatusCode::TOO_MANY_REQUESTS {
        return Err(EndpointError::Busy {
            reason: format!("it answers {status}"),
            retry_after: retry_after(&headers),
        });
    }
    if status.is_success() {
        // What does not parse may be a secret: name the place, not the text.
        return serde_json::from_slice(&body.0).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            strange(&format!("no such answer (line {line}, column {column})"))
        });
    }
    match serde_json::from_slice::<Box<Refusal>>(&body.0) {
        Ok(refusal) => Err(EndpointError::Refused(refusal)),
        Err(_) => Err(strange(&status.to_string())),
    }
}
