//! A gateway as many organisations deploy it today: the API Management policies of the remote MCP
//! sample for Azure Functions, reproduced as far as a client can see.
//!
//! Implements MCP 2025-03-26: no protected resource metadata, a bare 401, a registration answered
//! with 200, a consent page before Entra, an empty refresh token, an opaque access token that
//! expires after an hour, HTTP+SSE only. It also reproduces a defect: a browser that consented to a
//! client skips the consent page the next time, and its callback then fails. Entra is the emulator.
//! The gateway has a secret where the deployment has a managed identity.
//! Does not own: correct behaviour. The gateway of this repository has that.

mod cache;
mod consent;
mod functions;
mod oauth;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::rand;
use axum::{
    Router,
    http::{
        HeaderName, StatusCode,
        header::{CACHE_CONTROL, LOCATION},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use emulator::demo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

use super::{
    servers::{self, Server},
    wire,
};
use cache::Cache;
use functions::Functions;

/// Whether the gateway publishes metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// At `/.well-known/oauth-authorization-server`. Some of its endpoints do not exist.
    Published,
    /// None: clients must use the default endpoints of MCP 2025-03-26.
    Absent,
}

/// The gateway and its Entra. Both stop when it is dropped.
pub(crate) struct ApimGateway {
    /// Without a trailing slash.
    pub(crate) origin: String,
    gateway: Arc<Gateway>,
    serving: AbortHandle,
    _entra: Server,
}

/// The state that the handlers share.
struct Gateway {
    origin: String,
    /// `{emulator}/{tenant}/oauth2/v2.0`.
    entra: String,
    metadata: Metadata,
    http: reqwest::Client,
    cache: Mutex<Cache>,
    /// The client registrations, which outlive the cache.
    clients: Mutex<Vec<Value>>,
    functions: Functions,
}

/// The parameters of a request.
type Parameters = HashMap<String, String>;

type Shared = axum::extract::State<Arc<Gateway>>;

impl ApimGateway {
    /// Starts both. Entra stores its data in `folder`.
    pub(crate) async fn start(folder: &Path, metadata: Metadata) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let callback = format!("{origin}/oauth-callback");
        let (entra, address) = servers::start_entra(folder, &callback).await;
        let gateway = Arc::new(Gateway {
            origin: origin.clone(),
            entra: format!("http://{address}/{}/oauth2/v2.0", demo::TENANT_ID),
            metadata,
            http: wire::client(),
            cache: Mutex::default(),
            clients: Mutex::default(),
            functions: Functions::default(),
        });
        let router = router().with_state(Arc::clone(&gateway));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            origin,
            gateway,
            serving: serving.abort_handle(),
            _entra: entra,
        }
    }

    /// Returns the `config.toml` of a bridge with this server as `snippets`.
    pub(crate) fn config(&self) -> String {
        let origin = &self.origin;
        format!("[bridge]\nport = 0\n[servers.snippets]\nurl = \"{origin}/mcp/sse\"\n")
    }

    /// Returns the URL that ends the browser's session at Entra.
    pub(crate) fn sign_out_page(&self) -> String {
        format!("{}/logout", self.gateway.entra)
    }

    /// Advances the clock.
    pub(crate) fn advance(&self, time: Duration) {
        self.gateway.cache().advance(time);
    }

    /// Returns how many clients have registered.
    pub(crate) fn registrations(&self) -> usize {
        self.gateway.clients().len()
    }

    /// Returns how many sessions have begun, one per completed sign-in.
    pub(crate) fn sessions(&self) -> usize {
        self.gateway.cache().sessions()
    }
}

impl Drop for ApimGateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Gateway {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, Vec<Value>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the registration of a client.
    fn client(&self, id: &str) -> Option<Value> {
        let clients = self.clients();
        clients
            .iter()
            .find(|client| client["client_id"] == id)
            .cloned()
    }
}

fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route(
            "/.well-known/oauth-authorization-server",
            get(oauth::metadata),
        )
        .route("/register", post(oauth::register))
        .route("/authorize", get(oauth::authorize))
        .route("/consent", get(consent::page).post(consent::answer))
        .route("/oauth-callback", get(oauth::callback))
        .route("/token", post(oauth::token))
        .route("/mcp/sse", get(functions::stream))
        .route("/mcp/message", post(functions::message))
        .method_not_allowed_fallback(nothing_there)
        .fallback(nothing_there)
}

/// Answers paths and methods without an operation, before any other check.
async fn nothing_there() -> Response {
    complaint(StatusCode::NOT_FOUND, "Resource not found")
}

/// Returns an error response of API Management itself.
fn complaint(status: StatusCode, message: &str) -> Response {
    let body = json!({ "statusCode": status.as_u16(), "message": message });
    (status, axum::Json(body)).into_response()
}

/// Returns an error response of the policies.
fn error(status: StatusCode, error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    (status, axum::Json(body)).into_response()
}

/// Returns a redirect that is not cached.
fn redirect(location: &str) -> Response {
    let headers: [(HeaderName, &str); 2] = [
        (LOCATION, location),
        (CACHE_CONTROL, "no-store, no-cache, must-revalidate"),
    ];
    (StatusCode::FOUND, headers).into_response()
}

/// Returns a random GUID.
fn guid() -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("random bytes");
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}
