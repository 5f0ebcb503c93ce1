//! The admin API over HTTP: `GET /admin/state`, `GET /admin/errors`, `POST /admin/commands`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::json;

use crate::aadsts::{Aadsts, AuthorizeResponse, TABLE};
use crate::admin::{Admin, Command, CommandError};
use crate::entra::Entra;
use crate::page;

pub(super) async fn state(State(entra): State<Arc<Entra>>) -> Response {
    uncached(Json(Admin::new(entra).state()))
}

pub(super) async fn errors() -> Response {
    let rows: Vec<Row> = TABLE.iter().map(Row::from_aadsts).collect();
    uncached(Json(rows))
}

/// Returns the whole state after the command, or `{"error": …}`.
pub(super) async fn command(
    State(entra): State<Arc<Entra>>,
    command: Result<Json<Command>, JsonRejection>,
) -> Response {
    let command = match command {
        Ok(Json(command)) => command,
        Err(rejection) => return error_response(rejection.status(), &rejection.body_text()),
    };
    match Admin::new(entra).apply(command).await {
        Ok(state) => uncached(Json(state)),
        Err(error) => error_response(status(&error), &error.to_string()),
    }
}

pub(super) fn status(error: &CommandError) -> StatusCode {
    match error {
        CommandError::UnknownNumber(_)
        | CommandError::WrongEndpoint { .. }
        | CommandError::UnknownUser(_)
        | CommandError::UnknownApp(_)
        | CommandError::UnknownRule(_) => StatusCode::BAD_REQUEST,
        CommandError::Keys(_) => StatusCode::CONFLICT,
        CommandError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn error_response(status: StatusCode, why: &str) -> Response {
    uncached((status, Json(json!({ "error": why }))))
}

fn uncached(response: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, page::no_store())], response).into_response()
}

/// An entry in the table of errors.
#[derive(Serialize)]
struct Row {
    number: u32,
    text: &'static str,
    /// `page`, or the `error` on the redirect.
    authorize: Option<&'static str>,
    /// The response of the token endpoint.
    token: Option<TokenRow>,
}

#[derive(Serialize)]
struct TokenRow {
    status: u16,
    error: &'static str,
    suberror: Option<&'static str>,
    claims: bool,
}

impl Row {
    fn from_aadsts(row: &Aadsts) -> Self {
        Self {
            number: row.number,
            text: row.text,
            authorize: row.authorize.map(|authorize| match authorize {
                AuthorizeResponse::Page => "page",
                AuthorizeResponse::Redirect(error) => error,
            }),
            token: row.token.map(|token| TokenRow {
                status: token.status,
                error: token.error,
                suberror: token.suberror,
                claims: token.claims,
            }),
        }
    }
}
