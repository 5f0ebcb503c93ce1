//! A gateway in front of MCP servers as it is deployed in many places today: the API Management
//! policies of the remote MCP sample for Azure Functions, played for what a client can tell.
//!
//! Speaks MCP 2025-03-26: no protected resource metadata, a bare 401, a registration answered with
//! 200, a consent page before Entra, an empty refresh token, an opaque session key that ends after
//! an hour, HTTP+SSE alone. What it does badly it does here too: a browser that allowed a client
//! once is not asked again, and then cannot come back. Entra is the emulator, which is given a
//! secret where the deployment has a managed identity.
//! Does not own: what is right; the gateway of this repository does that.

mod cache;
mod consent;
mod functions;
mod oauth;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    http::StatusCode,
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

/// Whether it says where its endpoints are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// At `/.well-known/oauth-authorization-server`, with endpoints that do not exist among them.
    Published,
    /// Nowhere: clients must know the default endpoints of MCP 2025-03-26.
    Absent,
}

/// The gateway, with the Entra that it leads to. It ends with this value.
pub(crate) struct ApimGateway {
    /// Without a slash at the end.
    pub(crate) origin: String,
    gateway: Arc<Gateway>,
    serving: AbortHandle,
    _entra: Server,
}

/// What its handlers share.
struct Gateway {
    origin: String,
    /// `{emulator}/{tenant}/oauth2/v2.0`.
    entra: String,
    metadata: Metadata,
    http: reqwest::Client,
    cache: Mutex<Cache>,
    /// The registrations, which outlive the cache.
    clients: Mutex<Vec<Value>>,
    functions: Functions,
}

type Shared = axum::extract::State<Arc<Gateway>>;

impl ApimGateway {
    /// Starts both; Entra keeps what it keeps in `folder`.
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

    /// The `config.toml` of a bridge that knows its server as `snippets`.
    pub(crate) fn config(&self) -> String {
        let origin = &self.origin;
        format!("[bridge]\nport = 0\n[servers.snippets]\nurl = \"{origin}/mcp/sse\"\n")
    }

    /// Where a browser ends its sign-in at Entra.
    pub(crate) fn sign_out_page(&self) -> String {
        format!("{}/logout", self.gateway.entra)
    }

    /// Moves its clock.
    pub(crate) fn pass(&self, time: Duration) {
        self.gateway.cache().pass(time);
    }

    /// How many clients have registered.
    pub(crate) fn registrations(&self) -> usize {
        self.gateway.clients().len()
    }

    /// How many sessions have begun, by sign-ins that were finished.
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

    /// The registration of a client.
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

/// Paths and methods that no operation has, before anything else is looked at.
async fn nothing_there() -> Response {
    complaint(StatusCode::NOT_FOUND, "Resource not found")
}

/// An answer of API Management's own.
fn complaint(status: StatusCode, message: &str) -> Response {
    let body = json!({ "statusCode": status.as_u16(), "message": message });
    (status, axum::Json(body)).into_response()
}

/// An error of the policies.
fn error(status: StatusCode, error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    (status, axum::Json(body)).into_response()
}
