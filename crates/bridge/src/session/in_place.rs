//! What is answered in the server's place, and when.

use std::sync::Arc;

use control::api::{Problem, ProblemKind};
use mcp::{Message, elicitation};
use tokio::time::Instant;

use super::Manner;
use super::link::{Link, Next, SOONEST_RETRY, Speech};
use super::outbox::{Awaits, Waiting};
use super::task::{HostEnd, Task};
use crate::problem;
use crate::seen::Seen;
use crate::sign_in::{self, Wish};

impl Task {
    /// Answers what need not wait, now that the server cannot be asked.
    pub(super) fn settle(&mut self) {
        let (problem, comes) = match &self.link {
            Link::SignInNeeded { problem } => {
                let problem = problem.clone();
                self.want_sign_in_for_calls();
                match sign_in::in_vain(&self.hub, &self.server) {
                    Some(in_vain) => (in_vain, self.sign_in.is_some()),
                    None => (problem, true),
                }
            }
            Link::Down { problem, .. } => (problem.clone(), true),
            Link::Idle | Link::Asking { .. } | Link::Opening { .. } | Link::Live { .. } => return,
        };
        let problem = self.hub.sign_ins.told(&self.server.name, problem);
        self.answer_handshake(&problem);
        let passes = matches!(
            problem.kind,
            ProblemKind::SignInNeeded | ProblemKind::Unreachable | ProblemKind::Vault
        );
        let hopeless = self.manner == Manner::Probe || !passes || !comes;
        let server = Arc::clone(&self.server);
        for message in self
            .outbox
            .take_if(|waiting| hopeless || server.can_answer(&waiting.message))
        {
            self.answer_in_place(&message, &problem);
        }
        if matches!(self.link, Link::SignInNeeded { .. }) && self.sign_in.is_none() {
            for call in self.outbox.take_if(|waiting| waiting.signed_in) {
                self.fail(&call, &problem);
            }
        }
    }

    /// Starts a sign-in for the calls that wait, or joins one: of each call's own accord one starts
    /// at most, however it ends.
    fn want_sign_in_for_calls(&mut self) {
        let best = |call: &&Waiting| (!call.signed_in, elicitation::may_ask(&call.message));
        let Some(call) = self.outbox.calls().max_by_key(best) else {
            return;
        };
        let wish = match call.signed_in {
            false => Wish::Call,
            true => Wish::CallAgain,
        };
        let call = call.message.clone();
        self.want_sign_in(wish, Some(&call));
        if self.sign_in.is_some() {
            self.outbox.note_sign_in();
        }
    }

    pub(super) fn answer_handshake(&mut self, problem: &Problem) {
        let Speech::Legacy(handshake) = &mut self.speech else {
            return;
        };
        self.contact = None;
        if std::mem::replace(&mut handshake.answered, true) {
            return;
        }
        let initialize = handshake.initialize.clone();
        self.answer_in_place(&initialize, problem);
    }

    fn answer_in_place(&mut self, request: &Message, problem: &Problem) {
        if self.manner == Manner::Probe {
            return self.fail(request, problem);
        }
        match self.server.answer(request) {
            Some(answer) => {
                if let Speech::Legacy(handshake) = &mut self.speech {
                    handshake.stale |= Seen::remembers(request);
                }
                self.tell_answer(answer);
            }
            None => self.fail(request, problem),
        }
    }

    /// The host waits for a server that is away: it is tried now rather than when it is due.
    pub(super) fn hurry(&mut self) {
        if let Link::Down { retry_at, .. } = &mut self.link {
            *retry_at = (*retry_at).min(Instant::now() + SOONEST_RETRY);
        }
    }

    /// What was connected before a sleep may be dead, and what was away may be back.
    pub(super) fn on_woke(&mut self) {
        self.up.wake();
        match &mut self.link {
            Link::Down { retry_at, .. } => *retry_at = Instant::now(),
            Link::Opening {
                awaits,
                next: Next::Revive,
                ..
            } => {
                self.up.abandon(awaits);
                self.ask(Next::Revive);
            }
            Link::Idle
            | Link::Asking { .. }
            | Link::Opening { .. }
            | Link::Live { .. }
            | Link::SignInNeeded { .. } => {}
        }
    }

    /// Whether the host waits for the answer to its handshake.
    pub(super) fn awaits_handshake(&self) -> bool {
        matches!(&self.speech, Speech::Legacy(handshake) if !handshake.answered)
    }

    pub(super) fn is_answered(&self) -> bool {
        matches!(&self.speech, Speech::Legacy(handshake) if handshake.answered)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let retry = match &self.link {
            Link::Down { retry_at, .. } => Some(*retry_at),
            Link::Opening { until, .. } => Some(*until),
            Link::Idle | Link::Asking { .. } | Link::Live { .. } | Link::SignInNeeded { .. } => {
                None
            }
        };
        let until = match self.host {
            HostEnd::Done { until } => Some(until),
            HostEnd::Open | HostEnd::Dismissed => None,
        };
        [retry, self.contact, self.outbox.next_deadline(), until]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn on_timer(&mut self) {
        let now = Instant::now();
        let problem = match &self.link {
            Link::SignInNeeded { problem } | Link::Down { problem, .. } => problem.clone(),
            Link::Idle | Link::Asking { .. } | Link::Opening { .. } | Link::Live { .. } => {
                Problem::new(
                    ProblemKind::Unreachable,
                    "the server has not answered in time",
                )
                .with_hint("try again in a moment")
            }
        };
        let problem = self.hub.sign_ins.told(&self.server.name, problem);
        if self.contact.is_some_and(|contact| contact <= now) {
            self.answer_handshake(&problem);
        }
        let is_due = |waiting: &Waiting| waiting.deadline.is_some_and(|due| due <= now);
        let lacks_access = |waiting: &Waiting| waiting.awaits == Awaits::Access;
        for message in self
            .outbox
            .take_if(|waiting| lacks_access(waiting) && is_due(waiting))
        {
            self.fail(&message, &problem::sign_in_needed(&self.server.name));
        }
        for message in self.outbox.take_if(is_due) {
            self.answer_in_place(&message, &problem);
        }
        for id in self.outbox.take_given_up(now) {
            self.up.abandon(&id);
        }
        match &self.link {
            Link::Down { retry_at, next, .. } if *retry_at <= now => self.ask(*next),
            Link::Opening { until, .. } if *until <= now => {
                self.up.reset();
                self.go_down(problem);
            }
            Link::Down { .. }
            | Link::Opening { .. }
            | Link::Idle
            | Link::Asking { .. }
            | Link::Live { .. }
            | Link::SignInNeeded { .. } => {}
        }
    }
}
