//! The page `/devicelogin`, where a user types the code of a device and signs in.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use crate::authorization_request::{AuthorizationRequest, Delivery};
use crate::browser::Browser;
use crate::claims_request::ClaimsRequest;
use crate::device::PAGE;
use crate::device_codes::DeviceRequest;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::flow;
use crate::page::{self, DeviceCode};
use crate::parameters::Parameters;
use crate::request_trace::RequestTrace;
use crate::sign_in::SignIn;

const WRONG_CODE: &str = "That code didn’t work. Check the code and try again.";

/// Shows the form. `otc` in the query prefills the code.
pub(crate) async fn get(RawQuery(query): RawQuery) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    let typed = parameters.ok().and_then(|all| all.owned("otc"));
    code_page(&typed.unwrap_or_default(), None)
}

pub(crate) async fn post(
    State(entra): State<Arc<Entra>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let trace = RequestTrace::new(&headers, entra.clock.now());
    let parameters = match Parameters::parse(&body) {
        Ok(parameters) => parameters,
        Err(fault) => return page::show_fault(&trace, &fault),
    };
    let typed = parameters.optional("otc").unwrap_or_default();
    let Some((user_code, request)) = entra.devices.pending(typed, entra.clock.unix()) else {
        return code_page(typed, Some(WRONG_CODE));
    };
    sign_in(&entra, &trace, &headers, user_code, request)
        .unwrap_or_else(|fault| page::show_fault(&trace, &fault))
}

fn sign_in(
    entra: &Entra,
    trace: &RequestTrace,
    headers: &HeaderMap,
    user_code: String,
    device_request: DeviceRequest,
) -> Result<Response, Fault> {
    let authority = entra.authority(&device_request.authority)?;
    let app = authority.client(&device_request.client_id.to_string())?;
    let request = AuthorizationRequest {
        authority: device_request.authority,
        client_id: device_request.client_id,
        delivery: Delivery::Device(user_code),
        scope: device_request.scope,
        resource: device_request.resource,
        prompt: None,
        login_hint: None,
        claims: ClaimsRequest::default(),
    };
    let browser = Browser::read(entra, headers);
    let next = flow::begin(&request, &browser, authority.allowed_users(app));
    let sign_in = SignIn {
        entra,
        trace,
        authority,
        app,
        browser,
        request,
        started: entra.clock.unix(),
    };
    Ok(sign_in.run(next))
}

fn code_page(typed: &str, problem: Option<&'static str>) -> Response {
    page::show(
        StatusCode::OK,
        &DeviceCode {
            action: PAGE,
            typed,
            problem,
        },
    )
}
