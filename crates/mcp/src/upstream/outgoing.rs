//! A message from the host to the server.
//!
//! Owns: the headers that a message needs, by its era. Does not own: where it is sent.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use threads::Portioned;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::in_flight::Lane;
use crate::era::ParamsView;
use crate::error::Generation;
use crate::{Era, Message, header};

/// The headers that a Streamable HTTP session adds to every request.
#[derive(Clone, Default)]
pub(super) struct HttpSession {
    /// The session id that the server assigned, if any.
    pub(super) id: Option<HeaderValue>,
    /// The version that the handshake agreed on.
    pub(super) version: Option<HeaderValue>,
    pub(super) generation: Generation,
    /// Held by each task that waits for a response.
    #[expect(dead_code, reason = "its end is what counts")]
    pending_token: Option<TaskTrackerToken>,
}

/// The body of an HTTP request.
pub(super) type RequestBody = Portioned<Full<Bytes>>;

/// A message and its headers.
pub(super) struct Outgoing {
    pub(super) message: Message,
    authorization: Option<HeaderValue>,
    wire: Wire,
}

enum Wire {
    Legacy,
    Modern(StandardHeaders),
}

/// The standard headers of the modern era, which repeat values of the body.
struct StandardHeaders {
    version: Option<HeaderValue>,
    method: HeaderValue,
    name: Option<HeaderValue>,
}

impl Outgoing {
    pub(super) fn new(message: Message, authorization: Option<HeaderValue>) -> Self {
        let view = ParamsView::new(&message);
        let wire = match (message.method(), view.era(message.method())) {
            (None, _) | (_, Era::Legacy) => Wire::Legacy,
            (Some(method), Era::Modern) => Wire::Modern(StandardHeaders {
                version: view.version().map(header::encode_value),
                method: header::encode_value(method),
                name: view.mcp_name(method).map(header::encode_value),
            }),
        };
        Self {
            message,
            authorization: authorization.map(sensitive),
            wire,
        }
    }

    pub(super) fn era(&self) -> Era {
        match self.wire {
            Wire::Legacy => Era::Legacy,
            Wire::Modern(_) => Era::Modern,
        }
    }

    pub(super) fn lane(&self) -> Lane {
        match self.message.is_no_request() {
            true => Lane::Signals,
            false => Lane::Exchanges,
        }
    }

    /// Builds another message with the same authorization.
    pub(super) fn with_message(&self, message: Message) -> Self {
        Self::new(message, self.authorization.clone())
    }

    /// Builds the POST request. `base` comes from [`base_headers`]. `parameters` are added.
    pub(super) fn post(
        &self,
        uri: &Uri,
        base: &HeaderMap,
        session: &HttpSession,
        parameters: Vec<(HeaderName, HeaderValue)>,
    ) -> Request<RequestBody> {
        let mut headers = base.clone();
        headers.extend(parameters);
        match &self.wire {
            Wire::Legacy => {
                session.put(&mut headers);
                // It may reach a server of the modern era, which reads the headers first.
                if self.message.method() == Some("initialize") {
                    headers.insert(header::METHOD, HeaderValue::from_static("initialize"));
                }
            }
            Wire::Modern(standard) => standard.put(&mut headers),
        }
        put(&mut headers, AUTHORIZATION, self.authorization.as_ref());
        request(Method::POST, uri, headers, self.message.bytes().clone())
    }
}

impl HttpSession {
    /// Creates the session that a handshake began.
    pub(super) fn new(id: Option<HeaderValue>, generation: Generation) -> Self {
        Self {
            id,
            generation,
            ..Self::default()
        }
    }

    /// Returns a copy for a task that waits for a response.
    pub(super) fn with_token(&self, token: TaskTrackerToken) -> Self {
        Self {
            pending_token: Some(token),
            ..self.clone()
        }
    }

    /// Returns the generation of the session if a message of this era carries the session id.
    pub(super) fn generation_for(&self, era: Era) -> Option<Generation> {
        let named = era == Era::Legacy && self.id.is_some();
        named.then_some(self.generation)
    }

    /// Builds the GET request for a stream that continues after the event `last_id`.
    pub(super) fn get(
        &self,
        uri: &Uri,
        base: &HeaderMap,
        authorization: Option<HeaderValue>,
        last_id: Option<&str>,
    ) -> Request<RequestBody> {
        let mut request = self.request(Method::GET, uri, base, authorization);
        let last_id = last_id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
        put(
            request.headers_mut(),
            header::LAST_EVENT_ID,
            last_id.as_ref(),
        );
        request
    }

    /// Builds a request without a body in this session.
    pub(super) fn request(
        &self,
        method: Method,
        uri: &Uri,
        base: &HeaderMap,
        authorization: Option<HeaderValue>,
    ) -> Request<RequestBody> {
        let mut headers = base.clone();
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.put(&mut headers);
        put(
            &mut headers,
            AUTHORIZATION,
            authorization.map(sensitive).as_ref(),
        );
        request(method, uri, headers, Bytes::new())
    }

    fn put(&self, headers: &mut HeaderMap) {
        put(headers, header::SESSION_ID, self.id.as_ref());
        put(headers, header::PROTOCOL_VERSION, self.version.as_ref());
    }
}

impl StandardHeaders {
    fn put(&self, headers: &mut HeaderMap) {
        put(headers, header::PROTOCOL_VERSION, self.version.as_ref());
        put(headers, header::METHOD, Some(&self.method));
        put(headers, header::NAME, self.name.as_ref());
    }
}

/// Returns the headers of every POST request: those that the user configured, and those that the
/// transport requires.
pub(super) fn base_headers(configured: Vec<(HeaderName, HeaderValue)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        headers.append(name, sensitive(value));
    }
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!(
            "postern/",
            env!("CARGO_PKG_VERSION")
        )));
    let both = HeaderValue::from_static("application/json, text/event-stream");
    headers.insert(ACCEPT, both);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// Marks a value as sensitive, which keeps it out of logs and of HTTP/2's compression tables.
fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<&HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value.clone());
    }
}

fn request(method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Request<RequestBody> {
    let mut request = Request::new(Portioned::new(Full::new(body)));
    *request.method_mut() = method;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    request
}
