//! Its OAuth endpoints.

use std::collections::HashMap;

use aws_lc_rs::{digest, rand};
use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header::SET_COOKIE},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use emulator::demo;
use serde_json::{Value, json};
use url::Url;

use super::{Gateway, Metadata, Parameters, Shared, consent, error, guid, nothing_there, redirect};

/// The scopes that it requests from Entra. It never uses the token.
const SCOPES: &str = "openid https://graph.microsoft.com/.default";

pub(super) async fn metadata(State(gateway): Shared) -> Response {
    if gateway.metadata == Metadata::Absent {
        return nothing_there().await;
    }
    let at = |path: &str| format!("{}{path}", gateway.origin);
    let document = json!({
        "issuer": gateway.origin,
        "service_documentation": "https://microsoft.com/",
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "revocation_endpoint": at("/revoke"),
        "registration_endpoint": at("/register"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_post"],
    });
    Json(document).into_response()
}

/// Accepts any metadata and returns 200.
pub(super) async fn register(State(gateway): Shared, Json(asked): Json<Value>) -> Response {
    let client = json!({
        "client_id": guid(),
        "client_id_issued_at": 1_790_000_000,
        "client_secret_expires_at": 1_821_536_000,
        "redirect_uris": asked["redirect_uris"],
        "client_name": asked["client_name"].as_str().unwrap_or("Unknown Application"),
        "client_uri": asked["client_uri"].as_str().unwrap_or_default(),
    });
    gateway.clients().push(client.clone());
    ([("access-control-allow-origin", "*")], Json(client)).into_response()
}

/// Redirects to the consent page. Redirects a browser that consented before to Entra.
pub(super) async fn authorize(
    State(gateway): Shared,
    Query(asked): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let required = ["client_id", "redirect_uri", "state", "code_challenge"];
    if let Some(missing) = required.iter().find(|name| !asked.contains_key(**name)) {
        let what = format!("Missing {missing}");
        return error(StatusCode::BAD_REQUEST, "invalid_request", &what);
    }
    if !consent::allowed(&headers, &asked) {
        let pairs = asked.iter().filter(|(name, _)| {
            required.contains(&name.as_str()) || *name == "code_challenge_method"
        });
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        return redirect(&format!("{}/consent?{query}", gateway.origin));
    }
    to_entra(&gateway, &asked)
}

/// Redirects to Entra. Stores everything under the client's own state, and creates the code before
/// the sign-in, as the deployment does.
fn to_entra(gateway: &Gateway, asked: &Parameters) -> Response {
    let (code, verifier, state) = (guid(), guid().replace('-', ""), &asked["state"]);
    let challenge = sha256(&verifier);
    let mut cache = gateway.cache();
    cache.keep(format!("CodeVerifier-{state}"), &verifier);
    cache.keep(state.clone(), &code);
    cache.keep(
        format!("McpClientAuthData-{code}"),
        &json!(asked).to_string(),
    );
    let mut page = Url::parse(&format!("{}/authorize", gateway.entra)).expect("a URL");
    page.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &demo::GATEWAY_CLIENT_ID.to_string())
        .append_pair("redirect_uri", &callback_uri(gateway))
        .append_pair("scope", SCOPES)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .append_pair("state", state);
    redirect(page.as_str())
}

/// Handles Entra's callback. Accepts only a browser that has seen the consent page.
pub(super) async fn callback(
    State(gateway): Shared,
    Query(asked): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let (Some(code), Some(state)) = (asked.get("code"), asked.get("state")) else {
        let what = "Missing required OAuth callback parameters";
        return error(StatusCode::BAD_REQUEST, "invalid_request", what);
    };
    if consent::state(&headers).as_ref() != Some(state) {
        return error(StatusCode::BAD_REQUEST, "invalid_state", "State mismatch");
    }
    let known = {
        let cache = gateway.cache();
        (
            cache.find(&format!("CodeVerifier-{state}")),
            cache.find(state),
        )
    };
    let (Some(verifier), Some(ours)) = known else {
        return error(StatusCode::BAD_REQUEST, "invalid_state", "Unknown state");
    };
    let Some(tokens) = redeem(&gateway, code, &verifier).await else {
        return error(StatusCode::BAD_REQUEST, "token_error", "Entra refused");
    };
    let (session, token) = (guid().replace('-', ""), access_token());
    let redirect_uri = {
        let mut cache = gateway.cache();
        cache.keep(format!("AccessToken-{ours}"), &token);
        cache.keep(format!("Session-{token}"), &session);
        cache.keep(format!("EntraToken-{session}"), &tokens);
        let client = cache.find(&format!("McpClientAuthData-{ours}"));
        let client: Value = serde_json::from_str(&client.unwrap_or_default()).unwrap_or_default();
        client["redirect_uri"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let mut answer = redirect(&format!("{redirect_uri}?code={ours}&state={state}"));
    answer
        .headers_mut()
        .append(SET_COOKIE, consent::no_state().parse().expect("a cookie"));
    answer
}

async fn redeem(gateway: &Gateway, code: &str, verifier: &str) -> Option<String> {
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &demo::GATEWAY_CLIENT_ID.to_string()),
        ("client_secret", demo::GATEWAY_SECRET),
        ("code", code),
        ("redirect_uri", &callback_uri(gateway)),
        ("scope", "User.Read"),
        ("code_verifier", verifier),
    ];
    let asked = gateway.http.post(format!("{}/token", gateway.entra));
    let answer = asked.form(&form).send().await.ok()?;
    match answer.status() {
        StatusCode::OK => answer.text().await.ok(),
        _ => None,
    }
}

/// Handles the token request. The form is split by hand: nothing is decoded, and the grant type is
/// ignored. A request with an unknown code causes an exception in the policy.
pub(super) async fn token(State(gateway): Shared, body: String) -> Response {
    let asked: HashMap<&str, &str> = body
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let code = asked.get("code").copied().unwrap_or_default();
    let known = gateway.cache().find(&format!("McpClientAuthData-{code}"));
    let known = known.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let Some(known) = known else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let verifier = asked.get("code_verifier").copied().unwrap_or_default();
    if known["code_challenge"] != sha256(verifier) {
        let body = "{\"error\": \"code_verifier does not match.\"}";
        return (StatusCode::BAD_REQUEST, body).into_response();
    }
    let client = asked.get("client_id").copied().unwrap_or_default();
    if gateway.client(client).is_none() {
        return error(StatusCode::UNAUTHORIZED, "invalid_client", "Unknown client");
    }
    let answer = json!({
        "access_token": gateway.cache().find(&format!("AccessToken-{code}")),
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": "",
        "scope": "openid profile email",
    });
    ([("access-control-allow-origin", "*")], Json(answer)).into_response()
}

fn callback_uri(gateway: &Gateway) -> String {
    format!("{}/oauth-callback", gateway.origin)
}

/// Returns an opaque access token: 48 random bytes in standard base64.
fn access_token() -> String {
    let mut bytes = [0; 48];
    rand::fill(&mut bytes).expect("random bytes");
    BASE64_STANDARD.encode(bytes)
}

fn sha256(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}
