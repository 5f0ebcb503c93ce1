//! `POST /register`: dynamic client registration (RFC 7591).
//!
//! Any visitor may register. So the gateway trusts, fetches and links nothing that a client states
//! about itself, and the consent page shows it as the client's own statement. All clients are public,
//! so equal metadata means the same client: hosts register at each sign-in. The port of a loopback
//! redirect URI makes no difference, and the response repeats it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::response::{self, Gateway, OAuthError};
use crate::crypto;
use crate::redirect::{self, OwnOrigin};
use crate::storage::Client;
use crate::visitors::Visitor;

/// How many redirect URIs a client may have.
const MAX_REDIRECT_COUNT: usize = 16;
/// The maximum total length, in bytes. It must be small, because any visitor can store them.
const MAX_REDIRECTS_LENGTH: usize = 4096;
/// The maximum length of a stored name, in characters.
const MAX_NAME: usize = 100;
/// The maximum length of a stored website URL, in bytes.
const MAX_WEBSITE: usize = 200;

/// The metadata that the gateway uses. It ignores the rest of RFC 7591 §2.
#[derive(Deserialize)]
struct Registration {
    redirect_uris: Vec<String>,
    client_name: Option<String>,
    client_uri: Option<String>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
}

pub(super) async fn register(
    gateway: Gateway,
    visitor: Visitor,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match try_register(&gateway, &visitor, &headers, body).await {
        Ok((client, redirect_uris)) => {
            response::json(StatusCode::CREATED, &describe(&client, &redirect_uris))
        }
        Err(error) => error.into_response(),
    }
}

/// Registers a client. Returns it, and its redirect URIs as they were sent.
async fn try_register(
    gateway: &Gateway,
    visitor: &Visitor,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Client, Vec<String>), OAuthError> {
    let body = response::body(headers, "application/json", body).await?;
    let registration: Registration = serde_json::from_slice(&body).map_err(|_| {
        invalid(
            "invalid_client_metadata",
            "The body is not client metadata in JSON",
        )
    })?;
    let sent = registration.redirect_uris.clone();
    let client = accept(registration, &gateway.own_origin, gateway.now())?;
    if let Some(known) = gateway.store.register_again(&client).await? {
        return Ok((known, sent));
    }
    let counted = gateway.rates.registrations.count(visitor);
    counted.map_err(OAuthError::too_often)?;
    let client = gateway.store.register(client).await?;
    tracing::info!(client = client.id, "a client registered");
    Ok((client, sent))
}

fn accept(registration: Registration, own: &OwnOrigin, now: u64) -> Result<Client, OAuthError> {
    let uris = registration.redirect_uris;
    if uris.is_empty() || uris.len() > MAX_REDIRECT_COUNT {
        let text = format!("There have to be 1 to {MAX_REDIRECT_COUNT} redirect URIs");
        return Err(invalid("invalid_redirect_uri", &text));
    }
    if uris.iter().map(String::len).sum::<usize>() > MAX_REDIRECTS_LENGTH {
        let text =
            format!("The redirect URIs are longer than {MAX_REDIRECTS_LENGTH} bytes together");
        return Err(invalid("invalid_redirect_uri", &text));
    }
    for uri in &uris {
        redirect::check(uri, own)
            .map_err(|error| invalid("invalid_redirect_uri", &error.to_string()))?;
    }
    let mut registered = Vec::new();
    for uri in uris.iter().map(|uri| redirect::registered(uri)) {
        if !registered.contains(&uri) {
            registered.push(uri);
        }
    }
    let lacks = |given: &Option<Vec<String>>, word: &str| {
        given
            .as_ref()
            .is_some_and(|words| !words.iter().any(|given| given == word))
    };
    if lacks(&registration.grant_types, "authorization_code")
        || lacks(&registration.response_types, "code")
    {
        let text = "Only the authorization code grant is to be had";
        return Err(invalid("invalid_client_metadata", text));
    }
    Ok(Client {
        id: crypto::id(),
        name: registration
            .client_name
            .map(|name| readable(&name))
            .filter(|name| !name.is_empty()),
        website: registration.client_uri.filter(|uri| is_website(uri)),
        redirect_uris: registered,
        registered_at: now,
        used: false,
    })
}

fn invalid(error: &'static str, description: &str) -> OAuthError {
    OAuthError::bad_request(error, description)
}

/// Removes characters that could disguise a name: control characters, line breaks, marks that change
/// the writing direction, and characters without width.
fn readable(name: &str) -> String {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c,
                '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    let visible: String = name.chars().filter(|c| !invisible(*c)).collect();
    let words = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(MAX_NAME).collect()
}

fn is_website(uri: &str) -> bool {
    uri.len() <= MAX_WEBSITE && uri.starts_with("https://") && redirect::check_text(uri).is_ok()
}

fn describe(client: &Client, redirect_uris: &[String]) -> serde_json::Value {
    let mut described = json!({
        "client_id": client.id,
        "client_id_issued_at": client.registered_at,
        "redirect_uris": redirect_uris,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    });
    for (name, value) in [
        ("client_name", &client.name),
        ("client_uri", &client.website),
    ] {
        if let Some(value) = value {
            described[name] = json!(value);
        }
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(registration: serde_json::Value) -> Result<Client, &'static str> {
        let registration = serde_json::from_value(registration).map_err(|_| "not metadata")?;
        let own = OwnOrigin::new(&"https://gateway.example".parse().unwrap());
        accept(registration, &own, 0).map_err(|error| error.error)
    }

    #[test]
    fn t40_registration_of_wrong_shape_is_rejected() {
        let good = json!({"redirect_uris": ["http://127.0.0.1/cb"], "scope": "x", "jwks_uri": "y"});
        assert_eq!(
            accepted(good).unwrap().redirect_uris,
            ["http://127.0.0.1/cb"]
        );
        let many = vec!["https://c.example/"; MAX_REDIRECT_COUNT + 1];
        let long = vec![format!("https://c.example/{}", "x".repeat(2000)); 3];
        for (bad, error) in [
            (json!({}), "not metadata"),
            (json!([]), "not metadata"),
            (
                json!({"redirect_uris": "https://c.example/"}),
                "not metadata",
            ),
            (json!({"redirect_uris": [7]}), "not metadata"),
            (json!({"redirect_uris": []}), "invalid_redirect_uri"),
            (json!({"redirect_uris": many}), "invalid_redirect_uri"),
            (json!({"redirect_uris": long}), "invalid_redirect_uri"),
            (
                json!({"redirect_uris": ["https://c.example/", "javascript:x"]}),
                "invalid_redirect_uri",
            ),
            (
                json!({"redirect_uris": ["https://c.example/"], "grant_types": ["client_credentials"]}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": ["https://c.example/"], "response_types": ["token"]}),
                "invalid_client_metadata",
            ),
        ] {
            let text = bad.to_string();
            assert_eq!(accepted(bad).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn t8_client_name_is_cleaned_and_website_must_be_https() {
        let named = |name: &str, uri: &str| {
            let client = json!({"redirect_uris": ["https://c.example/"], "client_name": name, "client_uri": uri});
            let client = accepted(client).unwrap();
            (client.name, client.website)
        };
        for (name, kept) in [
            ("Claude", Some("Claude")),
            ("a\u{202e}b\u{200b}\r\n\tc", Some("abc")),
            ("  a  \u{a0} b ", Some("a b")),
            ("\u{200b}", None),
        ] {
            assert_eq!(named(name, "").0.as_deref(), kept, "{name:?}");
        }
        assert_eq!(named(&"x".repeat(10_000), "").0.unwrap().len(), MAX_NAME);
        assert!(named("", "https://c.example/about").1.is_some());
        for uri in [
            "http://c.example",
            "javascript:alert(1)",
            "data:x",
            &format!("https://c/{}", "x".repeat(300)),
        ] {
            assert_eq!(named("", uri).1, None, "{uri}");
        }
    }
}
