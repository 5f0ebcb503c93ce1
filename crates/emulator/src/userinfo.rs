//! `/oidc/userinfo`: returns the user of a Graph token (OpenID Connect Core 1.0 §5.3). The endpoint
//! belongs to Graph, so its errors have Graph's form.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::claims;
use crate::claims::graph::GraphClaims;
use crate::cloud::Member;
use crate::cors;
use crate::entra::Entra;
use crate::page;

pub(crate) async fn userinfo(State(entra): State<Arc<Entra>>, headers: HeaderMap) -> Response {
    let mut response = match bearer(&headers).map(|token| user_claims(&entra, token)) {
        Some(Some(claims)) => Json(claims).into_response(),
        Some(None) => {
            error_response("Access token validation failure. Invalid audience or signature.")
        }
        None => error_response("Access token is empty."),
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, page::no_store());
    cors::allow(out);
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn user_claims(entra: &Entra, token: &str) -> Option<Value> {
    let token = GraphClaims::read(entra, token)?;
    let Member { tenant, user } = entra.cloud.member(token.oid)?;
    if !token.has_scope("openid") {
        return None;
    }
    let mut user_claims = json!({ "sub": claims::subject(tenant, token.appid, user.object_id) });
    if token.has_scope("profile") {
        let (given, family) = user.name.split_once(' ').unwrap_or((&user.name, ""));
        user_claims["name"] = json!(user.name);
        user_claims["given_name"] = json!(given);
        user_claims["family_name"] = json!(family);
    }
    if token.has_scope("email") {
        user_claims["email"] = json!(user.username);
    }
    Some(user_claims)
}

fn error_response(message: &str) -> Response {
    let body = json!({ "error": { "code": "InvalidAuthenticationToken", "message": message } });
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    let headers = [(header::WWW_AUTHENTICATE, challenge)];
    (StatusCode::UNAUTHORIZED, headers, Json(body)).into_response()
}
