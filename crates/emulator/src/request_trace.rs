//! The ids and the time of a request, which Entra includes in error responses for its support.
//!
//! Owns: the JSON error response.

use std::time::SystemTime;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use crate::fault::Fault;

/// The header with the client's id of the request.
const CLIENT_REQUEST_ID: &str = "client-request-id";
/// The header with Entra's id of the request.
const REQUEST_ID: &str = "x-ms-request-id";

/// A response extension with the AADSTS number of an error, for the request log.
#[derive(Clone, Copy)]
pub(crate) struct AadstsCode(pub(crate) u32);

/// The ids and the time of one request.
pub(crate) struct RequestTrace {
    trace_id: Uuid,
    correlation_id: Uuid,
    at: SystemTime,
}

impl RequestTrace {
    /// Creates the ids. The correlation id is the client's, if the request has one.
    pub(crate) fn new(headers: &HeaderMap, at: SystemTime) -> Self {
        let sent = headers
            .get(CLIENT_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        Self {
            trace_id: Uuid::new_v4(),
            correlation_id: sent.unwrap_or_else(Uuid::new_v4),
            at,
        }
    }

    /// Returns the `error_description`.
    pub(crate) fn describe(&self, fault: &Fault) -> String {
        format!(
            "AADSTS{}: {fault} Trace ID: {} Correlation ID: {} Timestamp: {}",
            fault.code(),
            self.trace_id,
            self.correlation_id,
            self.timestamp(),
        )
    }

    /// Returns the details on an error page: label and value.
    pub(crate) fn details(&self) -> [(&'static str, String); 3] {
        [
            ("Request Id", self.trace_id.to_string()),
            ("Correlation Id", self.correlation_id.to_string()),
            ("Timestamp", self.timestamp()),
        ]
    }

    /// Returns the error response of the token endpoint and of other JSON endpoints.
    pub(crate) fn error_response(&self, base: &str, fault: &Fault) -> Response {
        self.error_response_as(base, fault, fault.error())
    }

    /// Returns the same with another OAuth `error`.
    pub(crate) fn error_response_as(
        &self,
        base: &str,
        fault: &Fault,
        error: &'static str,
    ) -> Response {
        tracing::info!(code = fault.code(), error, "returned an error response");
        let envelope = Envelope {
            error,
            error_description: self.describe(fault),
            error_codes: [fault.code()],
            timestamp: self.timestamp(),
            trace_id: self.trace_id,
            correlation_id: self.correlation_id,
            error_uri: error_uri(base, fault),
            suberror: fault.suberror(),
            claims: fault.claims(),
        };
        let mut response = (fault.status(), Json(envelope)).into_response();
        self.add_request_id(response.headers_mut());
        response.extensions_mut().insert(AadstsCode(fault.code()));
        response
    }

    /// Adds the request id to the headers of a response.
    pub(crate) fn add_request_id(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.trace_id.to_string()) {
            headers.insert(REQUEST_ID, value);
        }
    }

    fn timestamp(&self) -> String {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        OffsetDateTime::from(self.at)
            .format(format)
            .unwrap_or_default()
    }
}

/// Returns the URL of the page that explains a fault.
pub(crate) fn error_uri(base: &str, fault: &Fault) -> String {
    format!("{base}/error?code={}", fault.code())
}

#[derive(Serialize)]
struct Envelope {
    error: &'static str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: Uuid,
    correlation_id: Uuid,
    error_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderMap;

    use super::RequestTrace;
    use crate::fault::Fault;

    #[test]
    fn description_contains_number_ids_and_time() {
        let mut headers = HeaderMap::new();
        let id = "7f3c0c1e-52c7-4c0f-8a55-6f4f0a1c2d01";
        headers.insert("client-request-id", id.parse().unwrap());
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let text = RequestTrace::new(&headers, at).describe(&Fault::CodeRedeemed);
        assert!(
            text.starts_with("AADSTS54005: OAuth2 Authorization code"),
            "{text}"
        );
        assert!(
            text.ends_with(&format!(
                "Correlation ID: {id} Timestamp: 2027-01-15 08:00:00Z"
            )),
            "{text}"
        );
    }
}
