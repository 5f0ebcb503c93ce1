//! `/{tenant}/discovery/instance`: instance discovery, by which MSAL validates an authority.
//!
//! The cloud of the emulator consists of the emulator under all names of loopback.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Value, json};
use url::Url;

use crate::discovery::metadata_response;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::host_header;
use crate::parameters::Parameters;

pub(crate) async fn instance(
    State(entra): State<Arc<Entra>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let document = Parameters::parse(query.unwrap_or_default().as_bytes())
        .and_then(|parameters| document(&entra, &parameters));
    metadata_response(&entra, &headers, document, None)
}

fn document(entra: &Entra, parameters: &Parameters) -> Result<Value, Fault> {
    parameters.required("api-version")?;
    let endpoint = parameters.required("authorization_endpoint")?;
    let segment = segment(entra, endpoint).ok_or(Fault::UnknownInstance)?;
    let authority = entra.authority(&segment)?;
    let names = aliases(entra);
    Ok(json!({
        "tenant_discovery_endpoint": format!(
            "{}/{}/v2.0/.well-known/openid-configuration",
            entra.base,
            authority.segment()
        ),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": names[0],
            "preferred_cache": names[0],
            "aliases": names,
        }],
    }))
}

/// Returns the authority's path segment from an authorization endpoint of this emulator. Returns
/// `None` for other URLs.
fn segment(entra: &Entra, endpoint: &str) -> Option<String> {
    let ours = Url::parse(&entra.base).ok()?;
    let url = Url::parse(endpoint).ok()?;
    let same = url.scheme() == ours.scheme()
        && url.port_or_known_default() == ours.port_or_known_default()
        && host_header::is_local(url.host_str()?);
    let first = url.path_segments()?.next()?;
    same.then(|| first.to_owned())
}

/// Returns the names of this host, starting with the one in the base URL.
fn aliases(entra: &Entra) -> Vec<String> {
    let own = entra.base.split_once("://").map_or("", |(_, host)| host);
    let port = own.rsplit(':').next().unwrap_or_default();
    let mut names = vec![own.to_owned()];
    for name in ["localhost", "127.0.0.1", "[::1]"] {
        let name = format!("{name}:{port}");
        if name != own {
            names.push(name);
        }
    }
    names
}
