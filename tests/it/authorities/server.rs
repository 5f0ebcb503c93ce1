//! A small MCP server that accepts the tokens of one authorization server. It introspects each.

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

/// How the server authenticates for introspection (RFC 7662). It is the client `resource-server`
/// with the secret `looks-into-tokens`.
#[derive(Clone, Copy)]
pub(super) enum IntrospectionAuth {
    /// With its client secret.
    ClientSecret,
    /// With an access token of its own, with the scope `looks-into-tokens`.
    AccessToken,
}

/// The server. It stops when it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    issuer: String,
    introspection_auth: IntrospectionAuth,
    http: reqwest::Client,
    /// The accepted tokens, each once.
    tokens: Mutex<Vec<String>>,
}

impl Server {
    /// Starts a server that trusts this issuer, which need not run yet.
    pub(super) async fn start(issuer: &str, introspection_auth: IntrospectionAuth) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            address,
            issuer: issuer.to_owned(),
            introspection_auth,
            http: wire::client(),
            tokens: Mutex::default(),
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

    /// Returns the accepted tokens, oldest first.
    pub(super) fn tokens(&self) -> Vec<String> {
        self.shared.tokens.lock().expect("the tokens").clone()
    }

    /// Returns the authorization server's introspection response for a token.
    pub(super) async fn introspect(&self, token: &str) -> Value {
        self.shared.introspect(token).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    async fn introspect(&self, token: &str) -> Value {
        let ask = match self.introspection_auth {
            IntrospectionAuth::ClientSecret => self.authenticated_request("token/introspection"),
            IntrospectionAuth::AccessToken => {
                let asked = [
                    ("grant_type", "client_credentials"),
                    ("scope", "looks-into-tokens"),
                ];
                let own = answer(self.authenticated_request("token").form(&asked)).await;
                let own = own["access_token"].as_str().expect("a token of its own");
                let endpoint = format!("{}/introspect", self.issuer);
                self.http.post(endpoint).bearer_auth(own)
            }
        };
        answer(ask.form(&[("token", token)])).await
    }

    /// Returns a request to the issuer with the client secret.
    fn authenticated_request(&self, path: &str) -> RequestBuilder {
        self.http
            .post(format!("{}/{path}", self.issuer))
            .basic_auth("resource-server", Some("looks-into-tokens"))
    }

    /// Returns the introspection response of the caller's token, or `None` if it is missing or
    /// invalid.
    async fn caller(&self, headers: &HeaderMap) -> Option<Value> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = value.strip_prefix("Bearer ")?;
        let told = self.introspect(token).await;
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

async fn describe(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "resource": format!("http://{}/mcp", shared.address),
        "authorization_servers": [shared.issuer],
        "scopes_supported": ["mcp.read"],
    }))
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(message): Json<Value>,
) -> Response {
    let Some(caller) = shared.caller(&headers).await else {
        let metadata = format!(
            "http://{}/.well-known/oauth-protected-resource/mcp",
            shared.address
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
