//! A small MCP server that takes the tokens of one authorization server, which it asks about each.

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

use crate::world::wire;

/// The server. It ends with this value.
pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

struct Seen {
    address: SocketAddr,
    issuer: String,
    http: reqwest::Client,
    /// The tokens that were let in, without repetition.
    tokens: Mutex<Vec<String>>,
}

impl Server {
    /// Starts one that trusts this issuer.
    pub(super) async fn start(issuer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen {
            address,
            issuer: issuer.to_owned(),
            http: wire::client(),
            tokens: Mutex::default(),
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

    /// The tokens that were let in so far, oldest first.
    pub(super) fn tokens(&self) -> Vec<String> {
        self.seen.tokens.lock().expect("the tokens").clone()
    }

    /// What the authorization server says of a token now.
    pub(super) async fn look_into(&self, token: &str) -> Value {
        self.seen.look_into(token).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Seen {
    async fn look_into(&self, token: &str) -> Value {
        let asked = self
            .http
            .post(format!("{}/token/introspection", self.issuer))
            .basic_auth("resource-server", Some("looks-into-tokens"))
            .form(&[("token", token)])
            .send()
            .await;
        let told = asked.expect("an answer").json().await;
        told.expect("what the token is")
    }

    /// Who sends this, if that is someone.
    async fn caller(&self, headers: &HeaderMap) -> Option<Value> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = value.strip_prefix("Bearer ")?;
        let told = self.look_into(token).await;
        if told["active"] != true || told["aud"] != format!("http://{}/mcp", self.address) {
            return None;
        }
        let mut tokens = self.tokens.lock().expect("the tokens");
        if !tokens.iter().any(|known| known == token) {
            tokens.push(token.to_owned());
        }
        Some(told)
    }
}

async fn describe(State(seen): State<Arc<Seen>>) -> Json<Value> {
    Json(json!({
        "resource": format!("http://{}/mcp", seen.address),
        "authorization_servers": [seen.issuer],
        "scopes_supported": ["mcp.read"],
    }))
}

async fn receive(
    State(seen): State<Arc<Seen>>,
    headers: HeaderMap,
    Json(message): Json<Value>,
) -> Response {
    let Some(caller) = seen.caller(&headers).await else {
        let metadata = format!(
            "http://{}/.well-known/oauth-protected-resource/mcp",
            seen.address
        );
        let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, challenge)],
        )
            .into_response();
    };
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "protected", "version": "1.0.0" },
        }),
        Some("tools/list") => json!({ "tools": [
            { "name": "whoami", "inputSchema": { "type": "object" } },
        ] }),
        Some("tools/call") => {
            let who = caller["sub"].as_str().or(caller["client_id"].as_str());
            json!({ "content": [{ "type": "text", "text": who }] })
        }
        _ if message.get("id").is_none() => return StatusCode::ACCEPTED.into_response(),
        _ => json!({}),
    };
    Json(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })).into_response()
}
