//! Initializes a session at one URL without credentials, and lists its tools.

use std::sync::Arc;
use std::time::Instant;

use control::api::TestReport;
use mcp::upstream::{Upstream, UpstreamError, UpstreamEvent, UpstreamOptions};
use mcp::{LATEST_LEGACY, Message, RequestId};
use model::EndpointUrl;
use model::config::Transport;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::probe::report;
use crate::session::SessionContext;

/// A server that was found.
pub(super) enum FoundServer {
    /// It works without a sign-in.
    Open(TestReport),
    /// It answers 401.
    Protected {
        /// The `WWW-Authenticate` header.
        challenge: Option<String>,
        /// The explanation in the response.
        words: Option<String>,
    },
}

/// Why no server can be used at a URL.
pub(super) enum Unusable {
    /// The response is missing or is not MCP.
    Failed(UpstreamError),
    /// The server rejects the handshake with this message.
    Refused(String),
}

/// Initializes a session and lists the tools.
pub(super) async fn connect(
    context: &Arc<SessionContext>,
    url: &EndpointUrl,
) -> Result<FoundServer, Unusable> {
    let (sender, events) = mpsc::channel(16);
    let options = UpstreamOptions {
        url: url.clone(),
        transport: Transport::Auto,
        headers: Vec::new(),
        learned: Arc::default(),
        nonce: Uuid::new_v4().simple().to_string().into(),
        memory: context.to_hosts.account(),
    };
    let up = Upstream::open(context.upstream.clone(), options, sender);
    let mut session = Session { up, events };
    let found = session.report(&context.version).await;
    // Tells the server that the session has ended, in the background.
    context.background.spawn(session.up.close());
    match found {
        Ok(report) => Ok(FoundServer::Open(report)),
        Err(Unusable::Failed(UpstreamError::Unauthorized { challenge, words })) => {
            Ok(FoundServer::Protected { challenge, words })
        }
        Err(unusable) => Err(unusable),
    }
}

struct Session {
    up: Upstream,
    events: mpsc::Receiver<UpstreamEvent>,
}

impl Session {
    async fn report(&mut self, version: &str) -> Result<TestReport, Unusable> {
        let begun = Instant::now();
        let info = json!({ "name": "postern", "title": "Postern", "version": version });
        let params =
            json!({ "protocolVersion": LATEST_LEGACY, "capabilities": {}, "clientInfo": info });
        let answer = self.answer(1, "initialize", params).await?;
        if let Some(error) = answer.error() {
            return Err(Unusable::Refused(words(error.get())));
        }
        let initialized = Message::notification("notifications/initialized", None);
        self.up.send(initialized, None);
        // A server without tools may reject `tools/list`.
        let tools = self.answer(2, "tools/list", json!({})).await?;
        let tools = tools
            .result()
            .and_then(|result| mcp::json::read(result.get()).ok());
        Ok(report(&answer, &tools.unwrap_or_default(), begun))
    }

    async fn answer(&mut self, id: i64, method: &str, params: Value) -> Result<Message, Unusable> {
        let id = RequestId::number(id);
        self.up
            .send(Message::request(&id, method, Some(params)), None);
        while let Some(event) = self.events.recv().await {
            match event {
                UpstreamEvent::Message { message, .. }
                    if message.method().is_none() && message.id() == Some(&id) =>
                {
                    return Ok(message);
                }
                UpstreamEvent::Failed { request, failure } if request.as_ref() == Some(&id) => {
                    return Err(Unusable::Failed(failure));
                }
                UpstreamEvent::Message { .. }
                | UpstreamEvent::Failed { .. }
                | UpstreamEvent::StreamLost(_)
                | UpstreamEvent::StreamRestored
                | UpstreamEvent::TokenRefused { .. } => {}
            }
        }
        Err(Unusable::Failed(UpstreamError::StreamEnded))
    }
}

/// Returns the message of a JSON-RPC error.
pub(super) fn words(error: &str) -> String {
    let error = mcp::json::read::<Value>(error).ok();
    let message = error.as_ref().and_then(|error| error["message"].as_str());
    message.unwrap_or("an error without a message").to_owned()
}
