//! 403 for want of scopes, and the sign-in that asks for them (MCP authorization, "Scope Challenge
//! Handling").

use mcp::RequestId;
use mcp::up::Failure;

use super::Manner;
use super::link::Link;
use super::outbox::Awaits;
use super::task::{Task, header};
use crate::problem;
use crate::sign_in::Wish;

impl Task {
    /// 403 with a challenge: the next sign-in asks for what it names.
    pub(super) fn note_step_up(&self, failure: &Failure) {
        if let Failure::Forbidden { challenge } = failure
            && challenge.is_some()
        {
            self.server.note_challenge(challenge.clone());
        }
    }

    /// Lets a call wait for a sign-in that asks for the scopes it lacks, to be made once more then.
    /// Says whether it does: one sign-in follows a challenge by itself, and none a list.
    pub(super) fn step_up(&mut self, id: &RequestId, failure: &Failure) -> bool {
        let Some(challenge) = problem::missing_scopes(failure) else {
            return false;
        };
        if !self.may_wait_for_access(id) {
            return false;
        }
        if self.has_another_token(id) {
            self.take_back(id, Awaits::Server);
            return true;
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
            self.take_back(id, Awaits::Access);
        }
        is_awaited
    }

    fn may_wait_for_access(&self, id: &RequestId) -> bool {
        let is_call = self.outbox.owed.get(id).is_some_and(|owed| {
            owed.message.method() == Some("tools/call") && owed.is_wanted() && !owed.again
        });
        is_call && self.manner == Manner::Host && self.server.config.auth.is_for_people()
    }

    /// Whether there is another token by now than the one that a request was sent with.
    fn has_another_token(&self, id: &RequestId) -> bool {
        match (&self.link, self.outbox.owed.get(id)) {
            (Link::Live { authorization }, Some(owed)) => {
                header(authorization) != header(&owed.authorization)
            }
            _ => false,
        }
    }

    fn take_back(&mut self, id: &RequestId, awaits: Awaits) {
        self.outbox.take_back(id, awaits, self.patience);
        if let (Awaits::Server, Link::Live { authorization }) = (awaits, &self.link) {
            let authorization = authorization.clone();
            self.go_live(&authorization);
        }
    }
}
