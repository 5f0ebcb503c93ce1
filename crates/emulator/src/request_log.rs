//! The last requests, for people who look at the emulator; and, at the same rim, throttling and
//! outages, which hit a request before anything looks at it.
//!
//! Invariant: what is kept of a request is its method, its path and its outcome, so no secret:
//! these travel in queries, bodies and headers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::cors;
use crate::endpoint::{Endpoint, RequestKind};
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::Disruption;
use crate::page;
use crate::request_trace::{AadstsCode, RequestTrace};

/// How many are records.
const MAX_RECORDS: usize = 50;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    pub(crate) at: SystemTime,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) status: StatusCode,
    /// The AADSTS number, if it was refused with one.
    pub(crate) aadsts: Option<u32>,
}

/// The last requests.
#[derive(Default)]
pub(crate) struct RequestLog(Mutex<VecDeque<RequestRecord>>);

impl RequestLog {
    /// Newest first.
    pub(crate) fn latest(&self) -> Vec<RequestRecord> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().rev().cloned().collect()
    }

    fn record(&self, record: RequestRecord) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == MAX_RECORDS {
            records.pop_front();
        }
        records.push_back(record);
    }
}

/// Around every endpoint but those of `/admin`.
pub(crate) async fn watch(
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
