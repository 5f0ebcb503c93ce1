//! A host whose calls meet faults, and that holds its shim to one answer for each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{bridge::Bridge, shim::Shim, upstream::Fault, wire::tool_text};

/// The host. Whatever its shim says goes through its hands.
pub(super) struct Host {
    shim: Shim,
    name: String,
    /// What it asked and was not answered yet.
    open: BTreeSet<u64>,
    /// What it cancelled: there may be an answer, but no second one.
    cancelled: BTreeSet<u64>,
    answers: BTreeMap<u64, Value>,
}

impl Host {
    /// Spawns a shim and shakes hands. The name makes its calls known at the server.
    pub(super) async fn connect(bridge: &Bridge, name: &str) -> Self {
        Self {
            shim: Shim::connect(bridge, "raw").await,
            name: name.to_owned(),
            open: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Calls a tool that meets this fault; the request's id.
    pub(super) async fn ask(&mut self, fault: Fault) -> u64 {
        let number = self.shim.last_id() + 1;
        let arguments = json!({ "key": self.key(number), "fault": fault });
        self.ask_for(
            "tools/call",
            json!({ "name": "echo", "arguments": arguments }),
        )
        .await
    }

    /// Asks anything.
    pub(super) async fn ask_for(&mut self, method: &str, params: Value) -> u64 {
        let id = self.shim.ask(method, params).await;
        self.open.insert(id);
        id
    }

    /// Asks, and waits for the answer.
    pub(super) async fn call(&mut self, fault: Fault) -> Result<String, Value> {
        let id = self.ask(fault).await;
        self.answer(id).await
    }

    /// Waits for the answer to a call: the text, or the whole message if it is an error.
    pub(super) async fn answer(&mut self, id: u64) -> Result<String, Value> {
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

    /// Waits for the answers to all that was asked and not cancelled.
    pub(super) async fn answers(&mut self) -> BTreeMap<u64, Result<String, Value>> {
        let mut outcomes = BTreeMap::new();
        let wanted = self.open.iter().chain(self.answers.keys());
        for id in wanted.copied().collect::<Vec<_>>() {
            outcomes.insert(id, self.answer(id).await);
        }
        outcomes
    }

    /// Takes one line of the shim; its length.
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

    /// Ends the shim, which says nothing more than it owes.
    pub(super) async fn end(mut self) {
        let open = std::mem::take(&mut self.open);
        assert!(open.is_empty(), "{}: no answer to {open:?}", self.name);
        for message in self.shim.end().await {
            assert!(message.get("method").is_some(), "{}: {message}", self.name);
        }
    }

    /// The name of a call at the server.
    pub(super) fn key(&self, id: u64) -> String {
        format!("{}-{id}", self.name)
    }

    /// The shim's process.
    pub(super) fn process(&self) -> u32 {
        self.shim.process()
    }

    /// What is asked comes back as the answer, with what it was asked for.
    async fn take(&mut self, message: Value) {
        if let Some(method) = message.get("method") {
            if message.get("id").is_some() {
                let result = json!({ "method": method, "x-odd": 1.0 });
                self.shim.reply(&message, result).await;
            }
            return;
        }
        let id = message["id"].as_u64();
        let id = id.unwrap_or_else(|| panic!("{}: whose answer is {message}", self.name));
        let was_due = self.open.remove(&id) || self.cancelled.remove(&id);
        assert!(was_due, "{}: nobody waits for {message}", self.name);
        self.answers.insert(id, message);
    }
}
