//! `GET /userinfo`: the user of an access token.

use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

use super::response::{self, Gateway};
use crate::bearer;

pub(super) async fn userinfo(gateway: Gateway, headers: HeaderMap, uri: Uri) -> Response {
    match bearer::authenticate(&gateway, &headers, &uri).await {
        Ok(caller) => {
            let user = &caller.session().user;
            let body = json!({
                "sub": user.id(),
                "name": user.name,
                "preferred_username": user.preferred_username,
                "tid": user.tid,
                "oid": user.oid,
            });
            response::json(StatusCode::OK, &body)
        }
        Err(refusal) => response::refuse(&refusal),
    }
}
