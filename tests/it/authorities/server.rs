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
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::harness::wire;

/// How the server may look into tokens (RFC 7662), as the client `resource-server` whose secret
/// is `looks-into-tokens`.
#[derive(Clone, Copy)]
pub(super) enum Looks {
    /// It proves itself with its secret.
    ByItsSecret,
    /// It has to bring a token of its own, with the scope `looks-into-tokens`.
    ByItsToken,
}

/// The server. It ends with this value.
pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

struct Seen {
    address: SocketAddr,
    issuer: String,
    looks: Looks,
    http: reqwest::Client,
    /// The tokens that were let in, without repetition.
    tokens: Mutex<Vec<String>>,
}

impl Server {
    /// Starts one that trusts this issuer, which need not be there yet.
    pub(super) async fn start(issuer: &str, looks: Looks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen {
            address,
            issuer: issuer.to_owned(),
            looks,
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
        let ask = match self.looks {
            Looks::ByItsSecret => self.proven("token/introspection"),
            Looks::ByItsToken => {
                let asked = [
                    ("grant_type", "client_credentials"),
                    ("scope", "looks-into-tokens"),
                ];
                let own = answer(self.proven("token").form(&asked)).await;
                let own = own["access_token"].as_str().expect("a token of its own");
                let endpoint = format!("{}/introspect", self.issuer);
                self.http.post(endpoint).bearer_auth(own)
            }
        };
        answer(ask.form(&[("token", token)])).await
    }

    /// A request to the issuer, with the secret.
    fn proven(&self, path: &str) -> RequestBuilder {
        self.http
            .post(format!("{}/{path}", self.issuer))
            .basic_auth("resource-server", Some("looks-into-tokens"))
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

async fn answer(request: RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    answer.json().await.expect("JSON")
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
            let who = ["username", "sub", "client_id"]
                .into_iter()
                .find_map(|name| caller[name].as_str());
            json!({ "content": [{ "type": "text", "text": who }] })
        }
        _ if message.get("id").is_none() => return StatusCode::ACCEPTED.into_response(),
        _ => json!({}),
    };
    Json(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })).into_response()
}
