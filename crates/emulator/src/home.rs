//! `/`, which describes the tenants, and `/error?code=`, the `error_uri` of error responses.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;

use crate::aadsts::Aadsts;
use crate::entra::Entra;
use crate::page::{self, Home, Notice};
use crate::parameters::Parameters;

pub(crate) async fn home(State(entra): State<Arc<Entra>>) -> Response {
    let tenants = entra.cloud.tenants().iter();
    let page = Home {
        tenants: tenants
            .filter(|tenant| !tenant.users.is_empty())
            .map(|tenant| (tenant, entra.issuer(tenant)))
            .collect(),
    };
    page::show(StatusCode::OK, &page)
}

pub(crate) async fn error(RawQuery(query): RawQuery) -> Response {
    let code = Parameters::parse(query.unwrap_or_default().as_bytes())
        .ok()
        .and_then(|parameters| parameters.optional("code")?.parse::<u32>().ok());
    match code {
        Some(code) => page::show(
            StatusCode::OK,
            &Notice {
                heading: &format!("AADSTS{code}"),
                text: Aadsts::numbered(code).map_or(
                    "The emulator uses Entra’s own numbers. Look this one up in Microsoft’s \
                     list of authentication and authorization error codes.",
                    |row| row.text,
                ),
            },
        ),
        None => page::show(
            StatusCode::BAD_REQUEST,
            &Notice {
                heading: "Which error?",
                text: "Add ?code= and the digits of an AADSTS number.",
            },
        ),
    }
}
