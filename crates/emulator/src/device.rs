//! The device authorization grant (RFC 8628). `/{tenant}/oauth2/v2.0/devicecode` issues a device
//! code and a user code. The user types the user code on [`page`]; the device polls with the device
//! code.
//!
//! Like Entra, the emulator never returns `slow_down` and has no `verification_uri_complete`.

pub(crate) mod page;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde::Serialize;

use crate::cors;
use crate::device_codes::{self, DeviceRequest};
use crate::endpoint::RequestKind;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::Attempt;
use crate::page::no_store;
use crate::parameters::Parameters;
use crate::request_trace::RequestTrace;
use crate::scope::Scopes;

/// The path of the page where users type the code.
pub(crate) const PAGE: &str = "/devicelogin";
/// The polling interval in seconds.
const INTERVAL: u64 = 5;

/// The device authorization response (RFC 8628 §3.2). It contains codes, so it has no `Debug`.
#[derive(Serialize)]
struct DeviceAuthorizationResponse {
    user_code: String,
    device_code: String,
    verification_uri: String,
    expires_in: u64,
    interval: u64,
    message: String,
}

pub(crate) async fn post(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let trace = RequestTrace::new(&headers, entra.clock.now());
    let mut response = match authorize_device(&entra, &tenant, &body) {
        Ok(authorization) => Json(authorization).into_response(),
        Err(fault) => trace.error_response(&entra.base, &fault),
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, no_store());
    cors::allow(out);
    response
}

fn authorize_device(
    entra: &Entra,
    tenant: &str,
    body: &[u8],
) -> Result<DeviceAuthorizationResponse, Fault> {
    let parameters = Parameters::parse(body)?;
    let authority = entra.authority(tenant)?;
    let app = authority.client(parameters.required("client_id")?)?;
    let scope = parameters.required("scope")?;
    let resource = parameters.optional("resource");
    let scopes = Scopes::resolve(authority, app, scope, resource)?;
    entra.fault_rules.check(&Attempt {
        kind: RequestKind::DeviceCode,
        client: app.client_id,
        resources: scopes.resources(),
        session: None,
    })?;
    let request = DeviceRequest {
        authority: authority.segment(),
        client_id: app.client_id,
        scope: scope.to_owned(),
        resource: resource.map(str::to_owned),
    };
    let pair = entra.devices.issue(request, entra.clock.unix());
    tracing::info!(client = %app.client_id, "issued a device code");
    let verification_uri = format!("{}{PAGE}", entra.base);
    Ok(DeviceAuthorizationResponse {
        message: format!(
            "To sign in, use a web browser to open the page {verification_uri} and enter the code \
             {} to authenticate.",
            pair.user_code
        ),
        user_code: pair.user_code,
        device_code: pair.device_code,
        verification_uri,
        expires_in: device_codes::LIFETIME,
        interval: INTERVAL,
    })
}
