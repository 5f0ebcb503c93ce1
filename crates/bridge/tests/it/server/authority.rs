//! The authorization server of the recording server: it knows whoever the test says.

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Record;

pub(super) fn routes(address: SocketAddr) -> Router<Record> {
    let base = format!("http://{address}");
    let resource = json!({ "resource": format!("{base}/mcp"), "authorization_servers": [base] });
    let server = json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "registration_endpoint": format!("{base}/register"),
        "userinfo_endpoint": format!("{base}/userinfo"),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    });
    Router::new()
        .route(
            "/.well-known/oauth-protected-resource/mcp",
            get(async || Json(resource)),
        )
        .route(
            "/.well-known/oauth-authorization-server",
            get(async || Json(server)),
        )
        .route("/register", post(register))
        .route("/token", post(token))
        .route("/userinfo", get(userinfo))
}

async fn register(Json(mut client): Json<Value>) -> (StatusCode, Json<Value>) {
    client["client_id"] = "postern-here".into();
    (StatusCode::CREATED, Json(client))
}

async fn token(State(record): State<Record>) -> Json<Value> {
    let mut inner = record.0.lock().unwrap();
    let token = format!("token-of-{}", inner.person);
    inner.token = Some(token.clone());
    Json(json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }))
}

async fn userinfo(State(record): State<Record>) -> Json<Value> {
    let person = record.0.lock().unwrap().person.clone();
    Json(json!({ "sub": person, "name": person, "preferred_username": person }))
}
