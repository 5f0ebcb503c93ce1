//! Step-up authorization after 403 `insufficient_scope` (MCP authorization, Scope Challenge
//! Handling).

use auth::Authorization;
use mcp::RequestId;
use mcp::upstream::UpstreamError;

use super::connection::{AfterToken, ConnectionState};
use super::outbox::WaitFor;
use super::{SessionKind, Task};
use crate::pending_sign_ins::SignInTrigger;
use crate::problem;

impl Task {
    /// Records the challenge of a 403: the next sign-in requests its scopes.
    pub(super) fn record_step_up(&self, failure: &UpstreamError) {
        if let UpstreamError::Forbidden { challenge, .. } = failure
            && challenge.is_some()
        {
            self.record_challenge(challenge.as_deref());
        }
    }

    /// Requeues a call until a sign-in has requested its missing scopes. Returns false if it is not
    /// requeued. One sign-in follows a challenge by itself, if it names scopes that the last one
    /// did not request. Only calls cause one, no lists.
    pub(super) fn step_up(&mut self, id: &RequestId, failure: &UpstreamError) -> bool {
        let Some(challenge) = problem::missing_scopes(failure) else {
            return false;
        };
        if !self.may_wait_for_access(id) {
            return false;
        }
        let target = self.server.target();
        if self
            .context
            .identity
            .missing_scopes(&target, challenge)
            .is_empty()
        {
            return self.repeat_with_newer_token(id);
        }
        let is_under_way = self.context.sign_ins.awaits(self.server.name.as_str());
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
        is_call && self.kind == SessionKind::Host && self.server.config.auth.is_interactive()
    }

    /// Sends a call once more if there is a newer token than the one it was sent with: the last
    /// sign-in has requested all scopes that the server names. Returns false if there is none.
    fn repeat_with_newer_token(&mut self, id: &RequestId) -> bool {
        let newest = self.context.identity.newest_token(&self.server.target());
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
