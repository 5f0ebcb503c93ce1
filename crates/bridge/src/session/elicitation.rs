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

use super::connection::Speech;
use super::outbox::{Outbox, Waiting};
use super::task::Task;
use super::{Manner, ToHost};
use crate::sign_in::{self, Awaited, Caller, Declined, Question, Wish};

/// What one host is asked.
#[derive(Default)]
pub(super) struct Elicitation {
    line: Line,
    stage: Stage,
    /// The questions that were withdrawn before the host had answered them.
    withdrawn: HashSet<RequestId>,
}

/// The way by which questions come here.
#[derive(Default)]
enum Line {
    /// No sign-in was wanted in which the host could be asked. Most sessions end so.
    #[default]
    Unused,
    /// The same, and the host is one that can be asked once it calls.
    ForCalls,
    Open {
        caller: Caller,
        questions: mpsc::Receiver<Question>,
    },
    /// The host says nothing more, or cannot show pages though it offered to.
    Closed,
}

/// How far a host of the legacy era is.
#[derive(Default)]
enum Stage {
    /// Nothing is asked.
    #[default]
    Quiet,
    /// It has not ended its handshake, and must not be sent requests before.
    Early(Question),
    /// It has not answered. `call` is the request of the host that this belongs to.
    Asked {
        question: Question,
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
    pub(super) async fn next(&mut self) -> Option<Question> {
        let over = match &self.stage {
            Stage::Early(question) | Stage::Asked { question, .. } => Some(question.over.clone()),
            Stage::Quiet | Stage::Shown { .. } => None,
        };
        let over = async {
            match over {
                Some(over) => over.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let question = async {
            match &mut self.line {
                // The caller is here, so the channel does not end.
                Line::Open { questions, .. } => questions.recv().await,
                Line::Unused | Line::ForCalls | Line::Closed => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = over => None,
            question = question => question,
        }
    }

    /// Notes whether a request that waits is of a host of the modern era that can be asked.
    pub(super) fn note(&mut self, outbox: &Outbox) {
        let is_declared = |waiting: &Waiting| elicitation::is_declared(&waiting.message);
        if matches!(self.line, Line::Unused) && outbox.waiting.iter().any(is_declared) {
            self.line = Line::ForCalls;
        }
    }

    /// Whether a host of the modern era is to be asked when it calls.
    pub(super) fn is_for_calls(&self) -> bool {
        matches!(self.line, Line::ForCalls | Line::Open { .. })
    }

    fn caller(&mut self) -> Option<Caller> {
        if let Line::Unused | Line::ForCalls = self.line {
            let (caller, questions) = mpsc::channel(1);
            self.line = Line::Open { caller, questions };
        }
        match &self.line {
            Line::Open { caller, .. } => Some(caller.clone()),
            Line::Unused | Line::ForCalls | Line::Closed => None,
        }
    }

    /// Whether the host has a question to answer, or is about to.
    pub(super) fn is_open(&self) -> bool {
        match self.stage {
            Stage::Early(_) | Stage::Asked { .. } => true,
            Stage::Quiet | Stage::Shown { .. } => false,
        }
    }

    /// Whether that is a question of ours.
    pub(super) fn takes(&self, id: &RequestId) -> bool {
        let asked = match &self.stage {
            Stage::Asked { question, .. } => RequestId::string(&question.name) == *id,
            Stage::Quiet | Stage::Early(_) | Stage::Shown { .. } => false,
        };
        asked || self.withdrawn.contains(id)
    }
}

impl Task {
    /// This session, if its host can be asked: a modern one in the answer to `call` alone.
    pub(super) fn caller(&mut self, call: Option<&Message>) -> Option<Caller> {
        let is_able = match &self.speech {
            Speech::Legacy(handshake) => elicitation::is_offered(&handshake.initialize),
            Speech::Modern => call.is_some_and(elicitation::may_ask),
            Speech::Silent => false,
        };
        let may = is_able && self.manner == Manner::Host;
        may.then(|| self.elicitation.caller()).flatten()
    }

    pub(super) fn on_question(&mut self, question: Question) {
        match self.speech {
            Speech::Legacy(_) => {
                self.end_question(false);
                self.elicitation.stage = Stage::Early(question);
                self.ask_host();
            }
            Speech::Modern | Speech::Silent => self.require(question),
        }
    }

    /// Asks a host of the legacy era as soon as it may be asked.
    pub(super) fn ask_host(&mut self) {
        let Speech::Legacy(handshake) = &self.speech else {
            return;
        };
        let is_early = handshake.initialized.is_none();
        match std::mem::replace(&mut self.elicitation.stage, Stage::Quiet) {
            Stage::Early(question) if !is_early => {
                let call = self.outbox.waiting_calls().next();
                let call = call.and_then(|call| call.id().cloned());
                let offer = &question.offer;
                let asking = elicitation::request(&question.name, offer.page.as_str(), &offer.text);
                let sent = question.sent.clone();
                sent.set(Instant::now());
                self.elicitation.stage = Stage::Asked {
                    question,
                    call: call.clone(),
                };
                self.deliver(ToHost {
                    message: asking,
                    request: call,
                    sent: Some(sent),
                });
            }
            stage => self.elicitation.stage = stage,
        }
    }

    /// Answers a call of a modern host with the question, and forgets the call. If none waits any
    /// longer, nobody is asked.
    fn require(&mut self, question: Question) {
        let mut is_taken = false;
        let calls = self.outbox.take_if(|waiting: &Waiting| {
            let takes = !is_taken && elicitation::may_ask(&waiting.message);
            is_taken |= takes;
            takes
        });
        let Some(id) = calls.first().and_then(Message::id) else {
            return;
        };
        let (page, text) = (question.offer.page.as_str(), &question.offer.text);
        question.sent.set(Instant::now());
        self.tell_answer(elicitation::required(id, &question.name, page, text));
        // Whether anybody still waits for the answer is nothing to a host that has gone.
        let _ = question.left.send(());
    }

    /// What a host of the legacy era answers.
    pub(super) fn on_answer(&mut self, response: &Message) {
        if let Some(id) = response.id()
            && self.elicitation.withdrawn.remove(id)
        {
            return;
        }
        let Stage::Asked { question, call } =
            std::mem::replace(&mut self.elicitation.stage, Stage::Quiet)
        else {
            return;
        };
        let (sign_ins, server) = (&self.hub.sign_ins, &self.server.name);
        match elicitation::answer(response) {
            Answer::Accepted => {
                sign_ins.accept(server, &question.name, self.hub.options.clock.unix());
                let name = question.name;
                self.elicitation.stage = Stage::Shown { name, call };
            }
            Answer::Declined => {
                if sign_ins.decline(server, &question.name, Instant::now()) == Declined::ByHost {
                    self.elicitation.line = Line::Closed;
                }
            }
            Answer::Unable => {
                self.elicitation.line = Line::Closed;
                sign_ins.do_without(server, &question.name);
            }
        }
    }

    /// A request of a modern host without what it says to a question of ours, and whether it says
    /// that it shows the page. `None` if that is the end of it, or if it has to be asked again.
    pub(super) fn unasked(&mut self, message: Message) -> Option<(Message, bool)> {
        let Some(back) = Return::of(&message) else {
            return Some((message, false));
        };
        let is_shown = matches!(back.answer, Some(Answer::Accepted));
        let (sign_ins, server) = (&self.hub.sign_ins, &self.server.name);
        match back.answer {
            Some(Answer::Accepted) => {
                sign_ins.accept(server, &back.id, self.hub.options.clock.unix());
            }
            Some(Answer::Declined | Answer::Unable) => {
                match sign_ins.decline(server, &back.id, Instant::now()) {
                    // The call waits as that of a host that does not offer to show pages.
                    Declined::ByHost => self.elicitation.line = Line::Closed,
                    Declined::ByUser => {
                        self.fail(&message, &sign_in::cancelled(&self.server));
                        return None;
                    }
                }
            }
            None => {
                if let Some(offer) = sign_ins.asked(server, &back.id)
                    && let Some(id) = message.id()
                {
                    let page = offer.page.as_str();
                    self.tell_answer(elicitation::required(id, &back.id, page, &offer.text));
                    return None;
                }
            }
        }
        Some((back.request, is_shown))
    }

    /// The host will say nothing more, and cannot be asked any longer.
    pub(super) fn end_questions(&mut self) {
        if self.sign_in.is_some() && self.outbox.waiting_calls().next().is_some() {
            self.hub.sign_ins.join(&self.server.name, None);
        }
        if !matches!(self.elicitation.stage, Stage::Shown { .. }) {
            self.end_question(false);
        }
        self.elicitation.line = Line::Closed;
    }

    /// Nobody waits any longer for what the host was asked. If the sign-in goes on, it made way for
    /// another, and may be asked once more for a call that still waits.
    pub(super) fn on_withdrawn(&mut self) {
        let end = self.sign_in.as_ref().map(Awaited::end);
        self.end_question(matches!(end, Some(Some(Ok(())))));
        let call = self.outbox.waiting_calls().next().cloned();
        if call.is_some() && matches!(end, Some(None)) {
            self.want_sign_in(Wish::Call, call.as_ref());
        }
    }

    /// Tells a host of the legacy era what has become of what it was asked.
    pub(super) fn end_question(&mut self, is_done: bool) {
        let (name, call, is_open) =
            match std::mem::replace(&mut self.elicitation.stage, Stage::Quiet) {
                Stage::Quiet | Stage::Early(_) => return,
                Stage::Asked { question, call } => (question.name, call, true),
                Stage::Shown { name, call } => (name, call, false),
            };
        if is_done {
            self.tell(elicitation::completed(&name), call.clone());
        }
        if is_open {
            let id = RequestId::string(&name);
            let withdrawn = Message::withdrawal(&id, "the sign-in does not wait for this any more");
            self.elicitation.withdrawn.insert(id);
            self.tell(withdrawn, call);
        }
    }
}
