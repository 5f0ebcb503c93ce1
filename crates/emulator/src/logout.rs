//! `/{tenant}/oauth2/v2.0/logout`, by GET and POST (OpenID Connect RP-Initiated Logout 1.0).
//!
//! Signs out the account of `logout_hint`, or all accounts of the browser. Redirects only to
//! registered redirect URIs.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use crate::browser::Browser;
use crate::entra::Entra;
use crate::page::{self, Notice};
use crate::parameters::{EncodedParameters, Parameters};
use crate::redirect::RedirectTarget;
use crate::request_trace::RequestTrace;

pub(crate) async fn logout(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    EncodedParameters(encoded): EncodedParameters,
) -> Response {
    let parsed = entra
        .authority(&tenant)
        .and_then(|_| Parameters::parse(&encoded));
    let parameters = match parsed {
        Ok(parameters) => parameters,
        Err(fault) => {
            return page::show_fault(&RequestTrace::new(&headers, entra.clock.now()), &fault);
        }
    };
    let mut browser = Browser::read(&entra, &headers);
    let hinted = parameters
        .optional("logout_hint")
        .and_then(|hint| entra.cloud.member_named(hint));
    browser.sign_out(hinted.map(|member| member.user.object_id));
    let mut response = post_logout_target(&entra, &parameters)
        .map_or_else(signed_out, |target| target.send(Vec::new()));
    browser.set_cookies(&entra, &mut response);
    response
}

fn post_logout_target(entra: &Entra, parameters: &Parameters) -> Option<RedirectTarget> {
    let wanted = parameters.optional("post_logout_redirect_uri")?;
    let target = |app| RedirectTarget::new(app, wanted, parameters.owned("state")).ok();
    let mut known = entra.cloud.registrations();
    known.find_map(|registration| target(registration.app))
}

fn signed_out() -> Response {
    let page = Notice {
        heading: "You signed out of your account",
        text: "It’s a good idea to close all browser windows.",
    };
    page::show(StatusCode::OK, &page)
}
