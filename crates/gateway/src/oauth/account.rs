//! `/account/consents`: what a person allowed the client that asks, and taking it back.
//!
//! A session key shows and revokes the consents of its own client only: one client must not see
//! or cut off another.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

use super::answer::{self, App, OAuthError};
use crate::access;

/// `GET /account/consents`.
pub(super) async fn list(app: App, headers: HeaderMap, uri: Uri) -> Response {
    let caller = match access::authenticate(&app, &headers, &uri).await {
        Ok(caller) => caller,
        Err(refusal) => return answer::refuse(&refusal),
    };
    let session = caller.session();
    let found = app
        .store
        .consents(session.person.id(), session.client.clone(), app.now())
        .await;
    match found {
        Ok(consents) => answer::json(StatusCode::OK, &json!({ "consents": consents })),
        Err(error) => OAuthError::from(error).into_response(),
    }
}

/// `DELETE /account/consents/{id}`: the consent and every session it carries.
pub(super) async fn revoke(
    app: App,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let caller = match access::authenticate(&app, &headers, &uri).await {
        Ok(caller) => caller,
        Err(refusal) => return answer::refuse(&refusal),
    };
    let session = caller.session();
    let (person, client) = (session.person.id(), session.client.clone());
    let revoked = answer::finish(&app.clone(), async move {
        end_consent(&app, id, person, client).await
    })
    .await;
    match revoked {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => error.into_response(),
    }
}

/// Whether there was such a consent.
async fn end_consent(
    app: &App,
    id: String,
    person: String,
    client: String,
) -> Result<bool, OAuthError> {
    let ended = app.store.revoke_consent(id.clone(), person, client).await?;
    let Some(sessions) = ended else {
        return Ok(false);
    };
    for session in &sessions {
        app.sessions.note_end(session);
    }
    let sessions = sessions.len();
    tracing::info!(consent = id, sessions, "a consent was revoked");
    Ok(true)
}
