//! The grants of applications and devices, and the credentials of confidential clients.

mod application;
mod assertion;
mod device;
mod federated;
mod on_behalf_of;

use emulator::demo;
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::harness::{Harness, replace};

/// Returns a token request of the gateway with its secret. The pairs work as in
/// [`Harness::authorize`].
fn gateway(harness: &Harness, grant: &[(&str, &str)]) -> RequestBuilder {
    gateway_at(harness, &demo::TENANT_ID.to_string(), grant)
}

/// Returns the same request through another authority.
fn gateway_at(harness: &Harness, authority: &str, grant: &[(&str, &str)]) -> RequestBuilder {
    let client = demo::GATEWAY_CLIENT_ID.to_string();
    let mut all = vec![
        ("client_id", client.as_str()),
        ("client_secret", demo::GATEWAY_SECRET),
    ];
    replace(&mut all, grant);
    harness.token_request(authority, &all)
}

async fn granted(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

/// Returns the scope for all granted permissions of "Contoso reports", which takes v1 tokens.
fn reports() -> String {
    format!("api://{}/.default", demo::REPORTS_CLIENT_ID)
}
