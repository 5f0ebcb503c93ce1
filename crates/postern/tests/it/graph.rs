//! A fake Microsoft Graph in this process, which stores applications and records requests.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};

/// The client ID of the tenant's API, and the ID of its scope `mcp.read`.
pub(crate) const API: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const MCP_READ: &str = "aaaaaaaa-0000-4000-8000-000000000002";

#[derive(Clone)]
pub(crate) struct Graph {
    pub(crate) url: String,
    directory: Arc<Mutex<Directory>>,
}

#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) applications: Vec<Value>,
    pub(crate) principals: Vec<Value>,
    pub(crate) federated: Vec<Value>,
    /// Method and path of each write request.
    pub(crate) written: Vec<String>,
    /// Whether write requests are rejected.
    pub(crate) is_read_only: bool,
    /// How many requests do not find a new application yet.
    pub(crate) lag: u32,
    /// The last token.
    pub(crate) token: String,
}

type GraphResponse = (StatusCode, Json<Value>);

impl Graph {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let graph = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            directory: Arc::default(),
        };
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(graph.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        graph
    }

    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap()
    }
}

async fn answer(
    State(graph): State<Graph>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> GraphResponse {
    let mut directory = graph.directory();
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    directory.token = token.unwrap_or_default().to_owned();
    let path = uri.path().strip_prefix("/v1.0").unwrap().to_owned();
    let query = uri.query().unwrap_or_default().to_owned();
    if method == Method::GET {
        return directory.read(&path, &query);
    }
    if directory.is_read_only {
        return error_response(
            StatusCode::FORBIDDEN,
            "Insufficient privileges to complete the operation.",
        );
    }
    directory.written.push(format!("{method} {path}"));
    let body = serde_json::from_slice(&body).unwrap();
    directory.write(&method, &path, body)
}

impl Directory {
    fn read(&self, path: &str, query: &str) -> GraphResponse {
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["applications"] => {
                let wanted = |one: &&Value| {
                    ["displayName", "appId"].iter().any(|field| {
                        let value = one[*field].as_str().unwrap().replace(' ', "+");
                        query.contains(&format!("{field}+eq+%27{value}%27"))
                    })
                };
                let found: Vec<_> = self.applications.iter().filter(wanted).collect();
                (StatusCode::OK, Json(json!({ "value": found })))
            }
            ["applications", id] => found(self.applications.iter().find(|one| one["id"] == *id)),
            ["applications", _, "federatedIdentityCredentials"] => {
                (StatusCode::OK, Json(json!({ "value": self.federated })))
            }
            ["servicePrincipals"] => {
                let known = query.contains("api%3A%2F%2Ffiles");
                let api = json!({ "appId": API, "oauth2PermissionScopes": [
                    { "id": MCP_READ, "value": "mcp.read" },
                ]});
                let found = known.then_some(api);
                (
                    StatusCode::OK,
                    Json(json!({ "value": Vec::from_iter(found) })),
                )
            }
            [principal] => {
                let has = |one: &&Value| principal.contains(one["appId"].as_str().unwrap());
                found(self.principals.iter().find(has))
            }
            _ => found(None),
        }
    }

    fn write(&mut self, method: &Method, path: &str, body: Value) -> GraphResponse {
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("POST", ["applications"]) => {
                let number = self.applications.len() + 1;
                let mut made = body;
                made["id"] = json!(format!("object-{number}"));
                made["appId"] = json!(format!("client-{number}"));
                self.applications.push(made.clone());
                (StatusCode::CREATED, Json(made))
            }
            ("POST", ["servicePrincipals"]) if self.lag > 0 => {
                self.lag -= 1;
                error_response(
                    StatusCode::BAD_REQUEST,
                    "The appId does not reference an application.",
                )
            }
            ("POST", ["servicePrincipals"]) => keep(&mut self.principals, body),
            ("POST", ["applications", _, "federatedIdentityCredentials"]) => {
                keep(&mut self.federated, body)
            }
            ("PATCH", ["applications", id]) => {
                let mut all = self.applications.iter_mut();
                merge(all.find(|one| one["id"] == *id).unwrap(), &body)
            }
            ("PATCH", ["applications", _, "federatedIdentityCredentials", _])
                if !body["name"].is_null() =>
            {
                error_response(StatusCode::BAD_REQUEST, "The name cannot be changed.")
            }
            ("PATCH", ["applications", _, "federatedIdentityCredentials", id]) => {
                let mut all = self.federated.iter_mut();
                merge(all.find(|one| one["id"] == *id).unwrap(), &body)
            }
            _ => found(None),
        }
    }
}

fn keep(all: &mut Vec<Value>, mut one: Value) -> GraphResponse {
    one["id"] = json!(format!("id-{}", all.len() + 1));
    all.push(one.clone());
    (StatusCode::CREATED, Json(one))
}

fn merge(known: &mut Value, change: &Value) -> GraphResponse {
    for (field, value) in change.as_object().unwrap() {
        known[field] = value.clone();
    }
    (StatusCode::NO_CONTENT, Json(Value::Null))
}

fn found(one: Option<&Value>) -> GraphResponse {
    match one {
        Some(one) => (StatusCode::OK, Json(one.clone())),
        None => error_response(StatusCode::NOT_FOUND, "It does not exist."),
    }
}

fn error_response(status: StatusCode, message: &str) -> GraphResponse {
    let error = json!({ "error": { "code": "Request_Refused", "message": message } });
    (status, Json(error))
}
