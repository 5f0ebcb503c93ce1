//! How things stand between a session and its server.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use auth::{Authorization, AuthorizationError};
use control::api::Problem;
use http::{HeaderName, HeaderValue};
use mcp::{Message, RequestId};
use serde::Deserialize;
use tokio::time::Instant;

/// What asking for the headers of a server gives.
pub(super) type Authorized = Result<UpstreamHeaders, HeadersError>;

/// What to send to a server.
pub(super) struct UpstreamHeaders {
    /// None, for a server that needs no sign-in.
    pub(super) authorization: Option<Authorization>,
    /// Those that the user gave it.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why nothing can be sent to a server.
pub(super) enum HeadersError {
    /// For want of a token.
    Token(AuthorizationError),
    /// For want of a secret that a header needs.
    Header(Problem),
}

/// A question for the headers of a server that is under way.
pub(super) type HeadersFuture = Pin<Box<dyn Future<Output = Authorized> + Send>>;

/// The state of the connection. What a state needs, it owns.
pub(super) enum ConnectionState {
    /// The host has not begun.
    Idle,
    /// Waiting for a token, to do `next` with it.
    Authorizing {
        pending_headers: HeadersFuture,
        next: AfterToken,
    },
    /// The handshake is under way, or the question whether the session still stands.
    Opening {
        authorization: Option<Authorization>,
        /// The request whose answer opens the connection.
        awaits: RequestId,
        next: AfterToken,
        /// When the server is taken not to answer it.
        until: Instant,
    },
    /// Messages flow.
    Live {
        authorization: Option<Authorization>,
    },
    /// Nothing flows until somebody signs in.
    SignInNeeded { problem: Problem },
    /// The server cannot be used; `next` is tried at `retry_at`.
    Down {
        problem: Problem,
        retry_at: Instant,
        next: AfterToken,
    },
}

/// What a token is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterToken {
    /// To begin, or to begin again.
    Connect,
    /// To go on where the server was away: the session there stands, as far as is known.
    Reconnect,
    /// To go on: the session at the server stands.
    Continue,
}

/// How soon a server that was just found wanting is tried again at the earliest.
pub(super) const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Back-off between attempts to reach a server. What counts as reached is the answer to a request
/// of the host: servers that shake hands and then know nothing of it are no better than absent.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// Whether nothing went wrong since the server was last reached; something does now.
    pub(super) fn is_first(&mut self) -> bool {
        let first = self.0 == 0;
        self.0 += 1;
        first
    }

    /// How long to wait now: half a second, doubled each time, half a minute at most.
    pub(super) fn next(&mut self) -> Duration {
        let wait = MIN_RETRY_DELAY * 2u32.pow(self.0.min(6));
        self.0 += 1;
        wait.min(Duration::from_secs(30))
    }

    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}

/// What the host has said about how it speaks.
pub(super) enum HostProtocol {
    /// Nothing so far.
    Unknown,
    /// 2026-07-28 and later: no handshake.
    Modern,
    /// Up to 2025-11-25.
    Legacy(Box<Handshake>),
}

/// The handshake of a legacy host, kept to be repeated at the server.
pub(super) struct Handshake {
    pub(super) initialize: Message,
    /// Whether the host has its answer, from the server or from us.
    pub(super) answered: bool,
    /// `notifications/initialized`, once the host has sent it. Before that, the host may be sent
    /// nothing but answers.
    pub(super) initialized: Option<Message>,
    /// Whether the session at the server has had that, and all that follows it.
    pub(super) initialized_sent: bool,
    /// Whether something was answered in the server's place, so that the host must be told to
    /// ask again.
    pub(super) stale: bool,
    /// The notifications that tell it so, by what the server says it can do.
    pub(super) changes: Vec<Message>,
    /// What the host set up at the server and takes for granted in every later session there,
    /// by what it concerns.
    pub(super) settings: Vec<(SessionSetting, Message)>,
}

/// What a standing request of the host concerns. A later one takes the place of an earlier one.
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

    /// Takes note of a request whose effect ends with the session at the server.
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
