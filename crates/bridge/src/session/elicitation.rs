//! Asks the host to show a sign-in page (2025-11-25 and 2026-07-28, client/elicitation, URL mode).
//!
//! Owns: the elicitations of the bridge and the host's responses. None of them reaches the server.
//! Does not own: which host is asked next (`pending_sign_ins::elicitation_queue`).
//!
//! A legacy host gets a request, and a notification when the sign-in is complete. A modern host
//! gets the elicitation as the result of a call, of which nothing is kept. It comes back with
//! another request, in this session or a new one.

use std::collections::HashSet;

use mcp::elicitation::{self, ElicitationAction, ElicitationRetry};
use mcp::{Message, RequestId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connection::HostProtocol;
use super::outbox::{Outbox, QueuedMessage};
use super::{HostMessage, SessionKind, Task};
use crate::pending_sign_ins::{
    Declined, ElicitationRequest, ElicitationSender, OngoingSignIn, SignInOutcome, SignInTrigger,
};
use crate::sign_in;

/// The elicitations of one host.
#[derive(Default)]
pub(super) struct Elicitation {
    channel: Channel,
    stage: Stage,
    /// Elicitations that were cancelled before the host responded.
    cancelled: HashSet<RequestId>,
}

/// How elicitations reach this session.
#[derive(Default)]
enum Channel {
    /// No sign-in has needed the host so far. Most sessions stay so.
    #[default]
    Unused,
    /// The same, but the host can be asked when it calls.
    ForCalls,
    Open {
        sender: ElicitationSender,
        requests: mpsc::Receiver<ElicitationRequest>,
    },
    /// The host sends nothing more, or cannot show pages although it declared it.
    Closed,
}

/// The stage of an elicitation of a legacy host.
#[derive(Default)]
enum Stage {
    /// There is none.
    #[default]
    Idle,
    /// The host has not completed its handshake, and must not be sent requests before.
    Queued(ElicitationRequest),
    /// The host has not responded. `call` is the host's request that this belongs to.
    Asked {
        request: ElicitationRequest,
        call: Option<RequestId>,
    },
    /// The host shows the page.
    Shown {
        name: String,
        call: Option<RequestId>,
    },
}

impl Elicitation {
    /// Waits for the next elicitation. Returns `None` if the last one is cancelled.
    pub(super) async fn next(&mut self) -> Option<ElicitationRequest> {
        let over = match &self.stage {
            Stage::Queued(request) | Stage::Asked { request, .. } => {
                Some(request.cancelled.clone())
            }
            Stage::Idle | Stage::Shown { .. } => None,
        };
        let over = async {
            match over {
                Some(over) => over.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let request = async {
            match &mut self.channel {
                // The sender is kept here, so the channel stays open.
                Channel::Open { requests, .. } => requests.recv().await,
                Channel::Unused | Channel::ForCalls | Channel::Closed => {
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            biased;
            () = over => None,
            request = request => request,
        }
    }

    /// Records whether a queued request is of a modern host that can be asked.
    pub(super) fn detect_modern_host(&mut self, outbox: &Outbox) {
        let is_declared = |queued: &QueuedMessage| elicitation::is_declared(&queued.message);
        if matches!(self.channel, Channel::Unused) && outbox.queued.iter().any(is_declared) {
            self.channel = Channel::ForCalls;
        }
    }

    /// Returns true if a modern host is to be asked when it calls.
    pub(super) fn is_for_calls(&self) -> bool {
        matches!(self.channel, Channel::ForCalls | Channel::Open { .. })
    }

    fn sender(&mut self) -> Option<ElicitationSender> {
        if let Channel::Unused | Channel::ForCalls = self.channel {
            let (sender, requests) = mpsc::channel(1);
            self.channel = Channel::Open { sender, requests };
        }
        match &self.channel {
            Channel::Open { sender, .. } => Some(sender.clone()),
            Channel::Unused | Channel::ForCalls | Channel::Closed => None,
        }
    }

    /// Returns true if an elicitation is queued or has no response.
    pub(super) fn is_open(&self) -> bool {
        match self.stage {
            Stage::Queued(_) | Stage::Asked { .. } => true,
            Stage::Idle | Stage::Shown { .. } => false,
        }
    }

    /// Returns true if `id` is an elicitation of the bridge.
    pub(super) fn is_ours(&self, id: &RequestId) -> bool {
        let asked = match &self.stage {
            Stage::Asked { request, .. } => RequestId::string(&request.name) == *id,
            Stage::Idle | Stage::Queued(_) | Stage::Shown { .. } => false,
        };
        asked || self.cancelled.contains(id)
    }
}

impl Task {
    /// Returns the sender of this session if its host can be asked. A modern host can only be asked
    /// in the result of `call`.
    pub(super) fn elicitation_sender(
        &mut self,
        call: Option<&Message>,
    ) -> Option<ElicitationSender> {
        let is_able = match &self.protocol {
            HostProtocol::Legacy(handshake) => elicitation::is_offered(&handshake.initialize),
            HostProtocol::Modern => call.is_some_and(elicitation::may_ask),
            HostProtocol::Unknown => false,
        };
        let may = is_able && self.kind == SessionKind::Host;
        may.then(|| self.elicitation.sender()).flatten()
    }

    pub(super) fn on_elicitation(&mut self, request: ElicitationRequest) {
        match self.protocol {
            HostProtocol::Legacy(_) => {
                self.end_elicitation(false);
                self.elicitation.stage = Stage::Queued(request);
                self.send_elicitation();
            }
            HostProtocol::Modern | HostProtocol::Unknown => self.answer_with_elicitation(request),
        }
    }

    /// Sends the queued elicitation to a legacy host once it may be sent requests.
    pub(super) fn send_elicitation(&mut self) {
        let HostProtocol::Legacy(handshake) = &self.protocol else {
            return;
        };
        let is_early = handshake.initialized.is_none();
        match std::mem::replace(&mut self.elicitation.stage, Stage::Idle) {
            Stage::Queued(request) if !is_early => {
                let call = self.outbox.queued_calls().next();
                let call = call.and_then(|call| call.id().cloned());
                let prompt = &request.prompt;
                let message =
                    elicitation::request(&request.name, prompt.page.as_str(), &prompt.text);
                let sent = request.sent.clone();
                sent.set(Instant::now());
                self.elicitation.stage = Stage::Asked {
                    request,
                    call: call.clone(),
                };
                self.deliver(HostMessage {
                    message,
                    request: call,
                    sent: Some(sent),
                });
            }
            stage => self.elicitation.stage = stage,
        }
    }

    /// Answers a queued call of a modern host with the elicitation, and forgets the call. Does
    /// nothing if there is no such call.
    fn answer_with_elicitation(&mut self, request: ElicitationRequest) {
        let mut is_taken = false;
        let calls = self.outbox.take_if(|queued: &QueuedMessage| {
            let takes = !is_taken && elicitation::may_ask(&queued.message);
            is_taken |= takes;
            takes
        });
        let Some(id) = calls.first().and_then(Message::id) else {
            return;
        };
        let (page, text) = (request.prompt.page.as_str(), &request.prompt.text);
        request.sent.set(Instant::now());
        self.send_answer(elicitation::required(id, &request.name, page, text));
        // Fails if the sign-in has ended, which makes no difference to this host.
        let _ = request.answer_later.send(());
    }

    /// Handles the response of a legacy host.
    pub(super) fn on_elicitation_response(&mut self, response: &Message) {
        if let Some(id) = response.id()
            && self.elicitation.cancelled.remove(id)
        {
            return;
        }
        let Stage::Asked { request, call } =
            std::mem::replace(&mut self.elicitation.stage, Stage::Idle)
        else {
            return;
        };
        let (sign_ins, server) = (&self.context.sign_ins, &self.server.name);
        match elicitation::action(response) {
            ElicitationAction::Accepted => {
                sign_ins.accept(server, &request.name, self.context.sign_in.clock.unix());
                let name = request.name;
                self.elicitation.stage = Stage::Shown { name, call };
            }
            ElicitationAction::Declined => {
                if sign_ins.decline(server, &request.name, Instant::now()) == Declined::ByHost {
                    self.elicitation.channel = Channel::Closed;
                }
            }
            ElicitationAction::Unable => {
                self.elicitation.channel = Channel::Closed;
                sign_ins.mark_unable(server, &request.name);
            }
        }
    }

    /// Removes the elicitation response from a request of a modern host. Returns the request, and
    /// whether the host shows the page. Returns `None` if the request is answered: the user
    /// declined, or the elicitation is still open.
    pub(super) fn strip_elicitation(&mut self, message: Message) -> Option<(Message, bool)> {
        let Some(back) = ElicitationRetry::from_request(&message) else {
            return Some((message, false));
        };
        let is_shown = matches!(back.answer, Some(ElicitationAction::Accepted));
        let (sign_ins, server) = (&self.context.sign_ins, &self.server.name);
        match back.answer {
            Some(ElicitationAction::Accepted) => {
                sign_ins.accept(server, &back.id, self.context.sign_in.clock.unix());
            }
            Some(ElicitationAction::Declined | ElicitationAction::Unable) => {
                match sign_ins.decline(server, &back.id, Instant::now()) {
                    // The call waits like that of a host that does not show pages.
                    Declined::ByHost => self.elicitation.channel = Channel::Closed,
                    Declined::ByUser => {
                        self.fail(&message, &sign_in::cancelled(&self.server));
                        return None;
                    }
                }
            }
            None => {
                if let Some(prompt) = sign_ins.asked(server, &back.id)
                    && let Some(id) = message.id()
                {
                    let page = prompt.page.as_str();
                    self.send_answer(elicitation::required(id, &back.id, page, &prompt.text));
                    return None;
                }
            }
        }
        Some((back.request, is_shown))
    }

    /// The host will send nothing more, and cannot be asked any longer.
    pub(super) fn end_elicitations(&mut self) {
        if self.sign_in.is_some() && self.outbox.queued_calls().next().is_some() {
            self.context.sign_ins.join(&self.server.name, None);
        }
        if !matches!(self.elicitation.stage, Stage::Shown { .. }) {
            self.end_elicitation(false);
        }
        self.elicitation.channel = Channel::Closed;
    }

    /// The elicitation was cancelled. If the sign-in continues, another host was asked instead, and
    /// this one may be asked again for a queued call.
    pub(super) fn on_elicitation_cancelled(&mut self) {
        let outcome = self.sign_in.as_ref().map(OngoingSignIn::known_outcome);
        self.end_elicitation(matches!(outcome, Some(Some(SignInOutcome::SignedIn))));
        let call = self.outbox.queued_calls().next().cloned();
        if call.is_some() && matches!(outcome, Some(None)) {
            self.want_sign_in(SignInTrigger::ToolCall, call.as_ref());
        }
    }

    /// Ends the elicitation of a legacy host. Notifies it of the completion, or cancels the open
    /// request.
    pub(super) fn end_elicitation(&mut self, is_done: bool) {
        let (name, call, is_open) =
            match std::mem::replace(&mut self.elicitation.stage, Stage::Idle) {
                Stage::Idle | Stage::Queued(_) => return,
                Stage::Asked { request, call } => (request.name, call, true),
                Stage::Shown { name, call } => (name, call, false),
            };
        if is_done {
            self.send_to_host(elicitation::completed(&name), call.clone());
        }
        if is_open {
            let id = RequestId::string(&name);
            let cancelled =
                Message::cancellation_with_reason(&id, "the sign-in no longer waits for this");
            self.elicitation.cancelled.insert(id);
            self.send_to_host(cancelled, call);
        }
    }
}
