//! The authorization server: one file per endpoint.
//!
//! A sign-in passes these modules: [`authorize`] checks the request. [`consent`] asks the user.
//! [`sign_in`] sends the browser to Entra. [`callback`] takes the response and issues a code.
//! [`token`] redeems the code for an access token.

mod account;
mod authorize;
mod callback;
mod consent;
mod cross_site;
mod metadata;
mod protected_resource;
mod redirect_response;
mod register;
mod request;
mod response;
mod revoke;
mod sign_in;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::cors;
use crate::gateway_state::GatewayState;

pub(crate) use protected_resource::metadata_url;

/// Returns the authorization server's endpoints.
pub(crate) fn router() -> Router<Arc<GatewayState>> {
    Router::new()
        .route(
            "/.well-known/oauth-authorization-server",
            cors::public(get(metadata::metadata), "GET, OPTIONS"),
        )
        .route(
            "/.well-known/oauth-protected-resource",
            cors::public(get(protected_resource::metadata), "GET, OPTIONS"),
        )
        .route(
            "/.well-known/oauth-protected-resource/",
            cors::public(get(protected_resource::metadata), "GET, OPTIONS"),
        )
        .route(
            "/.well-known/oauth-protected-resource/{*path}",
            cors::public(get(protected_resource::metadata), "GET, OPTIONS"),
        )
        .route(
            "/register",
            cors::public(post(register::register), "POST, OPTIONS"),
        )
        .route("/token", cors::public(post(token::token), "POST, OPTIONS"))
        .route(
            "/revoke",
            cors::public(post(revoke::revoke), "POST, OPTIONS"),
        )
        .route(
            "/userinfo",
            cors::public(get(userinfo::userinfo), "GET, OPTIONS"),
        )
        .route(
            "/account/consents",
            cors::public(get(account::list), "GET, OPTIONS"),
        )
        .route(
            "/account/consents/{id}",
            cors::public(delete(account::revoke), "DELETE, OPTIONS"),
        )
        .route("/authorize", get(authorize::authorize))
        .route("/consent", post(consent::answer))
        .route("/oauth-callback", get(callback::callback))
}
