//! Its MCP server: HTTP+SSE of 2024 with the three tools of the demo. It checks the access token
//! first.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use axum::{
    extract::{Query, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedSender};

use super::{Gateway, Parameters, Shared, complaint, guid};

/// The open streams, and the snippets saved by any client.
#[derive(Default)]
pub(super) struct Functions {
    streams: Mutex<HashMap<String, UnboundedSender<Event>>>,
    snippets: Mutex<HashMap<String, String>>,
}

/// Opens a stream. Its first event names the endpoint for messages.
pub(super) async fn stream(State(gateway): Shared, headers: HeaderMap) -> Response {
    if let Some(refusal) = refusal(&gateway, &headers) {
        return refusal;
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let id = guid();
    let place = format!("message?azmcpcs={id}");
    // The receiver exists.
    let _ = sender.send(Event::default().event("endpoint").data(place));
    gateway.functions.streams().insert(id, sender);
    let events = stream::unfold(receiver, |mut receiver| async {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Sse::new(events).into_response()
}

/// Receives a message and sends the response on the stream.
pub(super) async fn message(
    State(gateway): Shared,
    Query(asked): Query<Parameters>,
    headers: HeaderMap,
    axum::Json(message): axum::Json<Value>,
) -> Response {
    if let Some(refusal) = refusal(&gateway, &headers) {
        return refusal;
    }
    let id = asked.get("azmcpcs").map(String::as_str).unwrap_or_default();
    let stream = gateway.functions.streams().get(id).cloned();
    let Some(stream) = stream else {
        return complaint(StatusCode::NOT_FOUND, "Resource not found");
    };
    if let Some(answer) = gateway.functions.answer(&message) {
        let event = Event::default().event("message").data(answer.to_string());
        // The client may have disconnected.
        let _ = stream.send(event);
    }
    StatusCode::ACCEPTED.into_response()
}

/// Returns the policy's response to a request without a valid session.
fn refusal(gateway: &Gateway, headers: &HeaderMap) -> Option<Response> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Some(complaint(StatusCode::UNAUTHORIZED, "Not authorized"));
    };
    let header = header.to_str().unwrap_or_default();
    let token = header.strip_prefix("Bearer ").unwrap_or(header);
    // A token that cannot be decrypted causes an exception in the policy.
    let is_sealed = BASE64_STANDARD
        .decode(token)
        .is_ok_and(|bytes| bytes.len() == 48);
    if !is_sealed {
        return Some(StatusCode::INTERNAL_SERVER_ERROR.into_response());
    }
    let cache = gateway.cache();
    let session = cache.find(&format!("Session-{token}"));
    let tokens = session.and_then(|session| cache.find(&format!("EntraToken-{session}")));
    if tokens.is_some() {
        return None;
    }
    let challenge = [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
    Some((StatusCode::UNAUTHORIZED, challenge).into_response())
}

impl Functions {
    fn streams(&self) -> std::sync::MutexGuard<'_, HashMap<String, UnboundedSender<Event>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the response to a request, or `None` for other messages.
    fn answer(&self, message: &Value) -> Option<Value> {
        let id = message.get("id")?;
        let result = match message["method"].as_str()? {
            "initialize" => json!({
                "protocolVersion": "2024-11-05",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "Azure Functions MCP server", "version": "1.0.0" },
            }),
            "ping" => json!({}),
            "tools/list" => json!({ "tools": tools() }),
            "tools/call" => {
                let text = self.call(&message["params"]);
                json!({ "content": [{ "type": "text", "text": text }] })
            }
            _ => {
                let error = json!({ "code": -32601, "message": "Method not found" });
                return Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
            }
        };
        Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }

    fn call(&self, params: &Value) -> String {
        let given = |name: &str| params["arguments"][name].as_str().unwrap_or_default();
        let mut snippets = self.snippets.lock().unwrap_or_else(PoisonError::into_inner);
        match params["name"].as_str() {
            Some("hello_mcp") => "Hello I am MCPTool!".to_owned(),
            Some("get_snippet") => snippets
                .get(given("snippetname"))
                .cloned()
                .unwrap_or_default(),
            Some("save_snippet") => {
                let snippet = given("snippet").to_owned();
                snippets.insert(given("snippetname").to_owned(), snippet.clone());
                format!("Snippet '{snippet}' saved successfully")
            }
            _ => "No such tool".to_owned(),
        }
    }
}

fn tools() -> Value {
    let tool = |name: &str, description: &str, properties: &[&str]| {
        let properties: serde_json::Map<_, _> = properties
            .iter()
            .map(|name| ((*name).to_owned(), json!({ "type": "string" })))
            .collect();
        json!({
            "name": name,
            "description": description,
            "inputSchema": { "type": "object", "properties": properties },
        })
    };
    json!([
        tool("hello_mcp", "Hello world.", &[]),
        tool(
            "get_snippet",
            "Retrieve a snippet by name.",
            &["snippetname"]
        ),
        tool(
            "save_snippet",
            "Save a snippet with a name.",
            &["snippetname", "snippet"]
        ),
    ])
}
