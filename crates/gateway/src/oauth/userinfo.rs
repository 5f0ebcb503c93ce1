//! `GET /userinfo`: who signed in, for whoever holds a session key.

use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

use super::answer::{self, App};
use crate::access;

pub(super) async fn userinfo(app: App, headers: HeaderMap, uri: Uri) -> Response {
    match access::authenticate(&app, &headers, &uri).await {
        Ok(caller) => {
            let person = &caller.session().person;
            let body = json!({
                "sub": person.id(),
                "name": person.name,
                "preferred_username": person.preferred_username,
                "tid": person.tid,
                "oid": person.oid,
            });
            answer::json(StatusCode::OK, &body)
        }
        Err(refusal) => answer::refuse(&refusal),
    }
}
