//! An MCP server that Entra protects, as App Service does it, or one that only looks like it.

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

/// The server. It ends with this value.
pub(super) struct Api {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

struct Seen {
    address: SocketAddr,
    authority: String,
    scopes: Vec<String>,
    application: Uuid,
    /// The status of calls, and the scope that they are refused for.
    demand: Mutex<(u16, String)>,
    /// The audiences of all tokens that came, without repetition.
    audiences: Mutex<Vec<String>>,
}

impl Api {
    /// Starts one that takes tokens of `application`, and whose metadata names `scopes`.
    pub(super) async fn start(authority: &str, scopes: &[&str], application: Uuid) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen {
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
            .with_state(Arc::clone(&seen));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            address,
            seen,
            serving,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Refuses calls with this status and names a scope. 200 answers them.
    pub(super) fn demand(&self, status: u16, scope: &str) {
        *self.seen.demand.lock().expect("a demand") = (status, scope.to_owned());
    }

    /// The audiences of all tokens that came so far.
    pub(super) fn audiences(&self) -> Vec<String> {
        self.seen.audiences.lock().expect("audiences").clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn describe(State(seen): State<Arc<Seen>>) -> Json<Value> {
    Json(json!({
        "resource": format!("http://{}/mcp", seen.address),
        "authorization_servers": [seen.authority],
        "scopes_supported": seen.scopes,
    }))
}

async fn receive(
    State(seen): State<Arc<Seen>>,
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
    let mut audiences = seen.audiences.lock().expect("audiences");
    if !audiences.contains(&audience) {
        audiences.push(audience.clone());
    }
    drop(audiences);
    if !audience.contains(&seen.application.to_string()) {
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
        Some("tools/call") => match &*seen.demand.lock().expect("a demand") {
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
