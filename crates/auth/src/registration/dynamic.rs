//! Dynamic client registration (RFC 7591).

use model::EndpointUrl;
use serde::{Deserialize, Serialize};

use super::{Client, ClientOrigin, ClientProof, Registration};
use crate::discovery::AuthorizationServer;
use crate::http::{Fault, send};
use crate::secret::ClientSecret;
use crate::token::{DEVICE_CODE, Refusal};

/// Why there is no registration.
#[derive(Debug)]
pub(crate) enum RegisterError {
    /// The server does not register clients.
    NotOffered,
    /// The server has device codes, and registers nobody for them.
    NotForDeviceCodes,
    /// The server refused this one.
    Refused(Box<Refusal>),
    /// Nobody was reached.
    Fault(Fault),
    /// The answer makes no sense.
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

/// What a registration has to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Sign-ins in a browser, and device codes if the server registers for those.
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
    // Some servers have device codes, and register no client for them.
    if request.grant_types != BROWSER
        && let Err(RegisterError::Refused(refusal)) = &answered
        && refusal.error == "invalid_client_metadata"
    {
        if purpose == Purpose::DeviceCode {
            tracing::info!(issuer = %server.issuer.issuer(), reason = refusal.description(), "no registration for device codes");
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
            proof: proof(&response, method)?,
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
    let answer = send(request).await.map_err(RegisterError::Fault)?;
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body.0)
            .map_err(|error| RegisterError::Malformed(place(&error)));
    }
    if answer.status.is_server_error() {
        let reason = format!("{} answers {}", endpoint.shown(), answer.status);
        return Err(RegisterError::Fault(Fault::Unreachable(reason)));
    }
    match serde_json::from_slice(&answer.body.0) {
        Ok(refusal) => Err(RegisterError::Refused(refusal)),
        Err(_) => Err(RegisterError::NotOffered),
    }
}

/// Where an answer went wrong, without its text: a secret may be in it.
fn place(error: &serde_json::Error) -> String {
    format!(
        "its answer to the registration makes no sense (line {}, column {})",
        error.line(),
        error.column()
    )
}

/// The grants of a sign-in in a browser.
const BROWSER: &[&str] = &["authorization_code", "refresh_token"];

/// One registration serves the browser and, where the server has device codes, those too.
fn grant_types(server: &AuthorizationServer) -> &'static [&'static str] {
    match server.device_authorization_endpoint {
        Some(_) => &["authorization_code", "refresh_token", DEVICE_CODE],
        None => BROWSER,
    }
}

/// How to prove oneself: not at all where that is allowed, as fits a program on a desk.
fn method(server: &AuthorizationServer) -> &'static str {
    if server.client_authentication.is_none() {
        return "none";
    }
    ["none", "client_secret_post", "client_secret_basic"]
        .into_iter()
        .find(|method| server.offers_authentication(method))
        .unwrap_or("none")
}

fn proof(response: &Response, asked: &str) -> Result<ClientProof, RegisterError> {
    let method = response.token_endpoint_auth_method.as_deref();
    match (method.unwrap_or(asked), &response.client_secret) {
        ("none", _) => Ok(ClientProof::None),
        ("client_secret_post", Some(secret)) => Ok(ClientProof::Post(ClientSecret::new(&**secret))),
        ("client_secret_basic", Some(secret)) => {
            Ok(ClientProof::Basic(ClientSecret::new(&**secret)))
        }
        (other, _) => Err(RegisterError::Malformed(format!(
            "it wants programs to prove themselves by `{other}`, which Postern does not do"
        ))),
    }
}
