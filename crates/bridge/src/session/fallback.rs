//! What is answered in the server's place, and when.

use std::sync::Arc;

use control::api::{Problem, ProblemKind};
use mcp::subscription::LISTEN;
use mcp::{Message, elicitation};
use tokio::time::Instant;

use super::Manner;
use super::connection::{Link, Next, SOONEST_RETRY, Speech};
use super::outbox::{Awaits, Waiting};
use super::task::{HostEnd, Task};
use crate::problem;
use crate::server_cache::Seen;
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
                    None => (self.hub.sign_ins.told(&self.server.name, problem), true),
                }
            }
            Link::Down { problem, .. } => (problem.clone(), true),
            Link::Idle | Link::Asking { .. } | Link::Opening { .. } | Link::Live { .. } => return,
        };
        self.answer_handshake(&problem);
        let passes = matches!(
            problem.kind,
            ProblemKind::SignInNeeded | ProblemKind::Unreachable | ProblemKind::Vault
        );
        let hopeless = self.manner == Manner::Probe || !passes || !comes;
        let lists_wait = self.let_lists_wait();
        let server = Arc::clone(&self.server);
        let is_ready = |waiting: &Waiting| {
            let is_in_place = server.can_answer(&waiting.message);
            let waits = lists_wait && server.lacks(&waiting.message);
            hopeless || (is_in_place && !waits)
        };
        for message in self.outbox.take_if(is_ready) {
            self.answer_in_place(&message, &problem);
        }
        if matches!(self.link, Link::SignInNeeded { .. }) && self.sign_in.is_none() {
            let is_vain = |waiting: &Waiting| waiting.signed_in || waiting.stand_in.is_some();
            for call in self.outbox.take_if(is_vain) {
                self.fail(&call, &problem);
            }
        }
    }

    /// Lets the lists of which nothing is known wait for the sign-in that this session began or
    /// joined. Returns false if they do not wait, or no longer.
    fn let_lists_wait(&mut self) -> bool {
        let is_needed = matches!(self.link, Link::SignInNeeded { .. });
        let Some(sign_in) = self.sign_in.as_ref().filter(|_| is_needed) else {
            return false;
        };
        let until = sign_in.since + self.waits.lists;
        let waits = self.manner == Manner::Host && until > Instant::now();
        if waits {
            self.delay_lists(until);
        }
        waits
    }

    /// Lets the lists of which nothing is known wait until `until`.
    pub(super) fn delay_lists(&mut self, until: Instant) {
        let server = &self.server;
        self.outbox.let_wait(until, |message| server.lacks(message));
    }

    /// Starts a sign-in for the calls that wait, or joins one: of each call's own accord one starts
    /// at most, however it ends.
    pub(super) fn want_sign_in_for_calls(&mut self) {
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

    pub(super) fn answer_in_place(&mut self, request: &Message, problem: &Problem) {
        if self.manner == Manner::Probe {
            return self.fail(request, problem);
        }
        if request.method() == Some(LISTEN) {
            return self.acknowledge_in_place(request);
        }
        match self.server.answer(request, problem) {
            Some(answer) => {
                if let Speech::Legacy(handshake) = &mut self.speech {
                    handshake.stale |= Seen::remembers(request);
                }
                self.tell_made(answer);
            }
            None => self.fail(request, problem),
        }
    }

    /// Answers what a server that has not said anything for long keeps waiting. A subscription stays
    /// at the server.
    fn answer_for_silent_server(&mut self, now: Instant) {
        let late = self.outbox.owed.take_late(now);
        if self.server.has_just_answered() {
            return;
        }
        for request in late {
            if request.method() != Some(LISTEN)
                && let Some(id) = request.id()
            {
                self.outbox.owed.remove(id);
                self.up.abandon(id);
            }
            self.answer_in_place(&request, &problem::not_in_time());
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
        let waiting = self.outbox.next_deadline(self.unreachable.is_some());
        let late = self.late.as_ref().map(|late| late.until);
        let subscriptions = self.subscriptions.retry_at();
        [retry, self.contact, waiting, until, late, subscriptions]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn on_timer(&mut self) {
        let now = Instant::now();
        let problem = match &self.link {
            Link::SignInNeeded { problem } => {
                let problem = problem.clone();
                self.hub.sign_ins.told(&self.server.name, problem)
            }
            Link::Down { problem, .. } => problem.clone(),
            Link::Idle | Link::Asking { .. } | Link::Opening { .. } | Link::Live { .. } => self
                .unreachable
                .clone()
                .unwrap_or_else(problem::not_in_time),
        };
        if self.contact.is_some_and(|contact| contact <= now) {
            self.answer_handshake(&problem);
        }
        let is_unreachable = self.unreachable.is_some();
        let is_due = |waiting: &Waiting| waiting.is_due(now, is_unreachable);
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
        self.answer_for_silent_server(now);
        self.tell_late(now);
        if self.subscriptions.retry_at().is_some_and(|at| at <= now) {
            self.subscribe_at_server();
        }
        for id in self.outbox.owed.take_given_up(now) {
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
