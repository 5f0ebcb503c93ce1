//! An MCP server that Entra protects as App Service does, or one that imitates it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

use crate::harness::claims;

/// The server. It stops when it is dropped.
pub(super) struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    authority: String,
    scopes: Vec<String>,
    application: Uuid,
    /// The status of calls, and the scope of the challenge.
    demand: Mutex<(u16, String)>,
    /// The audiences of all received tokens, each once.
    audiences: Mutex<Vec<String>>,
}

impl Api {
    /// Starts a server that accepts tokens of `application`, and whose metadata names `scopes`.
    pub(super) async fn start(authority: &str, scopes: &[&str], application: Uuid) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            address,
            authority: authority.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            application,
            demand: Mutex::new((200, String::new())),
            audiences: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/oauth-protected-resource/mcp", get(describe))
            .route("/mcp", post(receive))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            address,
            shared,
            serving,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Rejects calls with this status and a scope. 200 accepts them.
    pub(super) fn demand(&self, status: u16, scope: &str) {
        *self.shared.demand.lock().expect("a demand") = (status, scope.to_owned());
    }

    /// Returns the audiences of all received tokens.
    pub(super) fn audiences(&self) -> Vec<String> {
        self.shared.audiences.lock().expect("audiences").clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn describe(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "resource": format!("http://{}/mcp", shared.address),
        "authorization_servers": [shared.authority],
        "scopes_supported": shared.scopes,
    }))
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(message): Json<Value>,
) -> Response {
    let token = headers.get(header::AUTHORIZATION);
    let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(token) = token else {
        return refuse(401, "Bearer");
    };
    let claims = claims(&json!(token));
    let audience = claims["aud"].as_str().expect("an audience").to_owned();
    let mut audiences = shared.audiences.lock().expect("audiences");
    if !audiences.contains(&audience) {
        audiences.push(audience.clone());
    }
    drop(audiences);
    if !audience.contains(&shared.application.to_string()) {
        return refuse(401, "Bearer error=\"invalid_token\"");
    }
    let Some(id) = message.get("id") else {
        return StatusCode::ACCEPTED.into_response();
    };
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "api", "version": "1" },
        }),
        Some("tools/call") => match &*shared.demand.lock().expect("a demand") {
            (200, _) => json!({ "content": [{ "type": "text", "text": claims["name"] }] }),
            (403, scope) => {
                let words = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
                return refuse(403, &words);
            }
            (status, scope) => return refuse(*status, &format!("Bearer scope=\"{scope}\"")),
        },
        _ => json!({ "tools": [{ "name": "whoami", "inputSchema": { "type": "object" } }] }),
    };
    Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
}

fn refuse(status: u16, challenge: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [(header::WWW_AUTHENTICATE, challenge.to_owned())]).into_response()
}
