//! The state of the connection between a session and its server.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use auth::{Authorization, AuthorizationError};
use control::api::Problem;
use http::{HeaderName, HeaderValue};
use mcp::{Message, RequestId};
use serde::Deserialize;
use tokio::time::Instant;

/// The result of requesting the headers of a server.
pub(super) type Authorized = Result<UpstreamHeaders, HeadersError>;

/// What is sent to a server with each request.
pub(super) struct UpstreamHeaders {
    /// `None` for a server that needs no sign-in.
    pub(super) authorization: Option<Authorization>,
    /// The configured headers.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why nothing can be sent to a server.
pub(super) enum HeadersError {
    /// There is no token.
    Token(AuthorizationError),
    /// A secret that a header needs is missing.
    Header(Problem),
}

/// A pending request for the headers of a server.
pub(super) type HeadersFuture = Pin<Box<dyn Future<Output = Authorized> + Send>>;

/// The state of the connection. Each state owns its data.
pub(super) enum ConnectionState {
    /// The host has not begun.
    Idle,
    /// Waits for a token. Continues with `next`.
    Authorizing {
        pending_headers: HeadersFuture,
        next: AfterToken,
    },
    /// Waits for the response to the handshake, or to the `ping` of an existing session.
    Opening {
        authorization: Option<Authorization>,
        /// The request whose response opens the connection.
        awaits: RequestId,
        next: AfterToken,
        /// The timeout of that response.
        until: Instant,
    },
    /// Messages are sent and received.
    Live {
        authorization: Option<Authorization>,
    },
    /// Waits until the user signs in.
    SignInNeeded { problem: Problem },
    /// The server cannot be used. `next` is tried at `retry_at`.
    Down {
        problem: Problem,
        retry_at: Instant,
        next: AfterToken,
    },
}

/// What follows once there is a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterToken {
    /// Initialize a session, or a new one.
    Connect,
    /// Continue after the server was away: its session still exists, as far as is known.
    Reconnect,
    /// Continue: the session at the server exists.
    Continue,
}

/// The minimum delay before a failing server is tried again.
pub(super) const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Backoff between attempts to reach a server. It resets when the server answers a request of the
/// host: a server that only completes handshakes counts as unreachable.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// Counts a failure. Returns true if it is the first since the server was last reached.
    pub(super) fn is_first(&mut self) -> bool {
        let first = self.0 == 0;
        self.0 += 1;
        first
    }

    /// Returns the next delay: half a second, doubled each time, 30 seconds at most.
    pub(super) fn next(&mut self) -> Duration {
        let wait = MIN_RETRY_DELAY * 2u32.pow(self.0.min(6));
        self.0 += 1;
        wait.min(Duration::from_secs(30))
    }

    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}

/// The protocol of the host.
pub(super) enum HostProtocol {
    /// It has sent nothing so far.
    Unknown,
    /// 2026-07-28 and later: no handshake.
    Modern,
    /// Up to 2025-11-25.
    Legacy(Box<Handshake>),
}

/// The handshake of a legacy host, kept to be repeated at the server.
pub(super) struct Handshake {
    pub(super) initialize: Message,
    /// Whether the host has its response, from the server or from the bridge.
    pub(super) answered: bool,
    /// `notifications/initialized`, once the host has sent it. Before that, the host may only be
    /// sent responses.
    pub(super) initialized: Option<Message>,
    /// Whether the session at the server has received it and everything that follows it.
    pub(super) initialized_sent: bool,
    /// Whether the bridge has answered for the server, so that the host must be told to list again.
    pub(super) stale: bool,
    /// The notifications for that, by the capabilities of the server.
    pub(super) changes: Vec<Message>,
    /// The settings that the host made at the server and expects in every later session there.
    pub(super) settings: Vec<(SessionSetting, Message)>,
}

/// A setting of the session at the server. A later request replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SessionSetting {
    /// `logging/setLevel`.
    LogLevel,
    /// `resources/subscribe`, by the resource's URI.
    Subscription(String),
}

impl Handshake {
    pub(super) fn new(initialize: Message) -> Self {
        Self {
            initialize,
            answered: false,
            initialized: None,
            initialized_sent: false,
            stale: false,
            changes: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Records a request whose effect ends with the session at the server.
    pub(super) fn record_setting(&mut self, request: &Message) {
        let uri = || Some(SessionSetting::Subscription(uri(request)?));
        let concerns = match request.method() {
            Some("logging/setLevel") => Some(SessionSetting::LogLevel),
            Some("resources/subscribe" | "resources/unsubscribe") => uri(),
            Some(_) | None => None,
        };
        let Some(concerns) = concerns else { return };
        self.settings.retain(|(known, _)| *known != concerns);
        if request.method() != Some("resources/unsubscribe") {
            self.settings.push((concerns, request.clone()));
        }
    }
}

fn uri(request: &Message) -> Option<String> {
    #[derive(Deserialize)]
    struct Concerned {
        uri: String,
    }
    let concerned: Concerned = mcp::json::read(request.params()?.get()).ok()?;
    Some(concerned.uri)
}

/// Returns the header of an authorization.
pub(super) fn header(authorization: &Option<Authorization>) -> Option<http::HeaderValue> {
    authorization
        .as_ref()
        .map(|authorization| authorization.header.clone())
}
