//! Device codes (RFC 8628).

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Authority, Parameters, Shared, refusal};

/// The behaviour of device codes.
pub(crate) struct DeviceCodes {
    /// Additional members of the device authorization response.
    pub(crate) answer: Value,
    /// The errors of the next polls, in order. Then the user has approved.
    pub(crate) errors: Vec<&'static str>,
    /// Clients that may not request one.
    pub(crate) barred: Vec<&'static str>,
    /// True if clients can be registered for them.
    pub(crate) registrable: bool,
}

impl DeviceCodes {
    pub(super) fn usual() -> Self {
        Self {
            answer: json!({}),
            errors: Vec::new(),
            barred: Vec::new(),
            registrable: true,
        }
    }
}

impl Authority {
    /// Adds the endpoint to both metadata documents.
    pub(crate) fn offer_device_codes(&self) {
        let endpoint = format!("{}/device_authorization", self.origin);
        self.set(|b| {
            for metadata in [&mut b.metadata, &mut b.entra] {
                metadata["device_authorization_endpoint"] = json!(endpoint);
            }
        });
    }
}

pub(super) async fn authorization(State(authority): Shared, body: Bytes) -> Response {
    let asked: Parameters = url::form_urlencoded::parse(&body).into_owned().collect();
    authority.note("device", &asked);
    let client = &*asked["client_id"];
    if authority.behave(|b| b.device.barred.contains(&client)) {
        return refusal("unauthorized_client");
    }
    let mut answer = json!({
        "device_code": "device-code-1", "user_code": "WDJB-MJHT", "interval": 1, "expires_in": 900,
        "verification_uri": format!("{}/device", authority.origin),
    });
    let more = authority.behave(|b| b.device.answer.clone());
    for (name, value) in more.as_object().unwrap() {
        answer[name] = value.clone();
    }
    Json(answer).into_response()
}

pub(super) fn redeem(authority: &Authority, asked: &Parameters) -> Response {
    let mut error = None;
    authority.set(|b| {
        if !b.device.errors.is_empty() {
            error = Some(b.device.errors.remove(0));
        }
    });
    match error {
        Some("busy") => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(error) => refusal(error),
        None => {
            let promised = authority.asked("device").pop().unwrap();
            assert_eq!(asked["device_code"], "device-code-1");
            assert_eq!(asked["client_id"], promised["client_id"]);
            Json(authority.issue(&asked["client_id"], &promised)).into_response()
        }
    }
}
