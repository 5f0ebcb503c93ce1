//! Sessions and calls. As strict as the strictest SDK: it rejects requests without a session and
//! before the handshake is complete.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    UpstreamState,
    fault::{self, Fault, Reaction, response},
    http::Request,
};

/// Returns the reaction to a request.
pub(super) fn react(request: &Request, state: &Arc<watch::Sender<UpstreamState>>) -> Reaction {
    let mut reaction = Reaction::Hold;
    state.send_modify(|state| {
        state.requests += 1;
        if !state.is_silent {
            reaction = state.react(request);
        }
    });
    reaction
}

impl UpstreamState {
    fn react(&mut self, request: &Request) -> Reaction {
        if request.method == "POST" && self.unready > 0 {
            self.unready -= 1;
            return Reaction::Reply(response(503, "text/plain", "not yet"));
        }
        if request.body["method"] == "initialize" {
            return self.begin(&request.body);
        }
        let session = request.header("mcp-session-id").unwrap_or_default();
        if !self.sessions.contains(session) {
            return unknown_session();
        }
        match request.method.as_str() {
            "GET" if self.flood.is_some() => {
                let (events, bytes) = self.flood.take().expect("a flood");
                Reaction::Flood {
                    head: fault::events(""),
                    event: fault::large_event(bytes),
                    events,
                    end: Vec::new(),
                }
            }
            "GET" => resume(request.header("last-event-id")),
            "DELETE" => {
                self.ended += 1;
                self.sessions.remove(session);
                Reaction::Reply(response(204, "text/plain", ""))
            }
            _ => self.take(session, &request.body),
        }
    }

    fn begin(&mut self, message: &Value) -> Reaction {
        self.begun += 1;
        let session = format!("session-{}", self.begun);
        let result = json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": { "listChanged": true } },
            "serverInfo": { "name": "raw", "version": "1.0.0" },
        });
        let body = answer(&message["id"], &result);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nmcp-session-id: {session}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.sessions.insert(session);
        Reaction::Reply(format!("{head}{body}").into_bytes())
    }

    /// Handles a message in a session.
    fn take(&mut self, session: &str, message: &Value) -> Reaction {
        let accepted = || Reaction::Reply(response(202, "text/plain", ""));
        match (message["method"].as_str(), message.get("id")) {
            (Some("notifications/initialized"), _) if self.initialized_to_lose > 0 => {
                self.initialized_to_lose -= 1;
                Reaction::Last(Vec::new())
            }
            (Some("notifications/initialized"), _) => {
                self.initialized.insert(session.to_owned());
                accepted()
            }
            (Some("notifications/cancelled"), _) => {
                self.cancelled
                    .extend(message["params"]["requestId"].as_u64());
                accepted()
            }
            (None, Some(id)) => {
                let id = id.as_str().expect("an id of ours").to_owned();
                self.replies.insert(id, message.clone());
                accepted()
            }
            (_, None) => accepted(),
            (_, Some(id)) if !self.initialized.contains(session) => {
                let error = json!({ "code": -32600, "message": "not before the handshake's end" });
                let body = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                Reaction::Reply(fault::json(&body.to_string()))
            }
            (Some("tools/call"), Some(id)) => {
                self.call(session, id, &message["params"]["arguments"])
            }
            (Some("tools/list"), Some(id)) => {
                let tool = json!({ "name": "echo", "inputSchema": { "type": "object" } });
                Reaction::Reply(fault::json(&answer(id, &json!({ "tools": [tool] }))))
            }
            (Some(_), Some(id)) => Reaction::Reply(fault::json(&answer(id, &json!({})))),
        }
    }

    fn call(&mut self, session: &str, id: &Value, arguments: &Value) -> Reaction {
        let key = arguments["key"].as_str().expect("a key").to_owned();
        let fault = Fault::deserialize_from(&arguments["fault"]);
        if fault == Fault::Forgotten && self.forgotten.insert(key.clone()) {
            self.forget_sessions();
            return unknown_session();
        }
        let body = answer(id, &result(&key));
        // The key and the id are enough to answer on another stream.
        let name = format!("{key} {id}");
        *self.calls.entry(key).or_default() += 1;
        fault.reaction(&body, &name, session)
    }
}

impl Fault {
    fn deserialize_from(value: &Value) -> Self {
        serde_json::from_value(value.clone()).expect("a fault")
    }
}

/// Returns the rest of a cut stream, or the stream for notifications.
fn resume(last_id: Option<&str>) -> Reaction {
    let Some((key, id)) = last_id.and_then(|id| id.split_once(' ')) else {
        return Reaction::Stream(fault::events(""));
    };
    let id = serde_json::from_str(id).expect("an id");
    let body = answer(&id, &result(key));
    Reaction::Last(fault::events(&format!("data: {body}\n\n")))
}

fn result(key: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": key }] })
}

fn answer(id: &Value, result: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
}

fn unknown_session() -> Reaction {
    Reaction::Reply(response(404, "text/plain", "no such session"))
}
