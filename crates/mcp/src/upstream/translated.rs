//! Connections between a host and a server of different eras.
//!
//! Owns: performing the actions of a translation. Does not own: which actions those are
//! ([`crate::translate`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use model::config::Transport;
use serde_json::value::RawValue;

use super::outgoing::Outgoing;
use super::response::ResponseBody;
use super::state::State;
use super::stream::StreamPosition;
use super::{Generation, Shared, UpstreamError, UpstreamEvent};
use crate::era::{UNSUPPORTED_VERSION, is_discovery, is_modern_error};
use crate::handshake::InitializeResult;
use crate::header_validation::is_complete;
use crate::message::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::translate::{Action, LegacyHost, ModernHost, StateNumber, Translation};
use crate::{Era, Message, RequestId, SUPPORTED_MODERN};

/// How long a request stays open at a server that requested input, for a host that may retry with
/// it. Users take their time.
pub const INPUT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// How the official SDKs of the legacy era word it, in lower case, with any code and status. The
/// texts must not be shorter: a tool may fail to initialize something, and must not be called again
/// because of that.
const UNINITIALIZED: [&str; 2] = [
    "server not initialized",
    "before initialization was complete",
];

impl Shared {
    /// Chooses before a handshake whether it needs a translation.
    pub(super) fn choose_translation(self: &Arc<Self>, state: &mut State) {
        if !self.learned.speaks_only(Era::Modern) {
            if let Some(translation) = &mut state.translation {
                let actions = translation.end();
                self.perform_now(state, actions);
            }
            self.translate(state, None);
        } else if !state.translates(Era::Legacy) {
            let host = LegacyHost::default();
            self.translate(state, Some(Translation::LegacyHost(Box::new(host))));
        }
    }

    /// Chooses before a request without a handshake whether it needs a translation.
    pub(super) fn choose_session(&self, state: &mut State) {
        let is_legacy = state.transport == Transport::Sse || self.learned.speaks_only(Era::Legacy);
        if is_legacy && state.translation.is_none() && !state.has_session() {
            self.translate_modern_host(state);
        }
    }

    fn translate_modern_host(&self, state: &mut State) {
        // HTTP+SSE exists only in the legacy era.
        let is_legacy_only = state.transport == Transport::Sse;
        let host = ModernHost::new(Arc::clone(&self.nonce), is_legacy_only);
        self.translate(state, Some(Translation::ModernHost(Box::new(host))));
    }

    fn translate(&self, state: &mut State, translation: Option<Translation>) {
        let translates = translation.is_some();
        self.translates.store(translates, Ordering::Release);
        state.translation = translation;
    }

    /// Passes a message of the host to the translation.
    pub(super) fn on_host_message(self: &Arc<Self>, state: &mut State, message: Message) {
        if let Some(translation) = &mut state.translation {
            let actions = translation.on_host(message);
            self.perform_now(state, actions);
        }
    }

    /// Tells the translation that the host wants notifications.
    pub(super) fn listen_translated(self: &Arc<Self>, state: &mut State) {
        if let Some(translation) = &mut state.translation {
            let actions = translation.listen();
            self.perform_now(state, actions);
        }
    }

    /// Abandons a request of the host.
    pub(super) fn abandon_request(self: &Arc<Self>, state: &mut State, id: &RequestId) {
        match &mut state.translation {
            Some(translation) => {
                let actions = translation.abandon(id);
                self.perform_now(state, actions);
            }
            None => state.abandon(id),
        }
    }

    /// Resets the translation. `generation` is that of the session that ended.
    pub(super) fn reset_translation(self: &Arc<Self>, state: &mut State, generation: Generation) {
        if let Some(translation) = &mut state.translation {
            let actions = translation.reset(&UpstreamError::SessionGone { generation });
            self.perform_now(state, actions);
        }
    }

    /// Switches to a translation, because the server has refused `initialize`.
    pub(super) fn switch_to_modern(
        self: &Arc<Self>,
        initialize: &Message,
        refusal: Message,
        generation: Generation,
    ) {
        tracing::debug!(server = %self.url.shown(), "the server is of the modern era");
        self.learned.record_only(Some(Era::Modern));
        let mut state = self.state();
        let is_wanted = initialize.id().is_some_and(|id| state.record_failure(id));
        if state.generation() == generation && is_wanted {
            let mut host = LegacyHost::default();
            let actions = host.begin(initialize.clone(), Some(refusal));
            self.translate(&mut state, Some(Translation::LegacyHost(Box::new(host))));
            self.perform_now(&mut state, actions);
        }
    }

    /// Returns true if a refused handshake is the host's own.
    pub(super) fn may_switch_to_modern(&self) -> bool {
        !self.state().translates(Era::Modern)
    }

    /// Switches to a translation, because the server has refused a request that was outside a
    /// session. Returns false if the refusal stands: the server was spoken to in its own era, or
    /// the host has a session of its own.
    pub(super) fn switch_to_legacy(
        self: &Arc<Self>,
        request: &Message,
        refusal: Result<Message, UpstreamError>,
    ) -> bool {
        let mut state = self.state();
        let is_untranslated = state.translation.is_none();
        if state.translates(Era::Legacy) || (is_untranslated && state.has_session()) {
            return false;
        }
        if !request.id().is_some_and(|id| state.record_failure(id)) {
            return true;
        }
        tracing::debug!(server = %self.url.shown(), "the server seems to be of the legacy era");
        if is_untranslated {
            self.translate_modern_host(&mut state);
        }
        if let Some(Translation::ModernHost(host)) = &mut state.translation {
            let actions = host.refused(request.clone(), refusal);
            self.perform_now(&mut state, actions);
        }
        true
    }

    /// Switches to the other era if the response, which came as an event, is a refusal by a server
    /// of that era. Returns true if it did.
    pub(super) fn changes_era(self: &Arc<Self>, outgoing: &Outgoing, answer: &Message) -> bool {
        let request = &outgoing.message;
        if !request.id().is_some_and(|id| answer.answers(id)) {
            return false;
        }
        match outgoing.era() {
            Era::Modern => {
                is_handshake_demand(request, StatusCode::OK, answer)
                    && is_complete(request)
                    && self.switch_to_legacy(request, Ok(answer.clone()))
            }
            Era::Legacy => {
                let changes = request.method() == Some("initialize")
                    && is_handshake_refusal(StatusCode::OK, answer)
                    && self.may_switch_to_modern();
                if changes {
                    let generation = self.state().generation();
                    self.switch_to_modern(request, answer.clone(), generation);
                }
                changes
            }
        }
    }

    /// Returns the messages that the server gets before the connection ends, if there is a session
    /// to send them in.
    pub(super) fn closing_messages(&self) -> Vec<Outgoing> {
        let state = self.state();
        let words = state
            .translation
            .as_ref()
            .map(Translation::closing_messages);
        let words = words.unwrap_or_default().into_iter();
        words
            .filter(|_| state.has_session())
            .map(|message| Outgoing::new(message, state.authorization.clone()))
            .collect()
    }

    /// Reports an event to the host's side, in the host's era.
    pub(super) async fn report(self: &Arc<Self>, event: UpstreamEvent) {
        if let UpstreamEvent::Failed {
            failure: UpstreamError::SessionGone { generation },
            ..
        } = &event
        {
            self.state().record_lost(*generation);
        }
        if !self.translates.load(Ordering::Acquire) {
            return self.emit(event).await;
        }
        {
            let mut state = self.state();
            let current = state.generation();
            let (told, came) = (state.queued_events.len(), event.bytes());
            match &mut state.translation {
                None => state.queued_events.push_back(event),
                Some(translation) => {
                    let mut actions = Vec::new();
                    if let UpstreamEvent::Failed {
                        failure: gone @ UpstreamError::SessionGone { generation },
                        ..
                    } = &event
                        && *generation == current
                    {
                        actions.extend(translation.lost(gone));
                    }
                    actions.extend(match event {
                        UpstreamEvent::Message { message, request } => {
                            translation.on_server(message, request)
                        }
                        UpstreamEvent::Failed { request, failure } => {
                            translation.failed(request, failure)
                        }
                        // These events do not depend on the era.
                        news @ (UpstreamEvent::StreamLost(_)
                        | UpstreamEvent::StreamRestored
                        | UpstreamEvent::TokenRefused { .. }) => {
                            state.queued_events.push_back(news);
                            Vec::new()
                        }
                    });
                    self.perform(&mut state, actions);
                    self.count_translated(state.queued_events.iter_mut().skip(told), came.as_ref());
                }
            }
        }
        self.emit_queued().await;
    }

    /// Counts the memory of messages that the translation made. The message that `came` is counted
    /// already.
    fn count_translated<'a>(
        &self,
        told: impl Iterator<Item = &'a mut UpstreamEvent>,
        came: Option<&Bytes>,
    ) {
        let is_as_it_came =
            |bytes: &Bytes| came.is_some_and(|came| came.as_ptr() == bytes.as_ptr());
        for event in told {
            if let UpstreamEvent::Message { message, .. } = event
                && !is_as_it_came(message.bytes())
            {
                message.count(&self.memory);
            }
        }
    }

    /// Performs actions of a translation. A task of its own emits the events.
    fn perform_now(self: &Arc<Self>, state: &mut State, actions: Vec<Action>) {
        self.perform(state, actions);
        // There may also be events of a task that was just ended.
        if !state.queued_events.is_empty() {
            let shared = Arc::clone(self);
            self.spawn(async move { shared.emit_queued().await });
        }
    }

    /// Performs actions of a translation, except that it only queues events.
    fn perform(self: &Arc<Self>, state: &mut State, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToServer(message) => {
                    if message.method() == Some("initialize") {
                        self.reset_native(state);
                    }
                    let outgoing = Outgoing::new(message, state.authorization.clone());
                    self.transmit(state, outgoing);
                }
                Action::ToHost { message, request } => {
                    let event = UpstreamEvent::Message { message, request };
                    state.queued_events.push_back(event);
                }
                Action::Fail { request, failure } => {
                    let event = UpstreamEvent::Failed { request, failure };
                    state.queued_events.push_back(event);
                }
                Action::Abandon(id) => state.abandon(&id),
                Action::ListenLater { failures } => self.listen_later(state, failures),
                Action::Listen => self.listen_natively(state),
                Action::StartInputTimeout(number) => self.start_input_timeout(number),
                Action::EraConfirmed => {
                    let server = state.translation.as_ref().map(|host| host.era().other());
                    self.learned.record_only(server);
                }
                Action::EraRefuted => {
                    self.learned.record_only(None);
                    self.translate(state, None);
                }
            }
        }
    }

    /// Emits the queued events in order. None is lost if its task is ended in between.
    async fn emit_queued(&self) {
        let _turn = self.emit_lock.lock().await;
        while !self.state().queued_events.is_empty() {
            // Without a receiver, the connection is about to be dropped.
            let Ok(room) = self.events.reserve().await else {
                return;
            };
            if let Some(event) = self.state().queued_events.pop_front() {
                room.send(event);
            }
        }
    }

    fn start_input_timeout(self: &Arc<Self>, number: StateNumber) {
        let shared = Arc::clone(self);
        self.spawn(async move {
            tokio::time::sleep(INPUT_TIMEOUT).await;
            let mut state = shared.state();
            if let Some(translation) = &mut state.translation {
                let actions = translation.expired(number);
                shared.perform_now(&mut state, actions);
            }
        });
    }

    fn listen_later(self: &Arc<Self>, state: &mut State, failures: u32) {
        let shared = Arc::clone(self);
        let task = self.spawn(async move {
            tokio::time::sleep(StreamPosition::default().wait(failures)).await;
            shared.listen_translated(&mut shared.state());
        });
        state.listen(task);
    }
}

/// Returns the refusal if a server refused a modern request because it expects a handshake first
/// (2026-07-28, basic/versioning, "Backward Compatibility").
pub(super) fn legacy_refusal(
    request: &Message,
    status: StatusCode,
    outcome: &Result<ResponseBody, UpstreamError>,
) -> Option<Result<Message, UpstreamError>> {
    let refusal = match outcome {
        Err(failure) if failure.is_of_other_era() => Some(Err(failure.clone())),
        Ok(ResponseBody::Message(answer)) if is_handshake_demand(request, status, answer) => {
            Some(Ok(answer.clone()))
        }
        Ok(_) | Err(_) => None,
    };
    // Servers of the modern era refuse incomplete requests as well.
    refusal.filter(|_| is_complete(request))
}

/// Returns true if a server that responds to a modern request like this expects a handshake first.
/// An error that is not of the modern era is of the legacy era, except for errors that any server
/// may have with this request. A response to `server/discover` that is not a discovery is of the
/// legacy era as well.
fn is_handshake_demand(request: &Message, status: StatusCode, answer: &Message) -> bool {
    let discovers = request.method() == Some("server/discover");
    let Some(code) = answer.error_code() else {
        return discovers && !is_discovery(answer);
    };
    let mentions_handshake = || {
        let error = answer.error().map(RawValue::get).unwrap_or_default();
        let error = error.to_ascii_lowercase();
        UNINITIALIZED.iter().any(|words| error.contains(words))
    };
    // Servers of both eras refuse invalid parameters.
    let is_legacy = discovers
        || code == UNSUPPORTED_VERSION
        || (status == StatusCode::BAD_REQUEST && code != INVALID_PARAMS)
        || mentions_handshake();
    is_legacy && !is_modern_error(answer)
}

/// Returns the refusal of `initialize` by a server that has no handshake. A server that responds
/// with a version of the modern era, which has no handshake, has not understood the request.
pub(super) fn modern_refusal(
    status: StatusCode,
    outcome: &Result<ResponseBody, UpstreamError>,
) -> Option<Message> {
    let (Ok(ResponseBody::Message(refusal))
    | Err(UpstreamError::Rejected {
        body: Some(refusal),
        ..
    })) = outcome
    else {
        return None;
    };
    is_handshake_refusal(status, refusal).then(|| refusal.clone())
}

fn is_handshake_refusal(status: StatusCode, answer: &Message) -> bool {
    let Some(code) = answer.error_code() else {
        let agreed = InitializeResult::from_response(answer).map(|result| result.protocol_version);
        return agreed.is_some_and(|version| SUPPORTED_MODERN.contains(&&*version));
    };
    // Every server of the legacy era knows the handshake, and without `_meta`.
    is_modern_error(answer)
        || code == METHOD_NOT_FOUND
        || (code == INVALID_PARAMS && status == StatusCode::BAD_REQUEST)
}
