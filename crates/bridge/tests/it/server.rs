//! An MCP server (Streamable HTTP, legacy era) that records its requests and fails on demand.

mod authority;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    bodies: Vec<Bytes>,
    /// The values of `x-api-key` and `x-team` that came, with the HTTP method.
    keys: Vec<[String; 3]>,
    /// The only accepted value of `x-api-key`.
    key: Option<&'static str>,
    sessions: u32,
    deleted: u32,
    forget: bool,
    forgetful: bool,
    silent: bool,
    /// Whether delayed requests are answered now.
    released: watch::Sender<bool>,
    unauthorized: bool,
    /// Whether access tokens come with a refresh token that is valid for one refresh, and the number
    /// of refreshes.
    renewals: Option<u32>,
    /// The response to a refresh instead of tokens.
    refusal: Option<Value>,
    /// Whether the tokens of a sign-in are delayed.
    slow: bool,
    /// The scope that calls need, until the next sign-in.
    scope: Option<&'static str>,
    /// Whether no sign-in grants it.
    insists: bool,
    /// What is refused although it comes with the newest token, and how: a status and a challenge,
    /// one after the other. `{n}` in a challenge is another number each time.
    refused: Option<(Refused, &'static [(u16, &'static str)])>,
    /// The number of requests rejected so.
    refusals: usize,
    /// Whether a refresh is answered with `interaction_required`.
    interaction: bool,
    /// The number of token requests.
    token_requests: u32,
    /// The accepted access token, after a sign-in.
    token: Option<String>,
    /// The account of the next sign-in.
    person: String,
    /// How device codes are handled.
    codes: Codes,
    /// How `subscriptions/listen` is handled.
    subscriptions: Subscriptions,
    /// Whether lists are answered with an error.
    refuses_lists: bool,
    /// The names of the tools, in place of `echo`.
    tools: Option<&'static [&'static str]>,
    /// The length of the description of `echo`, in bytes. It differs in each list.
    description: Option<usize>,
    /// The ids of the consents that the authorization server lists, if it offers that.
    consents: Option<Vec<&'static str>>,
    /// Whether the list of consents is never answered.
    hides_consents: bool,
    /// The number of hanging responses, and of those that the client has closed.
    hanging: watch::Sender<(u32, u32)>,
}

/// Which requests are rejected with any token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Everything,
    Calls,
}

/// How `subscriptions/listen` is handled.
#[derive(Clone, Default)]
enum Subscriptions {
    /// Sends a message that belongs to no subscription, and hangs.
    #[default]
    Odd,
    /// It is acknowledged with this filter; then these notifications come on it.
    Granted(Value, &'static [&'static str]),
    /// The server knows no such method.
    Unknown,
    /// The next one is answered with 503; then they are granted with this filter.
    Broken(Value),
}

/// How device codes are handled (RFC 8628).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Codes {
    #[default]
    NotOffered,
    /// Offered, but no client is registered for them.
    NotRegistered,
    Awaited,
    Approved,
    /// The device gets this error.
    Refused(&'static str),
}

impl Record {
    /// Offers device codes from now on.
    pub(crate) fn offer_codes(&self) {
        self.0.lock().unwrap().codes = Codes::Awaited;
    }

    /// Offers device codes from now on, but registers no client for them.
    pub(crate) fn offer_codes_without_registration(&self) {
        self.0.lock().unwrap().codes = Codes::NotRegistered;
    }

    /// The user enters the shown code.
    pub(crate) fn enter_code(&self) {
        self.0.lock().unwrap().codes = Codes::Approved;
    }

    /// The code that was shown ends with this error.
    pub(crate) fn refuse_code(&self, error: &'static str) {
        self.0.lock().unwrap().codes = Codes::Refused(error);
    }

    /// Lists consents of these ids from now on.
    pub(crate) fn list_consents(&self, ids: &[&'static str]) {
        self.0.lock().unwrap().consents = Some(ids.to_vec());
    }

    /// Does not answer requests for consents from now on.
    pub(crate) fn hide_consents(&self) {
        self.0.lock().unwrap().hides_consents = true;
    }

    /// Gives refresh tokens from now on, and answers each refresh with this.
    pub(crate) fn refuse_refresh(&self, refusal: Value) {
        let mut inner = self.0.lock().unwrap();
        inner.renewals = Some(0);
        inner.refusal = Some(refusal);
    }

    /// The messages with this method, as they came.
    pub(crate) fn bodies(&self, method: &str) -> Vec<Bytes> {
        let of_method = |body: &&Bytes| {
            serde_json::from_slice::<Value>(body).is_ok_and(|message| message["method"] == method)
        };
        self.0
            .lock()
            .unwrap()
            .bodies
            .iter()
            .filter(of_method)
            .cloned()
            .collect()
    }

    /// Accepts this `x-api-key`, and answers all other requests with 401.
    pub(crate) fn want_key(&self, key: &'static str) {
        self.0.lock().unwrap().key = Some(key);
    }

    /// Takes the HTTP method, `x-api-key` and `x-team` of each request so far.
    pub(crate) fn take_keys(&self) -> Vec<[String; 3]> {
        std::mem::take(&mut self.0.lock().unwrap().keys)
    }

    fn note_keys(&self, method: &str, headers: &HeaderMap) {
        let value = |name: &str| {
            let value = headers.get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let keys = [method.to_owned(), value("x-api-key"), value("x-team")];
        self.0.lock().unwrap().keys.push(keys);
    }

    /// Acknowledges subscriptions with this filter, and sends these notifications on them.
    pub(crate) fn grant(&self, filter: Value, then: &'static [&'static str]) {
        self.0.lock().unwrap().subscriptions = Subscriptions::Granted(filter, then);
    }

    /// Does not support subscriptions.
    pub(crate) fn refuse_subscriptions(&self) {
        self.0.lock().unwrap().subscriptions = Subscriptions::Unknown;
    }

    /// Answers the next subscription with 503, and grants those after it.
    pub(crate) fn break_subscription(&self, filter: Value) {
        self.0.lock().unwrap().subscriptions = Subscriptions::Broken(filter);
    }

    /// Answers lists with an error.
    pub(crate) fn refuse_lists(&self) {
        self.0.lock().unwrap().refuses_lists = true;
    }

    /// Has these tools.
    pub(crate) fn tools(&self, names: &'static [&'static str]) {
        self.0.lock().unwrap().tools = Some(names);
    }

    /// Describes `echo` in this number of bytes from now on, differently in each list.
    pub(crate) fn describe(&self, bytes: usize) {
        self.0.lock().unwrap().description = Some(bytes);
    }

    pub(crate) fn sessions(&self) -> (u32, u32) {
        let inner = self.0.lock().unwrap();
        (inner.sessions, inner.deleted)
    }

    /// Answers the next message with 404, as after a restart.
    pub(crate) fn forget_session(&self) {
        self.0.lock().unwrap().forget = true;
    }

    /// Whether every session is forgotten as soon as it has begun.
    pub(crate) fn forget_each_session(&self, forgetful: bool) {
        self.0.lock().unwrap().forgetful = forgetful;
    }

    /// Leaves the next handshake unanswered.
    pub(crate) fn ignore_handshake(&self) {
        self.0.lock().unwrap().silent = true;
    }

    /// Answers delayed requests. Returns 404 in a session that is not the newest.
    pub(crate) fn release(&self) {
        self.0.lock().unwrap().released.send_replace(true);
    }

    /// Delays the tokens of each sign-in from now on.
    pub(crate) fn sign_in_late(&self) {
        self.0.lock().unwrap().slow = true;
    }

    /// Answers everything with 401 until the next sign-in.
    pub(crate) fn want_sign_in(&self) {
        self.0.lock().unwrap().unauthorized = true;
    }

    /// Issues refresh tokens from now on. Each is valid for one refresh, which is delayed.
    pub(crate) fn renew_late(&self) {
        self.0.lock().unwrap().renewals = Some(0);
    }

    /// Refuses requests from now on, with one of `answers` after the other, though they bring the
    /// newest token. No two tokens are the same from now on.
    pub(crate) fn refuse(&self, what: Refused, answers: &'static [(u16, &'static str)]) {
        self.0.lock().unwrap().refused = Some((what, answers));
    }

    /// Accepts the newest token again.
    pub(crate) fn refuse_nothing(&self) {
        self.0.lock().unwrap().refused = None;
    }

    /// Whether refreshing is answered with `interaction_required` from now on.
    pub(crate) fn want_interaction(&self, wants: bool) {
        self.0.lock().unwrap().interaction = wants;
    }

    /// Returns the number of token requests.
    pub(crate) fn token_requests(&self) -> u32 {
        self.0.lock().unwrap().token_requests
    }

    /// No longer accepts the access token.
    pub(crate) fn end_token(&self) {
        self.0.lock().unwrap().token = None;
    }

    /// Answers calls with 403, whichever account signs in.
    pub(crate) fn want_scope_in_vain(&self, scope: &'static str) {
        self.want_scope(scope);
        self.0.lock().unwrap().insists = true;
    }

    /// Answers calls with 403 until the next sign-in.
    pub(crate) fn want_scope(&self, scope: &'static str) {
        self.0.lock().unwrap().scope = Some(scope);
    }

    /// The account of the next sign-in.
    pub(crate) fn person(&self, name: &str) {
        name.clone_into(&mut self.0.lock().unwrap().person);
    }

    /// Returns the number of requests that hung, and of those that the client closed.
    pub(crate) fn hanging_now(&self) -> (u32, u32) {
        *self.0.lock().unwrap().hanging.borrow()
    }

    /// Waits until this number of requests hangs, and this number was closed.
    pub(crate) async fn hanging(&self, wanted: (u32, u32)) {
        let mut hanging = self.0.lock().unwrap().hanging.subscribe();
        let there = hanging.wait_for(|now| *now == wanted);
        tokio::time::timeout(crate::bridge::TIMEOUT, there)
            .await
            .expect("the server sees it")
            .unwrap();
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) record: Record,
    _stop: DropGuard,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap()).await
    }

    /// On a listener, so that a test can have the address before the server.
    pub(crate) async fn on(listener: TcpListener) -> Self {
        let (record, stop) = (Record::default(), CancellationToken::new());
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/mcp", post(answer).delete(end).get(listen))
            .merge(authority::routes(address))
            .with_state(record.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, app) => served.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        Self {
            address,
            record,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

struct LetGo(watch::Sender<(u32, u32)>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.send_modify(|(_, ended)| *ended += 1);
    }
}

async fn listen(State(record): State<Record>, headers: HeaderMap) -> StatusCode {
    record.note_keys("GET", &headers);
    StatusCode::METHOD_NOT_ALLOWED
}

async fn end(State(record): State<Record>, headers: HeaderMap) -> StatusCode {
    record.note_keys("DELETE", &headers);
    record.0.lock().unwrap().deleted += 1;
    StatusCode::NO_CONTENT
}

async fn answer(State(record): State<Record>, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let initialize = message["method"] == "initialize";
    record.note_keys("POST", &headers);
    let (session, person, hanging, mut released, silent, subscriptions, tools, description) = {
        let mut inner = record.0.lock().unwrap();
        inner.bodies.push(body.clone());
        let given = headers
            .get("authorization")
            .map(|value| value.to_str().unwrap());
        let wanted = inner.token.as_ref().map(|token| format!("Bearer {token}"));
        if inner.unauthorized && (wanted.is_none() || given != wanted.as_deref()) {
            return (StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer")]).into_response();
        }
        if let Some((what, answers)) = inner.refused
            && (what == Refused::Everything || message["method"] == "tools/call")
        {
            let (status, challenge) = answers[inner.refusals % answers.len()];
            inner.refusals += 1;
            let challenge = challenge.replace("{n}", &inner.refusals.to_string());
            let status = StatusCode::from_u16(status).unwrap();
            return (status, [("www-authenticate", challenge)]).into_response();
        }
        if inner
            .key
            .is_some_and(|key| headers.get("x-api-key").is_none_or(|given| given != key))
        {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        if let Some(scope) = inner.scope.filter(|_| message["method"] == "tools/call") {
            let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scope}""#);
            return (StatusCode::FORBIDDEN, [("www-authenticate", challenge)]).into_response();
        }
        if !initialize && (inner.forgetful || std::mem::take(&mut inner.forget)) {
            return StatusCode::NOT_FOUND.into_response();
        }
        if inner.refuses_lists && message["method"] == "tools/list" {
            let error = json!({ "code": -32603, "message": "the catalogue is closed" });
            let body = json!({ "jsonrpc": "2.0", "id": message["id"], "error": error });
            return axum::Json(body).into_response();
        }
        if message["method"] == "subscriptions/listen"
            && let Subscriptions::Broken(filter) = &inner.subscriptions
        {
            inner.subscriptions = Subscriptions::Granted(filter.clone(), &[]);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let silent = initialize && std::mem::take(&mut inner.silent);
        if initialize {
            inner.sessions += u32::from(!silent);
        } else if !headers.contains_key("mcp-session-id") && !headers.contains_key("mcp-method") {
            return StatusCode::BAD_REQUEST.into_response();
        }
        (
            inner.sessions.to_string(),
            inner.person.clone(),
            inner.hanging.clone(),
            inner.released.subscribe(),
            silent,
            inner.subscriptions.clone(),
            inner.tools,
            inner.description.map(|bytes| {
                let number = inner.bodies.len().to_string();
                "x".repeat(bytes - number.len()) + &number
            }),
        )
    };
    if silent {
        hanging.send_modify(|(begun, _)| *begun += 1);
        let _guard = LetGo(hanging);
        return std::future::pending().await;
    }
    if message.get("id").is_none() || message.get("method").is_none() {
        return StatusCode::ACCEPTED.into_response();
    }
    let json = |body: String| {
        let headers = [
            ("content-type", "application/json"),
            ("mcp-session-id", session.as_str()),
        ];
        (headers, body).into_response()
    };
    let id = &message["id"];
    match message["method"].as_str().unwrap() {
        "initialize" => json(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-06-18","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"real","version":"9"}},"x-odd":1.0}}}}"#
        )),
        "tools/list" if let Some(names) = tools => {
            let tools: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
            let result = json!({ "tools": tools });
            json(json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
        }
        "tools/list" if let Some(description) = description => json(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"echo","description":"{description}"}}]}}}}"#
        )),
        "tools/list" => json(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"echo{person}","inputSchema":{{"type":"object"}}}}]}}}}"#
        )),
        "subscriptions/listen" if let Subscriptions::Granted(filter, then) = subscriptions => {
            let tag = json!({ "io.modelcontextprotocol/subscriptionId": id });
            let granted = json!({ "_meta": tag, "notifications": filter });
            let acknowledged = ("notifications/subscriptions/acknowledged", granted);
            let rest = then.iter().map(|method| (*method, json!({ "_meta": tag })));
            let frames: String = std::iter::once(acknowledged)
                .chain(rest)
                .map(|(method, params)| {
                    let told = json!({ "jsonrpc": "2.0", "method": method, "params": params });
                    format!("data: {told}\n\n")
                })
                .collect();
            stream_of(frames, hanging)
        }
        "subscriptions/listen" if let Subscriptions::Unknown = subscriptions => json(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "unknown" } }).to_string()),
        // Sends one message, and never a response.
        "hang" | "subscriptions/listen" => {
            let said = json!({ "jsonrpc": "2.0", "method": "notifications/said", "params": {} });
            stream_of(format!("data: {said}\n\n"), hanging)
        }
        "late" => {
            hanging.send_modify(|(begun, _)| *begun += 1);
            released.wait_for(|released| *released).await.unwrap();
            if headers["mcp-session-id"] != record.sessions().0.to_string() {
                return StatusCode::NOT_FOUND.into_response();
            }
            json(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#))
        }
        // Returns the parameters byte for byte.
        "tools/call" => {
            let text = std::str::from_utf8(&body).unwrap();
            let params = &text[text.find(r#""params":"#).unwrap() + 9..text.len() - 1];
            json(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{params}}}"#))
        }
        "progress" => {
            let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": 1, "progress": 1 } });
            let answer = json!({ "jsonrpc": "2.0", "id": id, "result": {} });
            let frames = format!("data: {progress}\n\ndata: {answer}\n\n");
            ([("content-type", "text/event-stream")], frames).into_response()
        }
        _ => json(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "unknown" } }).to_string()),
    }
}

/// A stream with these frames that does not end by itself.
fn stream_of(frames: String, hanging: watch::Sender<(u32, u32)>) -> Response {
    hanging.send_modify(|(begun, _)| *begun += 1);
    let first = stream::iter([Ok::<_, Infallible>(frames)]);
    let rest = stream::unfold(LetGo(hanging), async |guard| {
        std::future::pending::<()>().await;
        Some((Ok(String::new()), guard))
    });
    let frames = Body::from_stream(first.chain(rest));
    ([("content-type", "text/event-stream")], frames).into_response()
}
