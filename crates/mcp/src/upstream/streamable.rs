//! Streamable HTTP: every message is a POST; answers are JSON or an event stream.
//!
//! Owns: the handshake's way to a session, answers and their resumption, the listening stream,
//! the end of the session. 2025-11-25 and 2026-07-28, basic/transports.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Response};
use model::config::Transport;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::idle::Answered;
use super::in_flight::Lane;
use super::outgoing::{HttpSession, Outgoing};
use super::response::{self, Answer, Asked};
use super::state::{Gate, Generation, Route, State};
use super::stream::{Cut, EventStream, LINGER, LONGEST_BACK_OFF, Mark};
use super::translated::{legacy_refusal, modern_refusal};
use super::{Failure, Shared, Turn, UpstreamEvent, tools};
use crate::{Batch, Era, Kind, Message, RequestId, header};

/// Attempts to reach the remote again for one answer; with the waits between, half a minute.
const RESUMPTIONS: u32 = 5;
/// How long the remote may take to accept the end of the handshake before what follows is sent.
const ACCEPTANCE: Duration = Duration::from_secs(10);
/// The same for opening the listening stream: some remotes say nothing there, not even that it is
/// open, before there is something to say.
const OPENING: Duration = Duration::from_millis(500);
const FAREWELL: Duration = Duration::from_secs(2);
/// How often the end of the handshake is said again where the connection breaks under it.
const GREETINGS: u32 = 5;
/// The wait before the first of them; it doubles.
const GREETING_WAIT: Duration = Duration::from_millis(50);

/// What came of asking for a stream by GET.
pub(super) enum Opened {
    Stream(Box<EventStream>),
    /// There is none to be had here.
    Unavailable,
    /// The remote, or the way to it, is out of order.
    NotNow(Failure),
    Refused(Failure),
}

/// What the listening stream has shown so far.
#[derive(PartialEq)]
enum Shown {
    Nothing,
    Open,
    /// It was open, and cannot be opened again.
    Away,
}

impl Shared {
    /// Sends `initialize`; finds out which transport the remote speaks, if need be.
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
            Transport::Auto => self.find_out(&outgoing, &id, generation).await,
        };
        if let Err(failure) = outcome {
            let failure = failure.of_handshake(self.url.url().scheme());
            self.fail(id, failure).await;
        }
    }

    /// A remote that refuses the POST may be one of HTTP+SSE. If that is no better, the first
    /// refusal stands, unless a sign-in would help.
    async fn find_out(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        id: &RequestId,
        generation: Generation,
    ) -> Result<(), Failure> {
        let first = self.initialize(outgoing, id, generation).await;
        let Err(Failure::Rejected {
            status: 400 | 404 | 405,
            ..
        }) = first
        else {
            return first;
        };
        match self.open_sse(outgoing, id, generation).await {
            Err(refused @ Failure::Unauthorized { .. }) => Err(refused),
            Err(_) => first,
            Ok(()) => Ok(()),
        }
    }

    async fn initialize(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        id: &RequestId,
        generation: Generation,
    ) -> Result<(), Failure> {
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
            && self.may_go_modern()
        {
            self.go_modern(&outgoing.message, refusal, generation);
            return Ok(());
        }
        self.hand_on(answer?, outgoing, id).await
    }

    /// Sends any other request.
    pub(super) async fn ask(self: Arc<Self>, outgoing: Outgoing, id: RequestId) {
        let outcome = match self.route(outgoing.era()).await {
            Route::Http(session) => self.ask_http(&outgoing, &id, &session).await,
            Route::Sse(session) => self.post_sse(&session, &outgoing).await,
            Route::Gone(generation) => Err(Failure::SessionGone { generation }),
            Route::Translated => {
                let mut state = self.state();
                if state.failed(&id) {
                    self.hear(&mut state, outgoing.message);
                }
                return;
            }
        };
        if let Err(failure) = outcome {
            self.fail(id, failure).await;
        }
    }

    /// Where messages of this era go, once it is their turn.
    async fn route(&self, era: Era) -> Route {
        loop {
            let gate = {
                let mut state = self.state();
                match (era, state.gate()) {
                    (Era::Modern, _) | (Era::Legacy, None) => return state.route(era),
                    (Era::Legacy, Some(gate)) => gate,
                }
            };
            // There may be another by then.
            gate.cancelled().await;
        }
    }

    async fn ask_http(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        id: &RequestId,
        session: &HttpSession,
    ) -> Result<(), Failure> {
        let named = session.named(outgoing.era());
        let parameters = self.parameters(outgoing);
        let response = self.post(outgoing, session, parameters.clone()).await?;
        let status = response.status();
        let mut answer = self.read(response, id, named).await;
        if outgoing.era() == Era::Modern
            && let Some(refusal) = legacy_refusal(&outgoing.message, status, &answer)
            && self.go_legacy(&outgoing.message, refusal)
        {
            return Ok(());
        }
        if tools::is_mismatch(outgoing, &answer) {
            Box::pin(self.list_tools(outgoing)).await;
            let wanted = self.parameters(outgoing);
            if wanted != parameters {
                let response = self.post(outgoing, session, wanted).await?;
                answer = self.read(response, id, named).await;
            }
        }
        self.hand_on(answer?, outgoing, id).await
    }

    /// Sends what wants no answer.
    pub(super) async fn tell(self: Arc<Self>, outgoing: Outgoing, turn: Turn) {
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
            return self.hear(&mut self.state(), outgoing.message);
        }
        let is_greeting = next.is_some();
        let sending = async {
            match is_greeting {
                true => self.greet(&route, &outgoing).await,
                false => self.tell_by(&route, &outgoing).await,
            }
        };
        let outcome = ahead(sending, next, ACCEPTANCE).await;
        if let Err(failure) = outcome {
            let request = None;
            self.report(UpstreamEvent::Failed { request, failure })
                .await;
        }
    }

    /// Says that the handshake has ended, until it is heard. A remote that has not heard it may
    /// refuse all that follows, and to hear it twice means nothing.
    async fn greet(&self, route: &Route, outgoing: &Outgoing) -> Result<(), Failure> {
        for failures in 0..GREETINGS {
            match self.tell_by(route, outgoing).await {
                Err(Failure::Unreachable { .. }) => {}
                outcome => return outcome,
            }
            tokio::time::sleep(GREETING_WAIT * 2u32.pow(failures)).await;
        }
        self.tell_by(route, outgoing).await
    }

    async fn tell_by(&self, route: &Route, outgoing: &Outgoing) -> Result<(), Failure> {
        match route {
            Route::Http(session) => self.tell_http(outgoing, session).await,
            Route::Sse(session) => self.post_sse(session, outgoing).await,
            Route::Gone(generation) => Err(Failure::SessionGone {
                generation: *generation,
            }),
            Route::Translated => Ok(()),
        }
    }

    async fn tell_http(&self, outgoing: &Outgoing, session: &HttpSession) -> Result<(), Failure> {
        let asked = Asked {
            id: None,
            session: session.named(outgoing.era()),
        };
        let response = self.post(outgoing, session, Vec::new()).await?;
        response::read(response, asked, self.client.limit(), &self.memory)
            .await
            .map(drop)
    }

    pub(super) async fn post(
        &self,
        outgoing: &Outgoing,
        session: &HttpSession,
        parameters: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Response<Answered>, Failure> {
        let uri = self.uri()?;
        let request = outgoing.post(uri, &self.headers(), session, parameters);
        let response = self.client.request(outgoing.lane(), request).await;
        response.map_err(|error| Failure::without_response(&error, uri))
    }

    /// The answer that is in the response.
    async fn read(
        self: &Arc<Self>,
        response: Response<Answered>,
        id: &RequestId,
        session: Option<Generation>,
    ) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let asked = Asked {
            id: Some(id),
            session,
        };
        match response::read(response, asked, self.client.limit(), &self.memory).await? {
            Answer::Message(message) if message.id().is_none() && message.error().is_some() => {
                let body = Some(message);
                Err(Failure::Rejected { status, body })
            }
            Answer::Message(message) if !message.answers(id) => {
                self.deliver(message, Some(id)).await;
                let what = "a message that does not answer the request".to_owned();
                Err(Failure::NotMcp { status, what })
            }
            Answer::Nothing => {
                let what = "no content".to_owned();
                Err(Failure::NotMcp { status, what })
            }
            Answer::Batch(batch) => {
                let answer = self.take_apart(batch, id, status).await;
                answer.map(Answer::Message)
            }
            answer @ (Answer::Message(_) | Answer::Events(_)) => Ok(answer),
        }
    }

    /// The answer in an array that is the whole response. The other messages in it are delivered.
    async fn take_apart(
        self: &Arc<Self>,
        batch: Batch,
        id: &RequestId,
        status: u16,
    ) -> Result<Message, Failure> {
        let (mut answer, mut refusal) = (None, None);
        for element in batch {
            match element {
                Ok(message) if message.answers(id) => answer = answer.or(Some(message)),
                Ok(message) if *message.kind() == Kind::ErrorWithoutId => refusal = Some(message),
                Ok(message) => {
                    self.deliver(message, Some(id)).await;
                }
                Err(error) => tracing::warn!(%error, "a response of the server is no message"),
            }
        }
        let what = "an array without the response to the request".to_owned();
        answer.ok_or_else(|| match refusal {
            Some(refusal) => Failure::Rejected {
                status,
                body: Some(refusal),
            },
            None => Failure::NotMcp { status, what },
        })
    }

    /// Delivers the answer, or fails.
    async fn hand_on(
        self: &Arc<Self>,
        answer: Answer,
        outgoing: &Outgoing,
        id: &RequestId,
    ) -> Result<(), Failure> {
        match answer {
            Answer::Events(stream) => return Box::pin(self.follow(*stream, outgoing, id)).await,
            Answer::Message(message) => {
                self.deliver(self.cleared(outgoing, message), Some(id))
                    .await;
            }
            // `read` has neither.
            Answer::Batch(_) | Answer::Nothing => {}
        }
        Ok(())
    }

    /// Reads a stream until it has answered the request.
    async fn follow(
        self: &Arc<Self>,
        mut stream: EventStream,
        outgoing: &Outgoing,
        id: &RequestId,
    ) -> Result<(), Failure> {
        loop {
            match stream.message().await {
                Ok(message) => {
                    if self.changes_era(outgoing, &message) {
                        return Ok(());
                    }
                    let message = self.cleared(outgoing, message);
                    if self.deliver(message, Some(id)).await {
                        self.see_out(stream, id).await;
                        return Ok(());
                    }
                }
                Err(Cut::TooLong(error)) => {
                    let what = error.to_string();
                    return Err(Failure::NotMcp { status: 200, what });
                }
                Err(Cut::Ended) if outgoing.era() == Era::Modern => {
                    return Err(Failure::StreamEnded);
                }
                Err(Cut::Ended) if !self.state().is_pending(id) => return Ok(()),
                // Servers end the stream of a request that was cancelled.
                Err(Cut::Ended) if !self.state().is_wanted(id) => return Err(Failure::StreamEnded),
                Err(Cut::Ended) => {
                    let resumed = self.resume(stream.mark().clone()).await;
                    stream = resumed.ok_or(Failure::StreamEnded)?;
                }
            }
        }
    }

    /// Reads what follows the answer, so that the connection can be used again.
    async fn see_out(self: &Arc<Self>, mut stream: EventStream, id: &RequestId) {
        let rest = async {
            while let Ok(message) = stream.message().await {
                self.deliver(message, Some(id)).await;
            }
        };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }

    /// Goes on with a stream that was cut, if it has ids. Remotes may cut one at will and be
    /// asked again after the wait they named (2025-11-25).
    async fn resume(&self, mark: Mark) -> Option<EventStream> {
        mark.last_id.as_ref()?;
        for failures in 0..RESUMPTIONS {
            tokio::time::sleep(mark.wait(failures)).await;
            let used = self.state().authorization.clone();
            match self.get(&mark).await {
                Opened::Stream(stream) => return Some(*stream),
                Opened::NotNow(_) => {}
                Opened::Refused(Failure::Unauthorized { challenge, .. }) => {
                    self.emit(UpstreamEvent::TokenRefused { used, challenge })
                        .await;
                }
                Opened::Unavailable | Opened::Refused(_) => return None,
            }
        }
        None
    }

    /// Reads the stream of what concerns no request, for as long as the remote has one. It begins
    /// `after` the handshake; its first opening lets `next` go.
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
        let mut mark = Mark::default();
        let mut failures = 0;
        let mut shown = Shown::Nothing;
        loop {
            match ahead(self.get(&mark), next.take(), OPENING).await {
                Opened::Stream(mut stream) => {
                    if std::mem::replace(&mut shown, Shown::Open) == Shown::Away {
                        self.report(UpstreamEvent::Back).await;
                    }
                    let opened = Instant::now();
                    while let Some(message) = until(&mut woken, stream.message()).await {
                        let Ok(message) = message else { break };
                        failures = 0;
                        self.deliver(message, None).await;
                    }
                    if opened.elapsed() > LONGEST_BACK_OFF {
                        failures = 0;
                    }
                    mark = stream.mark().clone();
                }
                Opened::NotNow(failure) => {
                    // Where it never was open there may be none, and calls show how things are.
                    if shown == Shown::Open {
                        shown = Shown::Away;
                        self.report(UpstreamEvent::Away(failure)).await;
                    }
                }
                Opened::Unavailable => return,
                // Some remotes have sessions and yet no route for GET.
                Opened::Refused(Failure::SessionGone { .. }) if shown == Shown::Nothing => return,
                Opened::Refused(failure) => {
                    let request = None;
                    return self
                        .report(UpstreamEvent::Failed { request, failure })
                        .await;
                }
            }
            let wait = tokio::time::sleep(mark.wait(failures));
            failures = match until(&mut woken, wait).await {
                Some(()) => failures + 1,
                None => 0,
            };
        }
    }

    async fn get(&self, mark: &Mark) -> Opened {
        let Ok(uri) = self.uri() else {
            return Opened::Unavailable;
        };
        let (request, session) = {
            let state = self.state();
            let Some(session) = state.http_session() else {
                return Opened::Unavailable;
            };
            let authorization = state.authorization.clone();
            let last_id = mark.last_id.as_deref();
            (
                session.get(uri, &self.headers(), authorization, last_id),
                session.named(Era::Legacy),
            )
        };
        let response = match self.client.request(Lane::Exchanges, request).await {
            Ok(response) => response,
            Err(error) => return Opened::NotNow(Failure::without_response(&error, uri)),
        };
        let asked = Asked { id: None, session };
        match response::stream(
            response,
            asked,
            self.client.limit(),
            mark.clone(),
            &self.memory,
        )
        .await
        {
            Ok(Some(stream)) => Opened::Stream(Box::new(stream)),
            Ok(None) => Opened::Unavailable,
            Err(failure) if failure.is_passing() => Opened::NotNow(failure),
            // It has not noticed yet that the stream before is no more.
            Err(failure @ Failure::Rejected { status: 409, .. }) => Opened::NotNow(failure),
            Err(Failure::Rejected { .. } | Failure::NotMcp { .. }) => Opened::Unavailable,
            Err(failure) => Opened::Refused(failure),
        }
    }

    /// Tells the remote what it is to hear before the session is over.
    pub(super) async fn say(&self, route: &Route, last_words: &[Outgoing]) {
        let saying = async {
            for words in last_words {
                if self.tell_by(route, words).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, saying).await;
    }

    /// Tells the remote that the session is over, if there is one that it knows.
    pub(super) async fn end_session(&self) {
        let farewell = self.farewell(&self.state());
        if let Some(farewell) = farewell {
            farewell.await;
        }
    }

    /// The same, to be done later.
    pub(super) fn farewell(&self, state: &State) -> Option<impl Future<Output = ()> + 'static> {
        let session = state.leavable()?;
        let authorization = state.authorization.clone();
        let uri = self.uri().ok()?;
        let request = session.request(Method::DELETE, uri, &self.headers(), authorization);
        let client = self.client.clone();
        Some(async move {
            match tokio::time::timeout(FAREWELL, client.request(Lane::Signals, request)).await {
                Ok(Ok(response)) => tracing::debug!(status = %response.status(), "session ended"),
                Ok(Err(_)) | Err(_) => {
                    tracing::debug!("the server did not hear that the session ended");
                }
            }
        })
    }
}

/// `None` if the machine has slept before that was done.
async fn until<T>(woken: &mut watch::Receiver<()>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        Ok(()) = woken.changed() => None,
    }
}

/// Does something before `next` is let go, but does not keep that for longer than `longest`.
async fn ahead<T>(work: impl Future<Output = T>, next: Option<DropGuard>, longest: Duration) -> T {
    tokio::pin!(work);
    tokio::select! {
        outcome = &mut work => outcome,
        () = tokio::time::sleep(longest), if next.is_some() => {
            drop(next);
            work.await
        }
    }
}
