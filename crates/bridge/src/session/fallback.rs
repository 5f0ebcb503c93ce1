//! Answers requests for the server while it cannot be asked.

use std::sync::Arc;

use control::api::{Problem, ProblemKind};
use mcp::subscription::LISTEN;
use mcp::{Message, elicitation};
use tokio::time::Instant;

use super::connection::{AfterToken, ConnectionState, HostProtocol, MIN_RETRY_DELAY};
use super::outbox::{QueuedMessage, WaitFor};
use super::{HostInput, SessionKind, Task};
use crate::pending_sign_ins::SignInTrigger;
use crate::problem;
use crate::server_cache::ServerCache;
use crate::sign_in;

impl Task {
    /// Answers the requests that need not wait for the server.
    pub(super) fn answer_from_cache(&mut self) {
        let (problem, comes) = match &self.connection {
            ConnectionState::SignInNeeded { problem } => {
                let problem = problem.clone();
                self.want_sign_in_for_calls();
                match sign_in::refused_after_sign_in(&self.context.identity, &self.server) {
                    Some(refused_after_sign_in) => (refused_after_sign_in, self.sign_in.is_some()),
                    None => (
                        self.context
                            .sign_ins
                            .with_next_step(&self.server.name, problem),
                        true,
                    ),
                }
            }
            ConnectionState::Down { problem, .. } => (problem.clone(), true),
            ConnectionState::Idle
            | ConnectionState::Authorizing { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Live { .. } => return,
        };
        self.answer_handshake(&problem);
        let passes = matches!(
            problem.kind,
            ProblemKind::SignInNeeded | ProblemKind::Unreachable | ProblemKind::Vault
        );
        let hopeless = self.kind == SessionKind::Probe || !passes || !comes;
        let lists_wait = self.let_lists_wait();
        let server = Arc::clone(&self.server);
        let is_ready = |queued: &QueuedMessage| {
            let is_answerable = server.can_answer(&queued.message);
            let waits = lists_wait && server.lacks(&queued.message);
            hopeless || (is_answerable && !waits)
        };
        for message in self.outbox.take_if(is_ready) {
            self.answer_locally(&message, &problem);
        }
        if matches!(self.connection, ConnectionState::SignInNeeded { .. }) && self.sign_in.is_none()
        {
            let had_sign_in =
                |queued: &QueuedMessage| queued.signed_in || queued.stand_in.is_some();
            for call in self.outbox.take_if(had_sign_in) {
                self.fail(&call, &problem);
            }
        }
    }

    /// Lets lists that are not cached wait for the sign-in that this session began or joined.
    /// Returns false if they do not wait, or no longer.
    fn let_lists_wait(&mut self) -> bool {
        let is_needed = matches!(self.connection, ConnectionState::SignInNeeded { .. });
        let Some(sign_in) = self.sign_in.as_ref().filter(|_| is_needed) else {
            return false;
        };
        let until = sign_in.since + self.timeouts.lists;
        let waits = self.kind == SessionKind::Host && until > Instant::now();
        if waits {
            self.delay_lists(until);
        }
        waits
    }

    /// Sets the deadline of lists that are not cached.
    pub(super) fn delay_lists(&mut self, until: Instant) {
        let server = &self.server;
        self.outbox
            .set_deadlines(until, |message| server.lacks(message));
    }

    /// Starts or joins a sign-in for the queued calls. Each call starts at most one, whatever its
    /// result.
    pub(super) fn want_sign_in_for_calls(&mut self) {
        let best = |call: &&QueuedMessage| (!call.signed_in, elicitation::may_ask(&call.message));
        let Some(call) = self.outbox.calls().max_by_key(best) else {
            return;
        };
        let trigger = match call.signed_in {
            false => SignInTrigger::ToolCall,
            true => SignInTrigger::RepeatedCall,
        };
        let call = call.message.clone();
        self.want_sign_in(trigger, Some(&call));
        if self.sign_in.is_some() {
            self.outbox.record_sign_in();
        }
    }

    pub(super) fn answer_handshake(&mut self, problem: &Problem) {
        let HostProtocol::Legacy(handshake) = &mut self.protocol else {
            return;
        };
        self.handshake_deadline = None;
        if std::mem::replace(&mut handshake.answered, true) {
            return;
        }
        let initialize = handshake.initialize.clone();
        self.answer_locally(&initialize, problem);
    }

    pub(super) fn answer_locally(&mut self, request: &Message, problem: &Problem) {
        if self.kind == SessionKind::Probe {
            return self.fail(request, problem);
        }
        if request.method() == Some(LISTEN) {
            return self.acknowledge_locally(request);
        }
        match self.server.answer(request, problem) {
            Some(answer) => {
                if let HostProtocol::Legacy(handshake) = &mut self.protocol {
                    handshake.stale |= ServerCache::is_cacheable(request);
                }
                self.send_own_answer(answer);
            }
            None => self.fail(request, problem),
        }
    }

    /// Answers the requests that a silent server keeps waiting. A subscription also stays at the
    /// server.
    fn answer_for_silent_server(&mut self, now: Instant) {
        let late = self.outbox.pending.take_overdue(now);
        if self.server.has_just_answered() {
            return;
        }
        for request in late {
            if request.method() != Some(LISTEN)
                && let Some(id) = request.id()
            {
                self.outbox.pending.remove(id);
                self.up.abandon(id);
            }
            self.answer_locally(&request, &problem::not_in_time());
        }
    }

    /// Retries an unreachable server soon, because the host waits for it.
    pub(super) fn retry_soon(&mut self) {
        if let ConnectionState::Down { retry_at, .. } = &mut self.connection {
            *retry_at = (*retry_at).min(Instant::now() + MIN_RETRY_DELAY);
        }
    }

    /// Handles the end of a sleep: old connections may be dead, and the server may be reachable
    /// again.
    pub(super) fn on_resume(&mut self) {
        self.up.wake();
        match &mut self.connection {
            ConnectionState::Down { retry_at, .. } => *retry_at = Instant::now(),
            ConnectionState::Opening {
                awaits,
                next: AfterToken::Reconnect,
                ..
            } => {
                self.up.abandon(awaits);
                self.request_token(AfterToken::Reconnect);
            }
            ConnectionState::Idle
            | ConnectionState::Authorizing { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Live { .. }
            | ConnectionState::SignInNeeded { .. } => {}
        }
    }

    /// Returns true if the host waits for the response to its handshake.
    pub(super) fn awaits_handshake(&self) -> bool {
        matches!(&self.protocol, HostProtocol::Legacy(handshake) if !handshake.answered)
    }

    pub(super) fn is_answered(&self) -> bool {
        matches!(&self.protocol, HostProtocol::Legacy(handshake) if handshake.answered)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let retry = match &self.connection {
            ConnectionState::Down { retry_at, .. } => Some(*retry_at),
            ConnectionState::Opening { until, .. } => Some(*until),
            ConnectionState::Idle
            | ConnectionState::Authorizing { .. }
            | ConnectionState::Live { .. }
            | ConnectionState::SignInNeeded { .. } => None,
        };
        let until = match self.host {
            HostInput::Ended { until } => Some(until),
            HostInput::Open | HostInput::Draining => None,
        };
        let queued = self.outbox.next_deadline(self.unreachable.is_some());
        let late = self.delayed_result.as_ref().map(|late| late.until);
        let subscriptions = self.subscriptions.retry_at();
        [
            retry,
            self.handshake_deadline,
            queued,
            until,
            late,
            subscriptions,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn on_timer(&mut self) {
        let now = Instant::now();
        let problem = match &self.connection {
            ConnectionState::SignInNeeded { problem } => {
                let problem = problem.clone();
                self.context
                    .sign_ins
                    .with_next_step(&self.server.name, problem)
            }
            ConnectionState::Down { problem, .. } => problem.clone(),
            ConnectionState::Idle
            | ConnectionState::Authorizing { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Live { .. } => self
                .unreachable
                .clone()
                .unwrap_or_else(problem::not_in_time),
        };
        if self
            .handshake_deadline
            .is_some_and(|deadline| deadline <= now)
        {
            self.answer_handshake(&problem);
        }
        let is_unreachable = self.unreachable.is_some();
        let is_due = |queued: &QueuedMessage| queued.is_due(now, is_unreachable);
        let lacks_access = |queued: &QueuedMessage| queued.wait_for == WaitFor::Scopes;
        for message in self
            .outbox
            .take_if(|queued| lacks_access(queued) && is_due(queued))
        {
            self.fail(&message, &problem::sign_in_needed(&self.server.name));
        }
        for message in self.outbox.take_if(is_due) {
            self.answer_locally(&message, &problem);
        }
        self.answer_for_silent_server(now);
        self.send_delayed(now);
        if self.subscriptions.retry_at().is_some_and(|at| at <= now) {
            self.subscribe_at_server();
        }
        for id in self.outbox.pending.take_expired(now) {
            self.up.abandon(&id);
        }
        match &self.connection {
            ConnectionState::Down { retry_at, next, .. } if *retry_at <= now => {
                self.request_token(*next)
            }
            ConnectionState::Opening { until, .. } if *until <= now => {
                self.up.reset();
                self.disconnect(problem);
            }
            ConnectionState::Down { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Idle
            | ConnectionState::Authorizing { .. }
            | ConnectionState::Live { .. }
            | ConnectionState::SignInNeeded { .. } => {}
        }
    }
}
