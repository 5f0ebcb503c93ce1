//! `/account/consents`: lists and revokes the consents of a user.
//!
//! An access token shows and revokes the consents of its own client only. One client must not see
//! or cut off another.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

use super::response::{self, Gateway, OAuthError};
use crate::bearer;

/// `GET /account/consents`.
pub(super) async fn list(gateway: Gateway, headers: HeaderMap, uri: Uri) -> Response {
    let caller = match bearer::authenticate(&gateway, &headers, &uri).await {
        Ok(caller) => caller,
        Err(refusal) => return response::refuse(&refusal),
    };
    let session = caller.session();
    let found = gateway
        .store
        .consents(session.user.id(), session.client.clone(), gateway.now())
        .await;
    match found {
        Ok(consents) => response::json(StatusCode::OK, &json!({ "consents": consents })),
        Err(error) => OAuthError::from(error).into_response(),
    }
}

/// `DELETE /account/consents/{id}`: revokes the consent and ends all its sessions.
pub(super) async fn revoke(
    gateway: Gateway,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let caller = match bearer::authenticate(&gateway, &headers, &uri).await {
        Ok(caller) => caller,
        Err(refusal) => return response::refuse(&refusal),
    };
    let session = caller.session();
    let (user, client) = (session.user.id(), session.client.clone());
    let revoked = response::finish(&gateway.clone(), async move {
        end_consent(&gateway, id, user, client).await
    })
    .await;
    match revoked {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => error.into_response(),
    }
}

/// Ends the consent and its sessions. Returns false if there is no such consent.
async fn end_consent(
    gateway: &Gateway,
    id: String,
    user: String,
    client: String,
) -> Result<bool, OAuthError> {
    let ended = gateway
        .store
        .revoke_consent(id.clone(), user, client)
        .await?;
    let Some(sessions) = ended else {
        return Ok(false);
    };
    for session in &sessions {
        gateway.sessions.record_end(session);
    }
    let sessions = sessions.len();
    tracing::info!(consent = id, sessions, "a consent was revoked");
    Ok(true)
}
