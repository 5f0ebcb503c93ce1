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

use crate::aadsts::Occasion;
use crate::cors;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::{Disturbance, Endpoint};
use crate::page;
use crate::request_trace::{Occurrence, Refusal};

/// How many are kept.
const KEPT: usize = 50;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: SystemTime,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) status: StatusCode,
    /// The AADSTS number, if it was refused with one.
    pub(crate) refusal: Option<u32>,
}

/// The last requests.
#[derive(Default)]
pub(crate) struct Requests(Mutex<VecDeque<Seen>>);

impl Requests {
    /// Newest first.
    pub(crate) fn last(&self) -> Vec<Seen> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().cloned().collect()
    }

    fn note(&self, seen: Seen) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(seen);
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
    let endpoint = Endpoint::of_path(&path);
    let response = match entra.switches.disturbance(endpoint) {
        Some(disturbance) => disturb(&entra, request.headers(), endpoint, disturbance),
        None => next.run(request).await,
    };
    entra.requests.note(Seen {
        at,
        method,
        path,
        status: response.status(),
        refusal: response.extensions().get().map(|Refusal(number)| *number),
    });
    response
}

fn disturb(
    entra: &Entra,
    headers: &HeaderMap,
    endpoint: Option<Endpoint>,
    disturbance: Disturbance,
) -> Response {
    let occurrence = Occurrence::new(headers, entra.clock.now());
    let occasion = endpoint.map_or(Occasion::Token, Endpoint::occasion);
    let (number, retry_after) = match disturbance {
        Disturbance::Throttled(seconds) => (90_055, Some(seconds)),
        Disturbance::Outage => (90_033, None),
    };
    let fault = Fault::listed(number, occasion);
    let mut response = match endpoint {
        Some(Endpoint::Authorize) => page::show_fault(&occurrence, &fault),
        Some(Endpoint::Token | Endpoint::DeviceCode) | None => {
            occurrence.refuse(&entra.base, &fault)
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
