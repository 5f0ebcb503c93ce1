//! The authorization server of the recording server. The test chooses the account.

use std::collections::HashMap;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde_json::{Value, json};

use super::{Codes, Record};

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
            get(async move |State(record): State<Record>| {
                let mut server = server;
                let inner = record.0.lock().unwrap();
                if inner.codes != Codes::NotOffered {
                    server["device_authorization_endpoint"] = format!("{base}/codes").into();
                }
                if inner.consents.is_some() {
                    server["consents_endpoint"] = format!("{base}/consents").into();
                }
                Json(server)
            }),
        )
        .route("/register", post(register))
        .route("/codes", post(codes))
        .route("/token", post(token))
        .route("/userinfo", get(userinfo))
        .route("/consents", get(consents))
}

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

fn refusal(error: &str) -> (StatusCode, Json<Value>) {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error })))
}

async fn register(State(record): State<Record>, Json(mut client): Json<Value>) -> Answer {
    let is_for_codes = client["grant_types"].to_string().contains("device_code");
    if is_for_codes && record.0.lock().unwrap().codes == Codes::NotRegistered {
        return Err(refusal("invalid_client_metadata"));
    }
    client["client_id"] = "postern-here".into();
    Ok(Json(client))
}

async fn codes(State(record): State<Record>) -> Answer {
    if record.0.lock().unwrap().codes == Codes::NotRegistered {
        return Err(refusal("unauthorized_client"));
    }
    Ok(Json(json!({
        "device_code": "device", "user_code": "WDJB-MJHT", "expires_in": 600, "interval": 1,
        "verification_uri": "https://login.example/device",
        "verification_uri_complete": "https://login.example/device?code=WDJB-MJHT",
    })))
}

async fn token(State(record): State<Record>, Form(asked): Form<HashMap<String, String>>) -> Answer {
    let late = {
        let mut inner = record.0.lock().unwrap();
        inner.token_requests += 1;
        let given = asked.get("refresh_token");
        if given.is_some() && inner.interaction {
            return Err(refusal("interaction_required"));
        }
        if let (Some(_), Some(refusal)) = (given, &inner.refusal) {
            return Err((StatusCode::BAD_REQUEST, Json(refusal.clone())));
        }
        if let Some(given) = given {
            let renewals = inner.renewals.as_mut().unwrap();
            if *given != format!("refresh-{renewals}") {
                return Err(refusal("invalid_grant"));
            }
            *renewals += 1;
        }
        let is_late = inner.slow || given.is_some();
        is_late.then(|| (inner.hanging.clone(), inner.released.subscribe()))
    };
    if let Some((hanging, mut released)) = late {
        hanging.send_modify(|(begun, _)| *begun += 1);
        released.wait_for(|released| *released).await.unwrap();
    }
    let mut inner = record.0.lock().unwrap();
    match inner.codes {
        _ if !asked.contains_key("device_code") => {}
        Codes::Approved => {}
        Codes::Refused(error) => return Err(refusal(error)),
        Codes::NotOffered | Codes::NotRegistered | Codes::Awaited => {
            return Err(refusal("authorization_pending"));
        }
    }
    let mut token = format!("token-of-{}", inner.person);
    let mut answer = json!({ "token_type": "Bearer", "expires_in": 3600 });
    if let Some(renewals) = inner.renewals {
        token = format!("{token}-{renewals}");
        answer["refresh_token"] = format!("refresh-{renewals}").into();
    }
    if inner.refused.is_some() {
        token = format!("{token}-{}", inner.token_requests);
    }
    answer["access_token"] = token.clone().into();
    inner.token = Some(token);
    if !inner.insists {
        inner.scope = None;
    }
    Ok(Json(answer))
}

async fn userinfo(State(record): State<Record>) -> Json<Value> {
    let person = record.0.lock().unwrap().person.clone();
    Json(json!({ "sub": person, "name": person, "preferred_username": person }))
}

async fn consents(State(record): State<Record>) -> Json<Value> {
    let (ids, hides) = {
        let inner = record.0.lock().unwrap();
        (inner.consents.clone().unwrap(), inner.hides_consents)
    };
    if hides {
        std::future::pending::<()>().await;
    }
    let consents = ids
        .into_iter()
        .map(|id| json!({ "id": id, "client_id": "postern-here", "server": "one", "scopes": [] }));
    Json(json!({ "consents": consents.collect::<Vec<_>>() }))
}
