//! A layer around all endpoints except `/admin`. It records requests and applies throttling and
//! outages before a handler sees the request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use crate::cors;
use crate::endpoint::{Endpoint, RequestKind};
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::Disruption;
use crate::page;
use crate::request_log::RequestRecord;
use crate::request_trace::{AadstsCode, RequestTrace};

/// Handles one request.
pub(crate) async fn record_and_disrupt(
    State(entra): State<Arc<Entra>>,
    request: Request,
    next: Next,
) -> Response {
    let at = entra.clock.now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let endpoint = Endpoint::from_path(&path);
    let response = match entra.fault_rules.disruption(endpoint) {
        Some(disruption) => disrupted_response(&entra, request.headers(), endpoint, disruption),
        None => next.run(request).await,
    };
    entra.requests.record(RequestRecord {
        at,
        method,
        path,
        status: response.status(),
        aadsts: response
            .extensions()
            .get()
            .map(|AadstsCode(number)| *number),
    });
    response
}

fn disrupted_response(
    entra: &Entra,
    headers: &HeaderMap,
    endpoint: Option<Endpoint>,
    disruption: Disruption,
) -> Response {
    let trace = RequestTrace::new(headers, entra.clock.now());
    let kind = endpoint.map_or(RequestKind::Token, Endpoint::kind);
    let (number, retry_after) = match disruption {
        Disruption::Throttled(seconds) => (90_055, Some(seconds)),
        Disruption::Outage => (90_033, None),
    };
    let fault = Fault::listed(number, kind);
    let mut response = match endpoint {
        Some(Endpoint::Authorize) => page::show_fault(&trace, &fault),
        Some(Endpoint::Token | Endpoint::DeviceCode) | None => {
            trace.error_response(&entra.base, &fault)
        }
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, page::no_store());
    if let Some(seconds) = retry_after {
        out.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if headers.contains_key(header::ORIGIN) && endpoint != Some(Endpoint::Authorize) {
        cors::allow(out);
    }
    response
}
