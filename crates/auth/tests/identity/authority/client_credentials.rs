//! The client credentials grant (RFC 6749 §4.4).

use axum::Json;
use axum::response::{IntoResponse, Response};

use super::{Authority, Parameters};

pub(super) fn issue(authority: &Authority, asked: &Parameters) -> Response {
    let mut answer = authority.issue("a-program", asked);
    answer.as_object_mut().unwrap().remove("refresh_token");
    Json(answer).into_response()
}
