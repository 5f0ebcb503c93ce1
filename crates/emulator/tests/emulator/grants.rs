//! The grants of machines and devices, and the credentials of confidential clients.

mod application;
mod assertion;
mod device;
mod federated;
mod on_behalf_of;

use emulator::demo;
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::harness::{Harness, replace};

/// A request of the gateway with its secret; pairs as for [`World::authorize`].
fn gateway(harness: &Harness, grant: &[(&str, &str)]) -> RequestBuilder {
    gateway_at(harness, &demo::TENANT_ID.to_string(), grant)
}

/// The same, through another authority.
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

/// The scope for everything that was granted of "Contoso reports", which takes v1 tokens.
fn reports() -> String {
    format!("api://{}/.default", demo::REPORTS_CLIENT_ID)
}
