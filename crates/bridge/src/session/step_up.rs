//! 403 for want of scopes, and the sign-in that asks for them (MCP authorization, "Scope Challenge
//! Handling").

use auth::Authorization;
use mcp::RequestId;
use mcp::up::Failure;

use super::Manner;
use super::connection::{Link, Next};
use super::outbox::Awaits;
use super::task::Task;
use crate::problem;
use crate::sign_in::Wish;

impl Task {
    /// 403 with a challenge: the next sign-in asks for what it names.
    pub(super) fn note_step_up(&self, failure: &Failure) {
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
            .hub
            .identity
            .missing_scopes(&target, challenge)
            .is_empty()
        {
            return self.repeat_with_newer_token(id);
        }
        let is_under_way = self.hub.sign_ins.awaits(self.server.name.as_str());
        if !is_under_way && !self.server.may_step_up(challenge) {
            return false;
        }
        let call = self.outbox.owed.get(id).map(|owed| owed.message.clone());
        self.want_sign_in(Wish::Call, call.as_ref());
        let is_awaited = self.sign_in.is_some();
        if is_awaited {
            if !is_under_way {
                self.server.note_step_up(challenge);
            }
            self.outbox.take_back(id, Awaits::Access, self.patience());
        }
        is_awaited
    }

    fn may_wait_for_access(&self, id: &RequestId) -> bool {
        let is_call = self.outbox.owed.get(id).is_some_and(|owed| {
            owed.message.method() == Some("tools/call") && owed.is_wanted() && !owed.again
        });
        is_call && self.manner == Manner::Host && self.server.config.auth.is_for_people()
    }

    /// Makes a call once more if there is a newer token by now than the one that it was sent with:
    /// the last sign-in asked for all that the server names. Says whether it does.
    fn repeat_with_newer_token(&mut self, id: &RequestId) -> bool {
        let newest = self.hub.identity.newest_token(&self.server.target());
        let owed = self.outbox.owed.get(id);
        let used = owed.and_then(|owed| owed.authorization.as_ref());
        if newest <= used.map(Authorization::number) {
            return false;
        }
        self.outbox.take_back(id, Awaits::Server, self.patience());
        if matches!(self.link, Link::Live { .. }) {
            self.ask_after(None, Next::Resume);
        }
        true
    }
}
