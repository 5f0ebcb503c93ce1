//! Dynamic client registration (RFC 7591).

use model::EndpointUrl;
use serde::{Deserialize, Serialize};

use texts::text;

use super::{Client, ClientOrigin, Registration, TokenEndpointAuth};
use crate::discovery::AuthorizationServer;
use crate::http::{HttpError, send};
use crate::oauth_error::OAuthError;
use crate::secret::ClientSecret;

/// The grant type of device codes (RFC 8628 §3.4).
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Why the registration failed.
#[derive(Debug)]
pub(crate) enum RegisterError {
    /// The server registers no clients.
    NotOffered,
    /// The server has device codes, but registers no client for them.
    NotForDeviceCodes,
    /// The server refused this registration.
    Refused(Box<OAuthError>),
    /// The request got no response.
    Http(HttpError),
    /// The response is invalid.
    Malformed(String),
}

#[derive(Serialize)]
struct Request<'a> {
    client_name: &'a str,
    redirect_uris: [&'a str; 1],
    grant_types: &'a [&'a str],
    response_types: [&'a str; 1],
    application_type: &'a str,
    token_endpoint_auth_method: &'a str,
}

#[derive(Deserialize)]
struct Response {
    client_id: String,
    client_secret: Option<String>,
    token_endpoint_auth_method: Option<String>,
    #[serde(default)]
    client_secret_expires_at: u64,
}

/// The purpose of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Sign-ins in a browser, and device codes if the server registers clients for them.
    Browser,
    /// Device codes.
    DeviceCode,
}

/// Registers a native client with one loopback redirect URI.
pub(crate) async fn register(
    http: &reqwest::Client,
    server: &AuthorizationServer,
    purpose: Purpose,
    client_name: &str,
    redirect_uri: &str,
    port: u16,
) -> Result<Registration, RegisterError> {
    let Some(endpoint) = &server.registration_endpoint else {
        return Err(RegisterError::NotOffered);
    };
    let method = method(server);
    let request = Request {
        client_name,
        redirect_uris: [redirect_uri],
        grant_types: grant_types(server),
        response_types: ["code"],
        application_type: "native",
        token_endpoint_auth_method: method,
    };
    let mut answered = post(http, endpoint, &request).await;
    // Some servers have device codes, but register no client for them.
    if request.grant_types != BROWSER
        && let Err(RegisterError::Refused(oauth_error)) = &answered
        && oauth_error.error == "invalid_client_metadata"
    {
        if purpose == Purpose::DeviceCode {
            tracing::info!(issuer = %server.issuer.issuer(), reason = oauth_error.description(), "no registration for device codes");
            return Err(RegisterError::NotForDeviceCodes);
        }
        let request = Request {
            grant_types: BROWSER,
            ..request
        };
        answered = post(http, endpoint, &request).await;
    }
    let response = answered?;
    Ok(Registration {
        issuer: server.issuer.issuer(),
        expires_at: Some(response.client_secret_expires_at).filter(|at| *at != 0),
        client: Client {
            auth: endpoint_auth(&response, method)?,
            id: response.client_id,
            origin: ClientOrigin::Registered,
        },
        port,
    })
}

async fn post(
    http: &reqwest::Client,
    endpoint: &EndpointUrl,
    request: &Request<'_>,
) -> Result<Response, RegisterError> {
    let request = http.post(endpoint.url().clone()).json(request);
    let answer = send(request).await.map_err(RegisterError::Http)?;
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body.0)
            .map_err(|error| RegisterError::Malformed(place(&error)));
    }
    if answer.status.is_server_error() {
        let status = answer.status.to_string();
        let reason = text!(ServerAnswersStatus {
            server: endpoint.shown(),
            status
        });
        return Err(RegisterError::Http(HttpError::Unreachable(reason)));
    }
    match serde_json::from_slice(&answer.body.0) {
        Ok(oauth_error) => Err(RegisterError::Refused(oauth_error)),
        Err(_) => Err(RegisterError::NotOffered),
    }
}

/// Returns where parsing failed, without the text, which may contain a secret.
fn place(error: &serde_json::Error) -> String {
    format!(
        "its registration response is invalid (line {}, column {})",
        error.line(),
        error.column()
    )
}

/// The grant types of a sign-in in a browser.
const BROWSER: &[&str] = &["authorization_code", "refresh_token"];

/// Returns the grant types. One registration serves the browser and device codes, if the server
/// has those.
fn grant_types(server: &AuthorizationServer) -> &'static [&'static str] {
    match server.device_authorization_endpoint {
        Some(_) => &["authorization_code", "refresh_token", DEVICE_CODE],
        None => BROWSER,
    }
}

/// Chooses the client authentication method: `none` if the server allows it, because a desktop
/// application cannot keep a secret.
fn method(server: &AuthorizationServer) -> &'static str {
    if server.client_authentication.is_none() {
        return "none";
    }
    ["none", "client_secret_post", "client_secret_basic"]
        .into_iter()
        .find(|method| server.offers_authentication(method))
        .unwrap_or("none")
}

fn endpoint_auth(response: &Response, asked: &str) -> Result<TokenEndpointAuth, RegisterError> {
    let method = response.token_endpoint_auth_method.as_deref();
    match (method.unwrap_or(asked), &response.client_secret) {
        ("none", _) => Ok(TokenEndpointAuth::None),
        ("client_secret_post", Some(secret)) => {
            Ok(TokenEndpointAuth::Post(ClientSecret::new(&**secret)))
        }
        ("client_secret_basic", Some(secret)) => {
            Ok(TokenEndpointAuth::Basic(ClientSecret::new(&**secret)))
        }
        (other, _) => Err(RegisterError::Malformed(format!(
            "it requires client authentication by `{other}`, which Postern does not support"
        ))),
    }
}
