//! The last results of a server, so that a host gets a response before the server is live.
//!
//! Owns: the handshake and the lists, as the server wrote them, in memory and in one file per
//! configured server. Does not own: when they are used.

mod cached_result;
mod file;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use control::api::{Problem, ToolView};
use mcp::handshake::InitializeResult;
use mcp::meta::META_SERVER_INFO as SERVER_INFO;
use mcp::{
    Era, LATEST_LEGACY, LATEST_MODERN, Message, RequestId, SUPPORTED_LEGACY, handshake,
    json as text,
};
use model::{EndpointUrl, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(crate) use cached_result::CachedResult;
use cached_result::Outline;
pub(crate) use file::CacheFile;

use crate::stand_in::StandIn;

/// Why the server cannot be asked. Used where nothing is cached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unavailable<'a> {
    pub(crate) server: &'a ServerName,
    pub(crate) problem: &'a Problem,
}

impl Unavailable<'_> {
    fn tool(self) -> Value {
        StandIn::for_problem(self.problem).tool(self.server)
    }

    fn instructions(self) -> Value {
        json!(StandIn::for_problem(self.problem).instructions(self.server))
    }
}

/// The cached lists, and the field of the result that holds the items.
const LISTS: [(&str, &str); 4] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

/// How a server describes itself.
struct ServerInfo {
    capabilities: Value,
    info: Value,
    instructions: Instructions,
}

enum Instructions {
    /// The server's own, if it has any.
    Own(Option<Value>),
    /// Nothing is cached.
    Unknown,
}

impl ServerInfo {
    fn instructions(self, unavailable: Unavailable<'_>) -> Option<Value> {
        match self.instructions {
            Instructions::Own(own) => own,
            Instructions::Unknown => Some(unavailable.instructions()),
        }
    }
}

/// The last results by method. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerCache {
    /// The URL of the server. The cache of another URL is not used.
    url: String,
    /// The account that saw the results, as the management API names accounts. Another account must
    /// not see them.
    account: Option<String>,
    /// Whether an account ever signed in.
    signed_in: bool,
    results: BTreeMap<String, CachedResult>,
    /// How often the results of an account were forgotten.
    forgotten: u64,
}

/// The content of the file.
#[derive(Default, Serialize, Deserialize)]
struct CacheDocument<R, O> {
    url: String,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    signed_in: bool,
    results: BTreeMap<String, R>,
    /// Outlines of results that are too large.
    #[serde(default = "BTreeMap::new")]
    outlines: BTreeMap<String, O>,
}

/// A result before another one arrived.
#[derive(Debug)]
pub(crate) struct PreviousResult {
    pub(crate) cached: Option<CachedResult>,
    forgotten: u64,
}

impl ServerCache {
    /// Reads the cache of the server at `url`. Returns an empty one if the file belongs to another
    /// URL.
    pub(crate) fn load(path: &Path, url: &EndpointUrl) -> Self {
        let read = || {
            let bytes = threads::blocking(|| std::fs::read(path)).ok()?;
            let parse = || serde_json::from_slice(&bytes).ok().map(Self::from_document);
            threads::pass(bytes.len(), parse)
        };
        read()
            .filter(|cache| cache.url == url.as_str())
            .unwrap_or_else(|| Self::for_url(url))
    }

    /// Creates an empty cache of the server at `url`.
    pub(crate) fn for_url(url: &EndpointUrl) -> Self {
        Self {
            url: url.as_str().to_owned(),
            ..Self::default()
        }
    }

    fn from_document(document: CacheDocument<Box<RawValue>, Outline>) -> Self {
        let whole = document.results.into_iter().filter_map(|(method, result)| {
            let cached = CachedResult::if_changed(&method, &result, None)?;
            Some((method, cached))
        });
        let mut results: BTreeMap<_, _> = whole.collect();
        for (method, outline) in document.outlines {
            results.insert(method, CachedResult::Outline(outline.into()));
        }
        Self {
            url: document.url,
            account: document.account,
            signed_in: document.signed_in,
            results,
            forgotten: 0,
        }
    }

    /// Returns the content of the file.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be serialised.
    fn text(&self) -> io::Result<String> {
        let (mut results, mut outlines) = (BTreeMap::new(), BTreeMap::new());
        for (method, cached) in &self.results {
            match cached {
                CachedResult::Whole(result) => drop(results.insert(method.clone(), &***result)),
                CachedResult::Outline(outline) => drop(outlines.insert(method.clone(), &**outline)),
            }
        }
        let document: CacheDocument<&RawValue, &Outline> = CacheDocument {
            url: self.url.clone(),
            account: self.account.clone(),
            signed_in: self.signed_in,
            results,
            outlines,
        };
        Ok(serde_json::to_string(&document)?)
    }

    /// Returns true if it belongs to the server at `url`.
    pub(crate) fn is_for(&self, url: &EndpointUrl) -> bool {
        self.url == url.as_str()
    }

    pub(crate) fn was_signed_in(&self) -> bool {
        self.signed_in
    }

    /// Records the account that uses the server from now on.
    pub(crate) fn record_account(&mut self, account: &str) -> Change {
        if self.account.as_deref() == Some(account) {
            return Change::None;
        }
        let change = match self.account {
            Some(_) => {
                self.clear();
                Change::Forgotten
            }
            None => Change::More,
        };
        self.account = Some(account.to_owned());
        self.signed_in = true;
        change
    }

    /// Forgets what the account saw.
    pub(crate) fn forget(&mut self) -> Change {
        if self.account.take().is_none() {
            return Change::None;
        }
        self.clear();
        Change::Forgotten
    }

    fn clear(&mut self) {
        self.results.clear();
        self.forgotten += 1;
    }

    /// Returns true if the result of this request is cached.
    pub(crate) fn is_cacheable(request: &Message) -> bool {
        let Some(method) = request.method() else {
            return false;
        };
        let is_handshake = matches!(method, "initialize" | "server/discover");
        // A further page would pass for the whole list.
        is_handshake || (is_list(method) && !is_further_page(request))
    }

    /// Returns true if [`answer`](Self::answer) has a response.
    pub(crate) fn can_answer(request: &Message) -> bool {
        let fixed = ["ping", "logging/setLevel", "initialize", "server/discover"];
        let method = request.method();
        request.id().is_some()
            && method.is_some_and(|method| fixed.contains(&method) || is_list(method))
    }

    /// Returns the cached result of `method`, to be compared with the next one.
    pub(crate) fn before(&self, method: &str) -> PreviousResult {
        PreviousResult {
            cached: self.results.get(method).cloned(),
            forgotten: self.forgotten,
        }
    }

    /// Caches a result. Returns false if the cache was forgotten since `before`: another account
    /// may have seen the result.
    pub(crate) fn record(
        &mut self,
        method: &str,
        cached: CachedResult,
        before: &PreviousResult,
    ) -> bool {
        if before.forgotten != self.forgotten {
            return false;
        }
        self.results.insert(method.to_owned(), cached);
        true
    }

    fn whole(&self, method: &str) -> Option<&RawValue> {
        self.results.get(method)?.whole()
    }

    /// Answers a request that the server cannot be asked: with the last result, or with the minimum
    /// that a host needs. Returns `None` if only the server can answer.
    pub(crate) fn answer(
        &self,
        request: &Message,
        unavailable: Unavailable<'_>,
    ) -> Option<Message> {
        let method = request.method()?;
        let size = self.whole(method).map_or(0, |known| known.get().len());
        threads::pass(size, || self.answer_here(request, unavailable))
    }

    fn answer_here(&self, request: &Message, unavailable: Unavailable<'_>) -> Option<Message> {
        let (id, method) = (request.id()?, request.method()?);
        match method {
            "ping" | "logging/setLevel" => Some(Message::response(id, &json!({}))),
            "initialize" => Some(self.initialize(id, request, unavailable)),
            "server/discover" => Some(self.discover(id, unavailable)),
            _ => self.list(id, method, request, unavailable),
        }
    }

    /// Returns true if `request` asks for a list that is not cached.
    pub(crate) fn lacks(&self, request: &Message) -> bool {
        let method = request.method();
        method.is_some_and(|method| is_list(method) && self.whole(method).is_none())
    }

    /// Returns the capabilities for hosts, as a JSON object.
    pub(crate) fn capabilities(&self) -> String {
        let known = ["server/discover", "initialize"]
            .into_iter()
            .find(|method| self.whole(method).is_some());
        let server_info = self.server_info(known.unwrap_or("initialize"));
        server_info.capabilities.to_string()
    }

    fn initialize(
        &self,
        id: &RequestId,
        request: &Message,
        unavailable: Unavailable<'_>,
    ) -> Message {
        let asked = handshake::InitializeParams::from_request(request)
            .map(|params| params.protocol_version);
        let asked = asked
            .as_deref()
            .filter(|asked| SUPPORTED_LEGACY.contains(asked));
        if let Some(known) = self.whole("initialize") {
            return Message::response(id, &in_version(known, asked));
        }
        let server_info = self.server_info("server/discover");
        let mut result = json!({
            "protocolVersion": asked.unwrap_or(LATEST_LEGACY),
            "capabilities": server_info.capabilities,
            "serverInfo": server_info.info,
        });
        if let Some(instructions) = server_info.instructions(unavailable) {
            result["instructions"] = instructions;
        }
        Message::response(id, &result)
    }

    fn discover(&self, id: &RequestId, unavailable: Unavailable<'_>) -> Message {
        if let Some(known) = self.whole("server/discover") {
            return Message::response(id, &known);
        }
        let server_info = self.server_info("initialize");
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": [LATEST_MODERN],
            "capabilities": server_info.capabilities,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": { SERVER_INFO: server_info.info },
        });
        if let Some(instructions) = server_info.instructions(unavailable) {
            result["instructions"] = instructions;
        }
        Message::response(id, &result)
    }

    /// Returns how the server described itself in the other era. Returns defaults if that is not
    /// cached.
    fn server_info(&self, method: &str) -> ServerInfo {
        let own = json!({ "name": "postern", "version": env!("CARGO_PKG_VERSION") });
        let known = self.whole(method);
        let known = known.and_then(|known| text::read::<Value>(known.get()).ok());
        let Some(known) = known else {
            return ServerInfo {
                capabilities: capabilities(),
                info: own,
                instructions: Instructions::Unknown,
            };
        };
        let info = known.get("serverInfo");
        let info = info.or_else(|| known.get("_meta")?.get(SERVER_INFO));
        ServerInfo {
            capabilities: known.get("capabilities").cloned().unwrap_or(json!({})),
            info: info.cloned().unwrap_or(own),
            instructions: Instructions::Own(known.get("instructions").cloned()),
        }
    }

    fn list(
        &self,
        id: &RequestId,
        method: &str,
        request: &Message,
        unavailable: Unavailable<'_>,
    ) -> Option<Message> {
        let (_, items) = LISTS.iter().find(|(list, _)| *list == method)?;
        // Only the first page is known. The following pages are empty, so that the host stops
        // asking.
        if let Some(known) = self.whole(method)
            && !is_further_page(request)
        {
            return Some(match Era::from_message(request) {
                Era::Legacy => Message::response(id, &known),
                Era::Modern => Message::response(id, &completed(known)),
            });
        }
        let has_stand_in =
            method == "tools/list" && self.lacks(request) && !is_further_page(request);
        let stand_in = has_stand_in.then(|| unavailable.tool());
        let stand_in = stand_in.filter(|tool| {
            !tool["name"]
                .as_str()
                .is_some_and(|name| self.has_tool(name))
        });
        let mut result = json!({ *items: Vec::from_iter(stand_in) });
        if Era::from_message(request) == Era::Modern {
            for (name, value) in completion() {
                result[name] = value;
            }
        }
        Some(Message::response(id, &result))
    }

    /// Returns true if the server has a tool of that name, as far as is known.
    pub(crate) fn has_tool(&self, name: &str) -> bool {
        let listed = self.results.get("tools/list");
        listed.is_some_and(|listed| listed.has_tool(name))
    }

    /// Returns the tools to show to the user.
    pub(crate) fn tools(&self) -> Option<Vec<ToolView>> {
        self.results.get("tools/list")?.tools()
    }
}

/// Returns true if a `tools/list` result has a tool of that name.
pub(crate) fn lists_tool(result: &RawValue, name: &str) -> bool {
    #[derive(Deserialize)]
    struct Tools<'a> {
        #[serde(borrow)]
        tools: Vec<Named<'a>>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: std::borrow::Cow<'a, str>,
    }
    let listed = text::read::<Tools<'_>>(result.get());
    listed.is_ok_and(|listed| listed.tools.iter().any(|tool| tool.name == name))
}

fn is_list(method: &str) -> bool {
    LISTS.iter().any(|(list, _)| *list == method)
}

fn is_further_page(request: &Message) -> bool {
    #[derive(Deserialize)]
    struct Page {
        cursor: Option<serde::de::IgnoredAny>,
    }
    let page = request
        .params()
        .and_then(|params| text::read::<Page>(params.get()).ok());
    page.is_some_and(|page| page.cursor.is_some())
}

/// Adapts a cached `initialize` result to the version that this host asks for.
fn in_version(known: &RawValue, version: Option<&str>) -> Box<RawValue> {
    let rewritten = version.and_then(|version| {
        let mut result: BTreeMap<String, Box<RawValue>> = text::read(known.get()).ok()?;
        let version = serde_json::value::to_raw_value(version).ok()?;
        if result.get("protocolVersion")?.get() == version.get() {
            return None;
        }
        result.insert("protocolVersion".to_owned(), version);
        serde_json::value::to_raw_value(&result).ok()
    });
    rewritten.unwrap_or_else(|| known.to_owned())
}

/// The fields of every list result in the modern era.
fn completion() -> [(&'static str, Value); 3] {
    [
        ("resultType", json!("complete")),
        ("ttlMs", json!(0)),
        ("cacheScope", json!("private")),
    ]
}

/// Adapts a list result of the legacy era to a host of the modern one.
fn completed(known: &RawValue) -> Box<RawValue> {
    let rewritten = || {
        let mut result: BTreeMap<String, Box<RawValue>> = text::read(known.get()).ok()?;
        if completion()
            .iter()
            .all(|(name, _)| result.contains_key(*name))
        {
            return None;
        }
        for (name, value) in completion() {
            let value = serde_json::value::to_raw_value(&value).ok()?;
            result.entry(name.to_owned()).or_insert(value);
        }
        serde_json::value::to_raw_value(&result).ok()
    };
    rewritten().unwrap_or_else(|| known.to_owned())
}

/// How a cache changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// Results were added.
    More,
    /// What an account saw was forgotten, and must not stay on the disk.
    Forgotten,
}

/// The capabilities of a server that is not cached: all of them, because it may have them later.
fn capabilities() -> Value {
    json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true },
    })
}

/// Returns the notifications that make a host list again after the bridge has answered for the
/// server.
pub(crate) fn list_changes(handshake: &Message) -> Vec<Message> {
    #[derive(Deserialize)]
    struct Offered {
        tools: Option<serde::de::IgnoredAny>,
        prompts: Option<serde::de::IgnoredAny>,
        resources: Option<serde::de::IgnoredAny>,
    }
    let offered = InitializeResult::from_response(handshake)
        .and_then(|result| result.capabilities)
        .and_then(|raw| text::read::<Offered>(raw.get()).ok());
    let Some(offered) = offered else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    if offered.tools.is_some() {
        changes.push(Message::notification(
            "notifications/tools/list_changed",
            None,
        ));
    }
    if offered.prompts.is_some() {
        changes.push(Message::notification(
            "notifications/prompts/list_changed",
            None,
        ));
    }
    if offered.resources.is_some() {
        changes.push(Message::notification(
            "notifications/resources/list_changed",
            None,
        ));
    }
    changes
}

#[cfg(test)]
mod tests;
