//! Asking the host to show the page of a sign-in (2025-11-25 and 2026-07-28, client/elicitation,
//! URL mode).
//!
//! Owns: what the host is asked and says to it; none of that reaches the server. Does not own:
//! whose turn it is to be asked (`sign_in`).
//!
//! A host of the legacy era is asked by a request, and told when it is done. One of the modern era
//! is asked by the answer to a call, of which nothing is kept: it comes back with another request,
//! over this session or a new one.

use std::collections::HashSet;

use mcp::elicitation::{self, Answer, Return};
use mcp::{Message, RequestId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connection::HostProtocol;
use super::outbox::{Outbox, QueuedMessage};
use super::task::Task;
use super::{HostMessage, SessionKind};
use crate::sign_in::{
    self, Declined, ElicitationRequest, ElicitationSender, OngoingSignIn, SignInTrigger,
};

/// What one host is asked.
#[derive(Default)]
pub(super) struct Elicitation {
    channel: Channel,
    stage: Stage,
    /// The questions that were withdrawn before the host had answered them.
    cancelled: HashSet<RequestId>,
}

/// The way by which questions come here.
#[derive(Default)]
enum Channel {
    /// No sign-in was wanted in which the host could be asked. Most sessions end so.
    #[default]
    Unused,
    /// The same, and the host is one that can be asked once it calls.
    ForCalls,
    Open {
        sender: ElicitationSender,
        requests: mpsc::Receiver<ElicitationRequest>,
    },
    /// The host says nothing more, or cannot show pages though it offered to.
    Closed,
}

/// How far a host of the legacy era is.
#[derive(Default)]
enum Stage {
    /// Nothing is asked.
    #[default]
    Idle,
    /// It has not ended its handshake, and must not be sent requests before.
    Queued(ElicitationRequest),
    /// It has not answered. `call` is the request of the host that this belongs to.
    Asked {
        request: ElicitationRequest,
        call: Option<RequestId>,
    },
    /// It shows the page.
    Shown {
        name: String,
        call: Option<RequestId>,
    },
}

impl Elicitation {
    /// Waits for a question; `None` if nobody waits any longer for the answer to the last one.
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
                // The caller is here, so the channel does not end.
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

    /// Notes whether a request that waits is of a host of the modern era that can be asked.
    pub(super) fn detect_modern_host(&mut self, outbox: &Outbox) {
        let is_declared = |queued: &QueuedMessage| elicitation::is_declared(&queued.message);
        if matches!(self.channel, Channel::Unused) && outbox.queued.iter().any(is_declared) {
            self.channel = Channel::ForCalls;
        }
    }

    /// Whether a host of the modern era is to be asked when it calls.
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

    /// Whether the host has a question to answer, or is about to.
    pub(super) fn is_open(&self) -> bool {
        match self.stage {
            Stage::Queued(_) | Stage::Asked { .. } => true,
            Stage::Idle | Stage::Shown { .. } => false,
        }
    }

    /// Whether that is a question of ours.
    pub(super) fn is_ours(&self, id: &RequestId) -> bool {
        let asked = match &self.stage {
            Stage::Asked { request, .. } => RequestId::string(&request.name) == *id,
            Stage::Idle | Stage::Queued(_) | Stage::Shown { .. } => false,
        };
        asked || self.cancelled.contains(id)
    }
}

impl Task {
    /// This session, if its host can be asked: a modern one in the answer to `call` alone.
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

    /// Asks a host of the legacy era as soon as it may be asked.
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

    /// Answers a call of a modern host with the question, and forgets the call. If none waits any
    /// longer, nobody is asked.
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
        // Whether anybody still waits for the answer is nothing to a host that has gone.
        let _ = request.answer_later.send(());
    }

    /// What a host of the legacy era answers.
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
        let (sign_ins, server) = (&self.bridge.sign_ins, &self.server.name);
        match elicitation::answer(response) {
            Answer::Accepted => {
                sign_ins.accept(server, &request.name, self.bridge.options.clock.unix());
                let name = request.name;
                self.elicitation.stage = Stage::Shown { name, call };
            }
            Answer::Declined => {
                if sign_ins.decline(server, &request.name, Instant::now()) == Declined::ByHost {
                    self.elicitation.channel = Channel::Closed;
                }
            }
            Answer::Unable => {
                self.elicitation.channel = Channel::Closed;
                sign_ins.mark_unable(server, &request.name);
            }
        }
    }

    /// A request of a modern host without what it says to a question of ours, and whether it says
    /// that it shows the page. `None` if that is the end of it, or if it has to be asked again.
    pub(super) fn strip_elicitation(&mut self, message: Message) -> Option<(Message, bool)> {
        let Some(back) = Return::of(&message) else {
            return Some((message, false));
        };
        let is_shown = matches!(back.answer, Some(Answer::Accepted));
        let (sign_ins, server) = (&self.bridge.sign_ins, &self.server.name);
        match back.answer {
            Some(Answer::Accepted) => {
                sign_ins.accept(server, &back.id, self.bridge.options.clock.unix());
            }
            Some(Answer::Declined | Answer::Unable) => {
                match sign_ins.decline(server, &back.id, Instant::now()) {
                    // The call waits as that of a host that does not offer to show pages.
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

    /// The host will say nothing more, and cannot be asked any longer.
    pub(super) fn end_elicitations(&mut self) {
        if self.sign_in.is_some() && self.outbox.queued_calls().next().is_some() {
            self.bridge.sign_ins.join(&self.server.name, None);
        }
        if !matches!(self.elicitation.stage, Stage::Shown { .. }) {
            self.end_elicitation(false);
        }
        self.elicitation.channel = Channel::Closed;
    }

    /// Nobody waits any longer for what the host was asked. If the sign-in goes on, it made way for
    /// another, and may be asked once more for a call that still waits.
    pub(super) fn on_elicitation_cancelled(&mut self) {
        let result = self.sign_in.as_ref().map(OngoingSignIn::result);
        self.end_elicitation(matches!(result, Some(Some(Ok(())))));
        let call = self.outbox.queued_calls().next().cloned();
        if call.is_some() && matches!(result, Some(None)) {
            self.want_sign_in(SignInTrigger::ToolCall, call.as_ref());
        }
    }

    /// Tells a host of the legacy era what has become of what it was asked.
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
            let cancelled = Message::withdrawal(&id, "the sign-in does not wait for this any more");
            self.elicitation.cancelled.insert(id);
            self.send_to_host(cancelled, call);
        }
    }
}
