//! One address: a handshake with what is there, and its tools, without credentials.

use std::sync::Arc;
use std::time::Instant;

use control::api::TestReport;
use mcp::up::{Failure, Upstream, UpstreamEvent, UpstreamOptions};
use mcp::{LATEST_LEGACY, Message, RequestId};
use model::EndpointUrl;
use model::config::Transport;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::bridge_state::BridgeState;
use crate::probe::report;

/// A server that was found.
pub(super) enum FoundServer {
    /// It answers without a sign-in.
    Open(TestReport),
    /// It answers 401.
    Protected {
        /// The `WWW-Authenticate` header.
        challenge: Option<String>,
        /// What the server says of it.
        words: Option<String>,
    },
}

/// Why no server can be used at an address.
pub(super) enum Unusable {
    /// Its answer did not come, or is none of MCP.
    Failed(Failure),
    /// It refuses the handshake, in these words.
    Refused(String),
}

/// Shakes hands and lists the tools.
pub(super) async fn connect(
    bridge: &Arc<BridgeState>,
    url: &EndpointUrl,
) -> Result<FoundServer, Unusable> {
    let (sender, events) = mpsc::channel(16);
    let options = UpstreamOptions {
        url: url.clone(),
        transport: Transport::Auto,
        headers: Vec::new(),
        learned: Arc::default(),
        nonce: Uuid::new_v4().simple().to_string().into(),
        memory: bridge.to_hosts.account(),
    };
    let up = Upstream::open(bridge.client.clone(), options, sender);
    let mut session = Session { up, events };
    let found = session.report(&bridge.options.version).await;
    // The server is told that the session is over. The inspection does not wait for that.
    bridge.spawn(session.up.close());
    match found {
        Ok(report) => Ok(FoundServer::Open(report)),
        Err(Unusable::Failed(Failure::Unauthorized { challenge, words })) => {
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
        // A server without tools may refuse to list them.
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
                | UpstreamEvent::Away(_)
                | UpstreamEvent::Back
                | UpstreamEvent::TokenRefused { .. } => {}
            }
        }
        Err(Unusable::Failed(Failure::StreamEnded))
    }
}

/// Returns the message of a JSON-RPC error.
pub(super) fn words(error: &str) -> String {
    let error = mcp::json::read::<Value>(error).ok();
    let message = error.as_ref().and_then(|error| error["message"].as_str());
    message.unwrap_or("an error without words").to_owned()
}
