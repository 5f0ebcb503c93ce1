//! `POST /revoke` (RFC 7009): ends the session a token belongs to, with all its tokens.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

use super::response::{self, Gateway, OAuthError};
use crate::bearer;
use crate::crypto::Digest;
use crate::parameters::Parameters;
use crate::sessions::SessionError;

pub(super) async fn revoke(gateway: Gateway, headers: HeaderMap, body: Body) -> Response {
    let body = response::body(&headers, "application/x-www-form-urlencoded", body).await;
    let revoked = match body {
        Ok(body) => {
            response::finish(&gateway.clone(), async move {
                try_revoke(&gateway, &body).await
            })
            .await
        }
        Err(error) => Err(error),
    };
    match revoked {
        // An unknown token counts as revoked (RFC 7009 §2.2).
        Ok(()) => response::json(StatusCode::OK, &serde_json::json!({})),
        Err(error) => error.into_response(),
    }
}

async fn try_revoke(gateway: &Gateway, body: &[u8]) -> Result<(), OAuthError> {
    let form = Parameters::parse(body)?;
    let token = form.require("token")?;
    let session = match bearer::session_of(gateway, token) {
        Some(session) => Some(session),
        None => {
            gateway
                .store
                .session_of_refresh_token(Digest::of(token), gateway.now())
                .await?
        }
    };
    let Some(id) = session else { return Ok(()) };
    let session = match gateway.sessions.find(&id).await {
        Ok(session) => session,
        Err(SessionError::Ended) => return Ok(()),
        Err(lapse) => return Err(lapse.into()),
    };
    if form
        .get("client_id")
        .is_some_and(|client| client != session.client)
    {
        let text = "The token was issued to another client";
        return Err(OAuthError::bad_request("invalid_client", text));
    }
    tracing::info!(session = id, "a session was revoked");
    Ok(gateway.sessions.end(&id).await?)
}
