//! `/devicelogin`: the page where a person types the code of a device, and signs in for it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::DeviceRequest;
use crate::browser::Browser;
use crate::claims::request::ClaimsRequest;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::flow::{self, Request, Way};
use crate::page::{self, DeviceCode, Notice};
use crate::parameters::Parameters;
use crate::request_trace::Occurrence;
use crate::sign_in::SignIn;

const WRONG: &str = "That code didn’t work. Check the code and try again.";

/// Asks for the code; `otc` in the query is one that is typed already.
pub(crate) async fn get(RawQuery(query): RawQuery) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    let typed = parameters.ok().and_then(|all| all.owned("otc"));
    ask(&typed.unwrap_or_default(), None)
}

pub(crate) async fn post(
    State(entra): State<Arc<Entra>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let occurrence = Occurrence::new(&headers, entra.clock.now());
    let parameters = match Parameters::parse(&body) {
        Ok(parameters) => parameters,
        Err(fault) => return page::show_fault(&occurrence, &fault),
    };
    let typed = parameters.optional("otc").unwrap_or_default();
    let Some((user_code, request)) = entra.devices.pending(typed, entra.clock.unix()) else {
        return ask(typed, Some(WRONG));
    };
    sign_in(&entra, &occurrence, &headers, user_code, request)
        .unwrap_or_else(|fault| page::show_fault(&occurrence, &fault))
}

fn sign_in(
    entra: &Entra,
    occurrence: &Occurrence,
    headers: &HeaderMap,
    user_code: String,
    asked: DeviceRequest,
) -> Result<Response, Fault> {
    let authority = entra.authority(&asked.authority)?;
    let app = authority.client(&asked.client_id.to_string())?;
    let request = Request {
        authority: asked.authority,
        client_id: asked.client_id,
        way: Way::Device(user_code),
        scope: asked.scope,
        resource: asked.resource,
        prompt: None,
        login_hint: None,
        claims: ClaimsRequest::default(),
    };
    let browser = Browser::read(entra, headers);
    let next = flow::begin(&request, &browser, authority.people(app));
    let sign_in = SignIn {
        entra,
        occurrence,
        authority,
        app,
        browser,
        request,
        started: entra.clock.unix(),
    };
    Ok(sign_in.go(next))
}

fn ask(typed: &str, problem: Option<&'static str>) -> Response {
    page::show(StatusCode::OK, &DeviceCode { typed, problem })
}

/// What a person reads at the end who said yes.
pub(crate) fn granted(app: &str) -> Response {
    done(
        &format!("You have signed in to {app} on your device"),
        "You may now close this window.",
    )
}

/// And who said no.
pub(crate) fn declined(app: &str) -> Response {
    done(
        &format!("You did not sign in to {app}"),
        "Your device was told. You may now close this window.",
    )
}

fn done(heading: &str, text: &str) -> Response {
    page::show(StatusCode::OK, &Notice { heading, text })
}
