//! Messages between a host and a server of different eras.
//!
//! Owns: doing what a translation says. Does not own: what that is ([`crate::translate`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::StatusCode;

use super::answer::Answer;
use super::outgoing::Outgoing;
use super::state::{Generation, State};
use super::stream::Mark;
use super::{Failure, Shared, UpstreamEvent};
use crate::era::is_modern_error;
use crate::message::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::translate::{Action, LegacyHost};
use crate::{Era, Message, RequestId};

impl Shared {
    /// Before a handshake: whether it needs a translation.
    pub(super) fn choose_translation(&self, state: &mut State) {
        if !self.learned.speaks_only(Era::Modern) {
            self.translate(state, None);
        } else if state.translation.is_none() {
            self.translate(state, Some(LegacyHost::default()));
        }
    }

    fn translate(&self, state: &mut State, translation: Option<LegacyHost>) {
        let translates = translation.is_some();
        self.translates.store(translates, Ordering::Release);
        state.translation = translation;
    }

    /// A message of the host for the translation.
    pub(super) fn hear(self: &Arc<Self>, state: &mut State, message: Message) {
        if let Some(translation) = &mut state.translation {
            let actions = translation.on_host(message);
            self.perform_now(state, actions);
        }
    }

    /// The host wants to hear what belongs to no request.
    pub(super) fn listen_translated(self: &Arc<Self>, state: &mut State) {
        if let Some(translation) = &mut state.translation {
            let actions = translation.listen();
            self.perform_now(state, actions);
        }
    }

    /// The host no longer wants an answer.
    pub(super) fn give_up(self: &Arc<Self>, state: &mut State, id: &RequestId) {
        match &mut state.translation {
            Some(translation) => {
                let actions = translation.abandon(id);
                self.perform_now(state, actions);
            }
            None => state.abandon(id),
        }
    }

    pub(super) fn forget_translated(self: &Arc<Self>, state: &mut State) {
        if let Some(translation) = &mut state.translation {
            let actions = translation.reset();
            self.perform_now(state, actions);
        }
    }

    /// The server has refused a handshake because it knows none.
    pub(super) fn go_modern(
        self: &Arc<Self>,
        initialize: &Message,
        refusal: Message,
        generation: Generation,
    ) {
        tracing::debug!(server = %self.url.shown(), "the server knows no handshake");
        self.learned.note_only(Some(Era::Modern));
        let mut state = self.state();
        let is_wanted = initialize.id().is_some_and(|id| state.failed(id));
        if state.generation() == generation && is_wanted {
            let mut translation = LegacyHost::default();
            let actions = translation.begin(initialize.clone(), Some(refusal));
            self.translate(&mut state, Some(translation));
            self.perform_now(&mut state, actions);
        }
    }

    /// Tells the host's end, in the host's era.
    pub(super) async fn report(self: &Arc<Self>, event: UpstreamEvent) {
        if !self.translates.load(Ordering::Acquire) {
            return self.emit(event).await;
        }
        {
            let mut state = self.state();
            match &mut state.translation {
                None => state.untold.push_back(event),
                Some(translation) => {
                    let actions = match event {
                        UpstreamEvent::Message { message, request } => {
                            translation.on_server(message, request)
                        }
                        UpstreamEvent::Failed { request, failure } => {
                            translation.failed(request, failure)
                        }
                    };
                    self.perform(&mut state, actions);
                }
            }
        }
        self.tell_all().await;
    }

    /// Does what a translation says; what there is to tell is told by a task of its own.
    fn perform_now(self: &Arc<Self>, state: &mut State, actions: Vec<Action>) {
        self.perform(state, actions);
        // Also what a task had to tell that has just been ended.
        if !state.untold.is_empty() {
            let shared = Arc::clone(self);
            self.spawn(async move { shared.tell_all().await });
        }
    }

    /// Does what a translation says, but for telling.
    fn perform(self: &Arc<Self>, state: &mut State, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToServer(message) => {
                    let outgoing = Outgoing::new(message, state.authorization.clone());
                    self.transmit(state, outgoing);
                }
                Action::ToHost { message, request } => {
                    let event = UpstreamEvent::Message { message, request };
                    state.untold.push_back(event);
                }
                Action::Fail { request, failure } => {
                    let event = UpstreamEvent::Failed { request, failure };
                    state.untold.push_back(event);
                }
                Action::Abandon(id) => state.abandon(&id),
                Action::ListenLater { failures } => self.listen_later(state, failures),
                Action::WrongEra => {
                    self.learned.note_only(None);
                    self.translate(state, None);
                }
            }
        }
    }

    /// Tells what there is to tell, in order. Loses nothing when its task is ended in between.
    async fn tell_all(&self) {
        let _turn = self.telling.lock().await;
        while !self.state().untold.is_empty() {
            // Without a receiver there is nobody to tell.
            let Ok(room) = self.events.reserve().await else {
                return;
            };
            if let Some(event) = self.state().untold.pop_front() {
                room.send(event);
            }
        }
    }

    fn listen_later(self: &Arc<Self>, state: &mut State, failures: u32) {
        let shared = Arc::clone(self);
        let task = self.spawn(async move {
            tokio::time::sleep(Mark::default().wait(failures)).await;
            shared.listen_translated(&mut shared.state());
        });
        state.listen(task);
    }
}

/// What a server says to `initialize` that has no handshake.
pub(super) fn modern_refusal(
    status: StatusCode,
    outcome: &Result<Answer, Failure>,
) -> Option<Message> {
    let (Ok(Answer::Message(refusal))
    | Err(Failure::Rejected {
        body: Some(refusal),
        ..
    })) = outcome
    else {
        return None;
    };
    let code = refusal.error_code()?;
    // The handshake is what every server of the legacy era knows, and without `_meta`.
    let is_modern = is_modern_error(code)
        || code == METHOD_NOT_FOUND
        || (code == INVALID_PARAMS && status == StatusCode::BAD_REQUEST);
    is_modern.then(|| refusal.clone())
}
