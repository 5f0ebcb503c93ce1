//! Streamable HTTP: every message is a POST, and responses are JSON or an event stream.
//!
//! Owns: the handshake, responses and their resumption, the listening stream, and the end of the
//! session (2025-11-25 and 2026-07-28, basic/transports).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Response};
use model::config::Transport;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::idle::WatchedBody;
use super::in_flight::Lane;
use super::outgoing::{HttpSession, Outgoing};
use super::response::{self, RequestContext, ResponseBody};
use super::state::{Gate, Route, State};
use super::stream::{DRAIN_TIMEOUT, EventStream, MAX_BACK_OFF, StreamEnd, StreamPosition};
use super::translated::{legacy_refusal, modern_refusal};
use super::{Generation, Shared, Turn, UpstreamError, UpstreamEvent, tools};
use crate::{Batch, Era, Kind, Message, RequestId, header};

/// How often a response stream is resumed. With the waits in between, that takes half a minute.
const MAX_RESUME_ATTEMPTS: u32 = 5;
/// How long the server may take to accept `notifications/initialized` before later messages are
/// sent.
const INITIALIZED_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to open the listening stream before later messages are sent. Some
/// servers send nothing, not even the head of the response, before their first message.
const LISTEN_TIMEOUT: Duration = Duration::from_millis(500);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// How often `notifications/initialized` is sent again after a connection error.
const MAX_INITIALIZED_ATTEMPTS: u32 = 5;
/// The wait before the first repetition. It doubles.
const INITIALIZED_RETRY: Duration = Duration::from_millis(50);

/// The result of a GET request for a stream.
pub(super) enum GetStreamResult {
    Stream(Box<EventStream>),
    /// The server has no such stream.
    Unavailable,
    /// The server or the network is temporarily unavailable.
    NotNow(UpstreamError),
    Refused(UpstreamError),
}

/// The state of the listening stream.
#[derive(PartialEq)]
enum ListenState {
    Nothing,
    Open,
    /// It was open, and cannot be opened again now.
    Away,
}

impl Shared {
    /// Sends `initialize`, and detects the transport of the server if it is unknown.
    pub(super) async fn handshake(
        self: Arc<Self>,
        outgoing: Outgoing,
        id: RequestId,
        generation: Generation,
    ) {
        let transport = self.state().transport;
        let outcome = match transport {
            Transport::Sse => self.open_sse(&outgoing, &id, generation).await,
            Transport::Http => self.initialize(&outgoing, &id, generation).await,
            Transport::Auto => self.detect_transport(&outgoing, &id, generation).await,
        };
        if let Err(failure) = outcome {
            let failure = failure.with_handshake_hint(self.url.url().scheme());
            self.fail(id, failure).await;
        }
    }

    /// Tries Streamable HTTP, and HTTP+SSE if the server refuses the POST. If both fail, returns
    /// the first error, unless a sign-in would help.
    async fn detect_transport(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        id: &RequestId,
        generation: Generation,
    ) -> Result<(), UpstreamError> {
        let first = self.initialize(outgoing, id, generation).await;
        let Err(UpstreamError::Rejected {
            status: 400 | 404 | 405,
            ..
        }) = first
        else {
            return first;
        };
        match self.open_sse(outgoing, id, generation).await {
            Err(refused @ UpstreamError::Unauthorized { .. }) => Err(refused),
            Err(_) => first,
            Ok(()) => Ok(()),
        }
    }

    async fn initialize(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        id: &RequestId,
        generation: Generation,
    ) -> Result<(), UpstreamError> {
        let http = HttpSession::default();
        let response = self.post(outgoing, &http, Vec::new()).await?;
        let status = response.status();
        if status.is_success() {
            let session = response.headers().get(header::SESSION_ID).cloned();
            if !self.state().begin_http(generation, session) {
                return Ok(());
            }
        }
        let answer = self.read(response, id, None).await;
        if let Some(refusal) = modern_refusal(status, &answer)
            && self.may_switch_to_modern()
        {
            self.switch_to_modern(&outgoing.message, refusal, generation);
            return Ok(());
        }
        self.deliver_response(answer?, outgoing, id).await
    }

    /// Sends any request other than `initialize`.
    pub(super) async fn send_request(self: Arc<Self>, outgoing: Outgoing, id: RequestId) {
        let outcome = match self.route(outgoing.era()).await {
            Route::Http(session) => self.send_request_http(&outgoing, &id, &session).await,
            Route::Sse(session) => self.post_sse(&session, &outgoing).await,
            Route::Gone(generation) => Err(UpstreamError::SessionGone { generation }),
            Route::Translated => {
                let mut state = self.state();
                if state.record_failure(&id) {
                    self.on_host_message(&mut state, outgoing.message);
                }
                return;
            }
        };
        if let Err(failure) = outcome {
            self.fail(id, failure).await;
        }
    }

    /// Waits for the turn of a message of this era. Returns where it is sent.
    async fn route(&self, era: Era) -> Route {
        loop {
            let gate = {
                let mut state = self.state();
                match (era, state.gate()) {
                    (Era::Modern, _) | (Era::Legacy, None) => return state.route(era),
                    (Era::Legacy, Some(gate)) => gate,
                }
            };
            // Another gate may be closed by then.
            gate.cancelled().await;
        }
    }

    async fn send_request_http(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        id: &RequestId,
        session: &HttpSession,
    ) -> Result<(), UpstreamError> {
        let named = session.generation_for(outgoing.era());
        let parameters = self.parameter_headers(outgoing);
        let response = self.post(outgoing, session, parameters.clone()).await?;
        let status = response.status();
        let mut answer = self.read(response, id, named).await;
        if outgoing.era() == Era::Modern
            && let Some(refusal) = legacy_refusal(&outgoing.message, status, &answer)
            && self.switch_to_legacy(&outgoing.message, refusal)
        {
            return Ok(());
        }
        if tools::is_mismatch(outgoing, &answer) {
            Box::pin(self.list_tools(outgoing)).await;
            let wanted = self.parameter_headers(outgoing);
            if wanted != parameters {
                let response = self.post(outgoing, session, wanted).await?;
                answer = self.read(response, id, named).await;
            }
        }
        self.deliver_response(answer?, outgoing, id).await
    }

    /// Sends a message that expects no response.
    pub(super) async fn send_notification(self: Arc<Self>, outgoing: Outgoing, turn: Turn) {
        let (route, next) = match turn {
            Turn::Now => (self.state().route(outgoing.era()), None),
            Turn::AfterHandshake => (self.route(outgoing.era()).await, None),
            Turn::EndsHandshake { after, next } => {
                if let Some(gate) = after {
                    gate.cancelled().await;
                }
                (self.state().route(outgoing.era()), Some(next))
            }
        };
        if matches!(route, Route::Translated) {
            return self.on_host_message(&mut self.state(), outgoing.message);
        }
        let ends_handshake = next.is_some();
        let sending = async {
            match ends_handshake {
                true => self.send_initialized(&route, &outgoing).await,
                false => self.post_by(&route, &outgoing).await,
            }
        };
        let outcome = with_gate(sending, next, INITIALIZED_TIMEOUT).await;
        if let Err(failure) = outcome {
            let request = None;
            self.report(UpstreamEvent::Failed { request, failure })
                .await;
        }
    }

    /// Sends `notifications/initialized`, again after connection errors. A server that has not
    /// received it may refuse all later messages, and receiving it twice is harmless.
    async fn send_initialized(
        &self,
        route: &Route,
        outgoing: &Outgoing,
    ) -> Result<(), UpstreamError> {
        for failures in 0..MAX_INITIALIZED_ATTEMPTS {
            match self.post_by(route, outgoing).await {
                Err(UpstreamError::Unreachable { .. }) => {}
                outcome => return outcome,
            }
            tokio::time::sleep(INITIALIZED_RETRY * 2u32.pow(failures)).await;
        }
        self.post_by(route, outgoing).await
    }

    async fn post_by(&self, route: &Route, outgoing: &Outgoing) -> Result<(), UpstreamError> {
        match route {
            Route::Http(session) => self.post_notification(outgoing, session).await,
            Route::Sse(session) => self.post_sse(session, outgoing).await,
            Route::Gone(generation) => Err(UpstreamError::SessionGone {
                generation: *generation,
            }),
            Route::Translated => Ok(()),
        }
    }

    async fn post_notification(
        &self,
        outgoing: &Outgoing,
        session: &HttpSession,
    ) -> Result<(), UpstreamError> {
        let context = RequestContext {
            id: None,
            session: session.generation_for(outgoing.era()),
        };
        let response = self.post(outgoing, session, Vec::new()).await?;
        response::read(response, context, self.client.limit(), &self.memory)
            .await
            .map(drop)
    }

    pub(super) async fn post(
        &self,
        outgoing: &Outgoing,
        session: &HttpSession,
        parameters: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Response<WatchedBody>, UpstreamError> {
        let uri = self.uri()?;
        let request = outgoing.post(uri, &self.headers(), session, parameters);
        let response = self.client.request(outgoing.lane(), request).await;
        response.map_err(|error| error.to_upstream_error(uri))
    }

    /// Reads the response to a request from the HTTP response.
    async fn read(
        self: &Arc<Self>,
        response: Response<WatchedBody>,
        id: &RequestId,
        session: Option<Generation>,
    ) -> Result<ResponseBody, UpstreamError> {
        let status = response.status().as_u16();
        let context = RequestContext {
            id: Some(id),
            session,
        };
        match response::read(response, context, self.client.limit(), &self.memory).await? {
            ResponseBody::Message(message)
                if message.id().is_none() && message.error().is_some() =>
            {
                let body = Some(message);
                Err(UpstreamError::Rejected { status, body })
            }
            ResponseBody::Message(message) if !message.answers(id) => {
                self.deliver(message, Some(id)).await;
                let what = "a message that does not answer the request".to_owned();
                Err(UpstreamError::NotMcp { status, what })
            }
            ResponseBody::Nothing => {
                let what = "no content".to_owned();
                Err(UpstreamError::NotMcp { status, what })
            }
            ResponseBody::Batch(batch) => {
                let answer = self.take_batch(batch, id, status).await;
                answer.map(ResponseBody::Message)
            }
            answer @ (ResponseBody::Message(_) | ResponseBody::Events(_)) => Ok(answer),
        }
    }

    /// Returns the response from an array. Delivers all other messages in it.
    async fn take_batch(
        self: &Arc<Self>,
        batch: Batch,
        id: &RequestId,
        status: u16,
    ) -> Result<Message, UpstreamError> {
        let (mut answer, mut refusal) = (None, None);
        for element in batch {
            match element {
                Ok(message) if message.answers(id) => answer = answer.or(Some(message)),
                Ok(message) if *message.kind() == Kind::ErrorWithoutId => refusal = Some(message),
                Ok(message) => {
                    self.deliver(message, Some(id)).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "an element of the server's array is not a message")
                }
            }
        }
        let what = "an array without the response to the request".to_owned();
        answer.ok_or_else(|| match refusal {
            Some(refusal) => UpstreamError::Rejected {
                status,
                body: Some(refusal),
            },
            None => UpstreamError::NotMcp { status, what },
        })
    }

    /// Delivers the response.
    async fn deliver_response(
        self: &Arc<Self>,
        answer: ResponseBody,
        outgoing: &Outgoing,
        id: &RequestId,
    ) -> Result<(), UpstreamError> {
        match answer {
            ResponseBody::Events(stream) => {
                return Box::pin(self.follow(*stream, outgoing, id)).await;
            }
            ResponseBody::Message(message) => {
                self.deliver(self.filtered(outgoing, message), Some(id))
                    .await;
            }
            // `read` returns neither.
            ResponseBody::Batch(_) | ResponseBody::Nothing => {}
        }
        Ok(())
    }

    /// Reads a stream until the response to the request has arrived.
    async fn follow(
        self: &Arc<Self>,
        mut stream: EventStream,
        outgoing: &Outgoing,
        id: &RequestId,
    ) -> Result<(), UpstreamError> {
        loop {
            match stream.message().await {
                Ok(message) => {
                    if self.changes_era(outgoing, &message) {
                        return Ok(());
                    }
                    let message = self.filtered(outgoing, message);
                    if self.deliver(message, Some(id)).await {
                        self.drain_stream(stream, id).await;
                        return Ok(());
                    }
                }
                Err(StreamEnd::TooLong(error)) => {
                    let what = error.to_string();
                    return Err(UpstreamError::NotMcp { status: 200, what });
                }
                Err(StreamEnd::Ended) if outgoing.era() == Era::Modern => {
                    return Err(UpstreamError::StreamEnded);
                }
                Err(StreamEnd::Ended) if !self.state().is_pending(id) => return Ok(()),
                // Servers end the stream of a cancelled request.
                Err(StreamEnd::Ended) if !self.state().is_wanted(id) => {
                    return Err(UpstreamError::StreamEnded);
                }
                Err(StreamEnd::Ended) => {
                    let resumed = self.resume(stream.position().clone()).await;
                    stream = resumed.ok_or(UpstreamError::StreamEnded)?;
                }
            }
        }
    }

    /// Reads the rest of the stream after the response, so that the connection can be used again.
    async fn drain_stream(self: &Arc<Self>, mut stream: EventStream, id: &RequestId) {
        let rest = async {
            while let Ok(message) = stream.message().await {
                self.deliver(message, Some(id)).await;
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
    }

    /// Resumes a stream that ended, if its events have ids. A server may end a stream at any time,
    /// and the client asks again after the wait that the server named (2025-11-25).
    async fn resume(&self, position: StreamPosition) -> Option<EventStream> {
        position.last_id.as_ref()?;
        for failures in 0..MAX_RESUME_ATTEMPTS {
            tokio::time::sleep(position.wait(failures)).await;
            let used = self.state().authorization.clone();
            match self.get(&position).await {
                GetStreamResult::Stream(stream) => return Some(*stream),
                GetStreamResult::NotNow(_) => {}
                GetStreamResult::Refused(UpstreamError::Unauthorized { challenge, .. }) => {
                    self.emit(UpstreamEvent::TokenRefused { used, challenge })
                        .await;
                }
                GetStreamResult::Unavailable | GetStreamResult::Refused(_) => return None,
            }
        }
        None
    }

    /// Reads the listening stream for as long as the server offers one. Waits for the handshake
    /// (`after`) first, and drops `next` when the stream is open.
    pub(super) async fn listen(self: Arc<Self>, after: Option<Gate>, next: DropGuard) {
        if let Some(gate) = after {
            gate.cancelled().await;
        }
        let route = self.state().route(Era::Legacy);
        match route {
            Route::Http(_) => {}
            Route::Sse(_) | Route::Gone(_) => return,
            Route::Translated => return self.listen_translated(&mut self.state()),
        }
        let mut woken = self.woken.subscribe();
        let mut next = Some(next);
        let mut position = StreamPosition::default();
        let mut failures = 0;
        let mut shown = ListenState::Nothing;
        loop {
            match with_gate(self.get(&position), next.take(), LISTEN_TIMEOUT).await {
                GetStreamResult::Stream(mut stream) => {
                    if std::mem::replace(&mut shown, ListenState::Open) == ListenState::Away {
                        self.report(UpstreamEvent::StreamRestored).await;
                    }
                    let opened = Instant::now();
                    while let Some(message) = unless_woken(&mut woken, stream.message()).await {
                        let Ok(message) = message else { break };
                        failures = 0;
                        self.deliver(message, None).await;
                    }
                    if opened.elapsed() > MAX_BACK_OFF {
                        failures = 0;
                    }
                    position = stream.position().clone();
                }
                GetStreamResult::NotNow(failure) => {
                    // A server whose stream never opened may have none, and calls show whether it
                    // is reachable.
                    if shown == ListenState::Open {
                        shown = ListenState::Away;
                        self.report(UpstreamEvent::StreamLost(failure)).await;
                    }
                }
                GetStreamResult::Unavailable => return,
                // Some servers have sessions but no route for GET.
                GetStreamResult::Refused(UpstreamError::SessionGone { .. })
                    if shown == ListenState::Nothing =>
                {
                    return;
                }
                GetStreamResult::Refused(failure) => {
                    let request = None;
                    return self
                        .report(UpstreamEvent::Failed { request, failure })
                        .await;
                }
            }
            let wait = tokio::time::sleep(position.wait(failures));
            failures = match unless_woken(&mut woken, wait).await {
                Some(()) => failures + 1,
                None => 0,
            };
        }
    }

    async fn get(&self, position: &StreamPosition) -> GetStreamResult {
        let Ok(uri) = self.uri() else {
            return GetStreamResult::Unavailable;
        };
        let (request, session) = {
            let state = self.state();
            let Some(session) = state.http_session() else {
                return GetStreamResult::Unavailable;
            };
            let authorization = state.authorization.clone();
            let last_id = position.last_id.as_deref();
            (
                session.get(uri, &self.headers(), authorization, last_id),
                session.generation_for(Era::Legacy),
            )
        };
        let response = match self.client.request(Lane::Exchanges, request).await {
            Ok(response) => response,
            Err(error) => {
                return GetStreamResult::NotNow(error.to_upstream_error(uri));
            }
        };
        let context = RequestContext { id: None, session };
        match response::stream(
            response,
            context,
            self.client.limit(),
            position.clone(),
            &self.memory,
        )
        .await
        {
            Ok(Some(stream)) => GetStreamResult::Stream(Box::new(stream)),
            Ok(None) => GetStreamResult::Unavailable,
            Err(failure) if failure.is_passing() => GetStreamResult::NotNow(failure),
            // The server has not noticed yet that the earlier stream is closed.
            Err(failure @ UpstreamError::Rejected { status: 409, .. }) => {
                GetStreamResult::NotNow(failure)
            }
            Err(UpstreamError::Rejected { .. } | UpstreamError::NotMcp { .. }) => {
                GetStreamResult::Unavailable
            }
            Err(failure) => GetStreamResult::Refused(failure),
        }
    }

    /// Sends the closing messages of the session.
    pub(super) async fn send_closing(&self, route: &Route, closing_messages: &[Outgoing]) {
        let saying = async {
            for words in closing_messages {
                if self.post_by(route, words).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, saying).await;
    }

    /// Deletes the session at the server, if there is one that it knows.
    pub(super) async fn end_session(&self) {
        let delete_session = self.delete_session(&self.state());
        if let Some(delete_session) = delete_session {
            delete_session.await;
        }
    }

    /// Returns a future that deletes the session. Returns `None` if there is none that the server
    /// knows.
    pub(super) fn delete_session(
        &self,
        state: &State,
    ) -> Option<impl Future<Output = ()> + 'static> {
        let session = state.deletable_session()?;
        let authorization = state.authorization.clone();
        let uri = self.uri().ok()?;
        let request = session.request(Method::DELETE, uri, &self.headers(), authorization);
        let client = self.client.clone();
        Some(async move {
            match tokio::time::timeout(SHUTDOWN_TIMEOUT, client.request(Lane::Signals, request))
                .await
            {
                Ok(Ok(response)) => tracing::debug!(status = %response.status(), "session ended"),
                Ok(Err(_)) | Err(_) => {
                    tracing::debug!("could not delete the session at the server");
                }
            }
        })
    }
}

/// Returns the output of `work`, or `None` if the computer slept before it was done.
async fn unless_woken<T>(
    woken: &mut watch::Receiver<()>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        Ok(()) = woken.changed() => None,
    }
}

/// Runs `work`, and drops `next` when it is done or after the time `longest`.
async fn with_gate<T>(
    work: impl Future<Output = T>,
    next: Option<DropGuard>,
    longest: Duration,
) -> T {
    tokio::pin!(work);
    tokio::select! {
        outcome = &mut work => outcome,
        () = tokio::time::sleep(longest), if next.is_some() => {
            drop(next);
            work.await
        }
    }
}
