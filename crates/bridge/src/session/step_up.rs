//! 403 for want of scopes, and the sign-in that asks for them (MCP authorization, "Scope Challenge
//! Handling").

use auth::Authorization;
use mcp::RequestId;
use mcp::up::Failure;

use super::SessionKind;
use super::connection::{AfterToken, ConnectionState};
use super::outbox::WaitFor;
use super::task::Task;
use crate::problem;
use crate::sign_in::SignInTrigger;

impl Task {
    /// 403 with a challenge: the next sign-in asks for what it names.
    pub(super) fn record_step_up(&self, failure: &Failure) {
        if let Failure::Forbidden { challenge, .. } = failure
            && challenge.is_some()
        {
            self.record_challenge(challenge.as_deref());
        }
    }

    /// Lets a call wait for a sign-in that asks for the scopes it lacks, to be made once more then.
    /// Says whether it does: one sign-in follows a challenge by itself, if that names scopes that the
    /// last one did not ask for, and none a list.
    pub(super) fn step_up(&mut self, id: &RequestId, failure: &Failure) -> bool {
        let Some(challenge) = problem::missing_scopes(failure) else {
            return false;
        };
        if !self.may_wait_for_access(id) {
            return false;
        }
        let target = self.server.target();
        if self
            .bridge
            .identity
            .missing_scopes(&target, challenge)
            .is_empty()
        {
            return self.repeat_with_newer_token(id);
        }
        let is_under_way = self.bridge.sign_ins.awaits(self.server.name.as_str());
        if !is_under_way && !self.server.may_step_up(challenge) {
            return false;
        }
        let call = self
            .outbox
            .pending
            .get(id)
            .map(|pending| pending.message.clone());
        self.want_sign_in(SignInTrigger::ToolCall, call.as_ref());
        let is_awaited = self.sign_in.is_some();
        if is_awaited {
            if !is_under_way {
                self.server.record_step_up(challenge);
            }
            self.outbox
                .requeue(id, WaitFor::Scopes, self.call_timeout());
        }
        is_awaited
    }

    fn may_wait_for_access(&self, id: &RequestId) -> bool {
        let is_call = self.outbox.pending.get(id).is_some_and(|pending| {
            pending.message.method() == Some("tools/call") && pending.is_wanted() && !pending.again
        });
        is_call && self.kind == SessionKind::Host && self.server.config.auth.is_for_people()
    }

    /// Makes a call once more if there is a newer token by now than the one that it was sent with:
    /// the last sign-in asked for all that the server names. Says whether it does.
    fn repeat_with_newer_token(&mut self, id: &RequestId) -> bool {
        let newest = self.bridge.identity.newest_token(&self.server.target());
        let pending = self.outbox.pending.get(id);
        let used = pending.and_then(|pending| pending.authorization.as_ref());
        if newest <= used.map(Authorization::number) {
            return false;
        }
        self.outbox
            .requeue(id, WaitFor::Server, self.call_timeout());
        if matches!(self.connection, ConnectionState::Live { .. }) {
            self.request_token_after(None, AfterToken::Continue);
        }
        true
    }
}
