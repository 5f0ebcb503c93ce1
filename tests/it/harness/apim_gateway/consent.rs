//! Its consent page and the cookies that store a browser's consent.
//!
//! The deployment's cookies have the prefix `__Host-`, which browsers reject over plain HTTP.

use axum::{
    extract::{Query, State},
    http::{
        HeaderMap, HeaderName, StatusCode,
        header::{COOKIE, ORIGIN, REFERER, SET_COOKIE},
    },
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{Gateway, Parameters, Shared, guid, redirect};

const STATE: &str = "MCP_CONSENT_STATE";
const APPROVED: &str = "MCP_APPROVED_CLIENTS";
const DENIED: &str = "MCP_DENIED_CLIENTS";

const YEAR: u32 = 31_536_000;

/// Returns true if this browser has consented to the client before. Trusts the cookie, as the
/// deployment does.
pub(super) fn allowed(headers: &HeaderMap, asked: &Parameters) -> bool {
    remembered(headers, APPROVED).contains(&key(asked))
}

/// Returns the state for which this browser has seen the page.
pub(super) fn state(headers: &HeaderMap) -> Option<String> {
    let state = cookie(headers, STATE)?;
    state["state"].as_str().map(str::to_owned)
}

/// Returns the cookie that deletes the state.
pub(super) fn no_state() -> String {
    set(STATE, "", 0)
}

/// Serves the page, and stores the state in a cookie as soon as it does.
pub(super) async fn page(
    State(gateway): Shared,
    Query(asked): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    if allowed(&headers, &asked) {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&asked)
            .finish();
        return redirect(&format!("{}/authorize?{query}", gateway.origin));
    }
    if remembered(&headers, DENIED).contains(&key(&asked)) {
        return refused("You have previously denied access to this application.");
    }
    let client = gateway.client(of(&asked, "client_id"));
    let client = client.filter(|client| {
        let registered = client["redirect_uris"].as_array().into_iter().flatten();
        let asked = asked.get("redirect_uri").map(String::as_str);
        registered.into_iter().any(|uri| uri.as_str() == asked)
    });
    let Some(client) = client else {
        return refused("Client Not Found");
    };
    let csrf = guid().replace('-', "");
    gateway.cache().keep(format!("CSRF-{csrf}"), &key(&asked));
    let state = json!({ "state": asked.get("state"), "clientId": asked.get("client_id") });
    let cookie = set(STATE, &BASE64_STANDARD.encode(state.to_string()), 900);
    // The deployment allows `https:`, because its Entra uses it.
    let entra = gateway.entra.split("/oauth2").next().unwrap_or_default();
    let policy = format!(
        "default-src 'self'; style-src 'unsafe-inline'; script-src 'none'; object-src 'none'; \
         base-uri 'self'; form-action 'self' https: {}",
        url::Url::parse(entra)
            .expect("a URL")
            .origin()
            .ascii_serialization()
    );
    let headers = [
        (SET_COOKIE, cookie.as_str()),
        (HeaderName::from_static("content-security-policy"), &policy),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (HeaderName::from_static("cache-control"), "no-store"),
    ];
    (headers, Html(form(&client, &asked, &csrf))).into_response()
}

fn form(client: &Value, asked: &Parameters, csrf: &str) -> String {
    let hidden: String = [
        "client_id",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
    ]
    .iter()
    .map(|name| {
        format!(
            "<input type=hidden name={name} value=\"{}\">",
            of(asked, name)
        )
    })
    .collect();
    let button = |action: &str, label: &str| {
        format!(
            "<form method=post action=/consent>{hidden}\
             <input type=hidden name=csrf_token value={csrf}>\
             <input type=hidden name=consent_action value={action}>\
             <button id={action}>{label}</button></form>"
        )
    };
    format!(
        "<!doctype html><title>Application Consent</title><h1>Application Access Request</h1>\
         <p>{}</p>{}{}",
        client["client_name"].as_str().unwrap_or_default(),
        button("allow", "Allow"),
        button("deny", "Deny"),
    )
}

/// Handles the user's decision.
pub(super) async fn answer(
    State(gateway): Shared,
    headers: HeaderMap,
    axum::Form(answer): axum::Form<Parameters>,
) -> Response {
    if !is_own(&gateway, &headers) || !redeems(&gateway, &answer) {
        return refused("Access denied.");
    }
    let remember = |name: &str| {
        let mut all = remembered(&headers, name);
        all.push(key(&answer));
        set(name, &BASE64_STANDARD.encode(json!(all).to_string()), YEAR)
    };
    if of(&answer, "consent_action") != "allow" {
        let mut denied = refused("You denied access to this application.");
        let cookie = remember(DENIED).parse().expect("a cookie");
        denied.headers_mut().append(SET_COOKIE, cookie);
        return denied;
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(
            answer
                .iter()
                .filter(|(name, _)| !["csrf_token", "consent_action"].contains(&name.as_str())),
        )
        .finish();
    let mut on = redirect(&format!("{}/authorize?{query}", gateway.origin));
    let cookie = remember(APPROVED).parse().expect("a cookie");
    on.headers_mut().append(SET_COOKIE, cookie);
    on
}

/// Returns true if the form was sent from its own page.
fn is_own(gateway: &Gateway, headers: &HeaderMap) -> bool {
    let from = headers.get(ORIGIN).or_else(|| headers.get(REFERER));
    let from = from.and_then(|value| value.to_str().ok());
    from.is_some_and(|from| from.starts_with(&gateway.origin))
}

/// Returns true if the form was served for this client. Each form is accepted once.
fn redeems(gateway: &Gateway, answer: &Parameters) -> bool {
    let mut cache = gateway.cache();
    let token = format!("CSRF-{}", of(answer, "csrf_token"));
    let shown = cache.find(&token) == Some(key(answer));
    cache.remove(&token);
    shown
}

fn key(asked: &Parameters) -> String {
    format!("{}:{}", of(asked, "client_id"), of(asked, "redirect_uri"))
}

fn of<'a>(asked: &'a Parameters, name: &str) -> &'a str {
    asked.get(name).map(String::as_str).unwrap_or_default()
}

fn remembered(headers: &HeaderMap, name: &str) -> Vec<String> {
    let list = cookie(headers, name).unwrap_or_default();
    serde_json::from_value(list).unwrap_or_default()
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<Value> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    let value = cookies.split("; ").find_map(|cookie| {
        let (its_name, value) = cookie.split_once('=')?;
        (its_name == name).then_some(value)
    })?;
    serde_json::from_slice(&BASE64_STANDARD.decode(value).ok()?).ok()
}

fn set(name: &str, value: &str, seconds: u32) -> String {
    format!("{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax")
}

fn refused(why: &str) -> Response {
    (
        StatusCode::FORBIDDEN,
        Html(format!("<!doctype html><p>{why}")),
    )
        .into_response()
}
