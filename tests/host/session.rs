//! The host's side of the session: what it declares and the requests it sends.
//!
//! Owns: the ids, the handshake of the legacy era (2025-11-25, "Lifecycle"), and the `_meta` of
//! every modern request (2026-07-28, "Overview", `_meta`).
//! Does not own: the server's requests ([`crate::call`], [`crate::response`]).

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::{program::Program, response};

/// The error code for an unsupported version (2026-07-28, "Versioning").
const UNSUPPORTED_VERSION: i64 = -32022;

/// The versions of the host in each era.
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// The era of the host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// With `initialize`.
    Legacy,
    /// Without `initialize`.
    Modern,
}

/// A host's session with the server behind the program.
pub(crate) struct Session {
    pub(crate) era: Era,
    program: Program,
    last_id: u64,
    /// The server's capabilities from the handshake. Null before it and in the modern era.
    offered: Value,
}

/// A relevant message from the server.
pub(crate) enum Incoming {
    /// The response to the awaited request: the whole message.
    Response(Value),
    /// A request of the server: the whole message.
    Request(Value),
}

impl Session {
    /// Creates a session without sending anything.
    pub(crate) fn new(era: Era, program: Program) -> Self {
        Self {
            era,
            program,
            last_id: 0,
            offered: Value::Null,
        }
    }

    /// Sends the first request of this era.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        match self.era {
            Era::Legacy => self.initialize().await,
            Era::Modern => self.discover().await,
        }
    }

    async fn initialize(&mut self) -> Result<()> {
        let params = json!({
            "protocolVersion": LEGACY,
            "capabilities": capabilities(),
            "clientInfo": identity(),
        });
        let mut result = self.request("initialize", params).await?;
        self.offered = result["capabilities"].take();
        let version = result["protocolVersion"].as_str();
        version.with_context(|| format!("no version: {result}"))?;
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await
    }

    /// Sends `server/discover`. If the server rejects our version but lists it as supported, sends
    /// it once more.
    async fn discover(&mut self) -> Result<()> {
        let mut answer = self.exchange("server/discover", json!({})).await?;
        let error = &answer["error"];
        let names_ours = error["data"]["supported"]
            .as_array()
            .is_some_and(|versions| versions.iter().any(|version| version == MODERN));
        if error["code"] == UNSUPPORTED_VERSION && names_ours {
            answer = self.exchange("server/discover", json!({})).await?;
        }
        result_of("server/discover", answer).map(drop)
    }

    /// Sends a request and returns its result.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Result<Value> {
        let answer = self.exchange(method, params).await?;
        result_of(method, answer)
    }

    /// Returns all pages of a list.
    pub(crate) async fn list(&mut self, method: &str, of: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut params = json!({});
        loop {
            let mut page = self.request(method, params).await?;
            let Value::Array(some) = page[of].take() else {
                bail!("no {of} in the answer to {method}");
            };
            all.extend(some);
            match page["nextCursor"].take() {
                Value::Null => return Ok(all),
                cursor => params = json!({ "cursor": cursor }),
            }
        }
    }

    /// Waits for the `list_changed` notification of tools. Returns false if the server does not
    /// declare it.
    pub(crate) async fn await_tools_changed(&mut self) -> Result<bool> {
        if self.offered["tools"]["listChanged"] != true {
            return Ok(false);
        }
        loop {
            let message = self.program.next().await?;
            if message["method"] == "notifications/tools/list_changed" {
                return Ok(true);
            }
        }
    }

    /// Sends a request and returns its id.
    pub(crate) async fn send_request(&mut self, method: &str, params: Value) -> Result<u64> {
        self.last_id += 1;
        let id = self.last_id;
        let params = match self.era {
            Era::Legacy => params,
            Era::Modern => with_meta(params),
        };
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await?;
        Ok(id)
    }

    /// Waits for the response to `id` or an earlier request of the server. Skips notifications.
    /// Fails on any other response.
    pub(crate) async fn receive(&mut self, id: u64) -> Result<Incoming> {
        loop {
            let message = self.program.next().await?;
            match (&message["id"], &message["method"]) {
                (Value::Null, Value::String(_)) => {}
                (_, Value::String(_)) => return Ok(Incoming::Request(message)),
                (answered, _) if *answered == id => return Ok(Incoming::Response(message)),
                _ => bail!("an unexpected response: {message}"),
            }
        }
    }

    /// Responds to a request of the server.
    pub(crate) async fn answer(&mut self, request: &Value) -> Result<()> {
        let result = response::answer(request)?;
        self.send(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }))
            .await
    }

    /// Ends the session as hosts do: closes the program's stdin.
    pub(crate) async fn end(self) -> Result<()> {
        self.program.end().await
    }

    async fn exchange(&mut self, method: &str, params: Value) -> Result<Value> {
        let id = self.send_request(method, params).await?;
        loop {
            match self.receive(id).await? {
                Incoming::Response(answer) => return Ok(answer),
                Incoming::Request(request) => self.answer(&request).await?,
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        self.program.send(message).await
    }
}

/// Returns the result of a response. Fails on an error response.
pub(crate) fn result_of(method: &str, mut answer: Value) -> Result<Value> {
    match answer["result"].take() {
        Value::Null => bail!("{method}: {answer}"),
        result => Ok(result),
    }
}

/// Returns the parameters with the `_meta` of the modern era.
fn with_meta(params: Value) -> Value {
    let mut params = match params {
        Value::Object(params) => params,
        _ => Map::new(),
    };
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities(),
        "io.modelcontextprotocol/clientInfo": identity(),
    });
    params.insert("_meta".to_owned(), meta);
    Value::Object(params)
}

fn capabilities() -> Value {
    json!({ "elicitation": {}, "roots": {}, "sampling": {} })
}

fn identity() -> Value {
    json!({ "name": "a host of the suite's scenarios", "version": "1.0.0" })
}
