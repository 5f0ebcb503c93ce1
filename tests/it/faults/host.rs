//! A host whose calls meet faults. It checks that each call gets one response.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{bridge::Bridge, shim::Shim, upstream::Fault, wire::tool_text};

/// The host. It handles every message of its shim.
pub(super) struct Host {
    shim: Shim,
    name: String,
    /// Pending requests.
    open: BTreeSet<u64>,
    /// Cancelled requests: each may still get one response.
    cancelled: BTreeSet<u64>,
    answers: BTreeMap<u64, Value>,
}

impl Host {
    /// Spawns a shim and performs the handshake. `name` identifies its calls at the server.
    pub(super) async fn connect(bridge: &Bridge, name: &str) -> Self {
        Self {
            shim: Shim::connect(bridge, "raw").await,
            name: name.to_owned(),
            open: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Calls a tool that meets this fault. Returns the request's id.
    pub(super) async fn send_call(&mut self, fault: Fault) -> u64 {
        let number = self.shim.last_id() + 1;
        let arguments = json!({ "key": self.key(number), "fault": fault });
        self.send_request(
            "tools/call",
            json!({ "name": "echo", "arguments": arguments }),
        )
        .await
    }

    /// Sends any request and returns its id.
    pub(super) async fn send_request(&mut self, method: &str, params: Value) -> u64 {
        let id = self.shim.send_request(method, params).await;
        self.open.insert(id);
        id
    }

    /// Calls a tool and waits for the response.
    pub(super) async fn call(&mut self, fault: Fault) -> Result<String, Value> {
        let id = self.send_call(fault).await;
        self.response(id).await
    }

    /// Waits for the response to a call. Returns its text, or the whole message as the error.
    pub(super) async fn response(&mut self, id: u64) -> Result<String, Value> {
        while !self.answers.contains_key(&id) {
            let message = self.shim.next().await;
            self.take(message).await;
        }
        let answer = self.answers.remove(&id).expect("an answer");
        let outcome = tool_text(answer);
        if let Ok(text) = &outcome {
            assert_eq!(*text, self.key(id), "an answer to something else");
        }
        outcome
    }

    /// Waits for the responses to all pending requests.
    pub(super) async fn responses(&mut self) -> BTreeMap<u64, Result<String, Value>> {
        let mut outcomes = BTreeMap::new();
        let wanted = self.open.iter().chain(self.answers.keys());
        for id in wanted.copied().collect::<Vec<_>>() {
            outcomes.insert(id, self.response(id).await);
        }
        outcomes
    }

    /// Reads a line of the shim and returns its length.
    pub(super) async fn line_length(&mut self) -> usize {
        self.shim.line().await.len()
    }

    /// Cancels a request.
    pub(super) async fn cancel(&mut self, id: u64) {
        if self.open.remove(&id) {
            self.cancelled.insert(id);
        }
        self.shim
            .notify("notifications/cancelled", json!({ "requestId": id }))
            .await;
    }

    /// Ends the shim. It must send no further responses.
    pub(super) async fn end(mut self) {
        let open = std::mem::take(&mut self.open);
        assert!(open.is_empty(), "{}: no answer to {open:?}", self.name);
        for message in self.shim.end().await {
            assert!(message.get("method").is_some(), "{}: {message}", self.name);
        }
    }

    /// Returns the key of a call at the server.
    pub(super) fn key(&self, id: u64) -> String {
        format!("{}-{id}", self.name)
    }

    /// Returns the process id of the shim.
    pub(super) fn process(&self) -> u32 {
        self.shim.process()
    }

    /// Handles a message. Responds to a request with its method.
    async fn take(&mut self, message: Value) {
        if let Some(method) = message.get("method") {
            if message.get("id").is_some() {
                let result = json!({ "method": method, "x-odd": 1.0 });
                self.shim.reply(&message, result).await;
            }
            return;
        }
        let id = message["id"].as_u64();
        let id = id.unwrap_or_else(|| panic!("{}: not a response: {message}", self.name));
        let was_due = self.open.remove(&id) || self.cancelled.remove(&id);
        assert!(was_due, "{}: unexpected response {message}", self.name);
        self.answers.insert(id, message);
    }
}
