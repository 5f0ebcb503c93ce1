//! Tokens, and the sign-in when there is none.

use auth::{Authorization, AuthorizationError, SignInReason};
use control::api::{Problem, ServerState};
use tokio::time::Instant;

use super::link::{Asking, Authorized, Link, Next, Speech};
use super::task::{REFUSALS, Task, header};
use super::{HANDSHAKE, Manner};
use crate::problem;
use crate::sign_in::{self, Wish};

impl Task {
    /// The question for a token; says first that `refused` was one that the server did not take.
    pub(super) fn asking(&self, refused: Option<Authorization>) -> Asking {
        let (identity, target) = (self.hub.identity.clone(), self.server.target());
        let protected = self.server.is_protected();
        Box::pin(async move {
            if let Some(refused) = refused {
                identity.refused(&target, &refused).await;
            }
            match identity.authorization(&target).await {
                Err(AuthorizationError::SignInNeeded {
                    reason: SignInReason::NotSignedIn,
                    ..
                }) if !protected => Ok(None),
                authorized => authorized,
            }
        })
    }

    pub(super) fn ask(&mut self, next: Next) {
        if next == Next::Open {
            self.show(ServerState::Connecting);
        }
        self.ask_after(None, next);
    }

    pub(super) fn ask_after(&mut self, refused: Option<Authorization>, next: Next) {
        let asking = self.asking(refused);
        self.link = Link::Asking { asking, next };
    }

    pub(super) fn on_authorized(&mut self, next: Next, authorized: Authorized) {
        match authorized {
            Ok(authorization) => self.proceed(next, authorization),
            Err(AuthorizationError::SignInNeeded { .. }) if self.refusals > REFUSALS => {
                self.need_sign_in(problem::sign_in_needed(&self.server.name));
            }
            Err(error @ AuthorizationError::SignInNeeded { .. }) => {
                self.need_sign_in(problem::of_authorization(&self.server, &error));
            }
            Err(error) => self.go_down(problem::of_authorization(&self.server, &error)),
        }
    }

    /// Whether the session at the server, if there is one, is this account's.
    pub(super) fn is_of_account(&self, authorization: &Option<Authorization>) -> bool {
        let account = authorization.as_ref().map(|given| &given.account);
        self.account.is_none() || self.account.as_ref() == account
    }

    /// Goes on as planned, but for a session at the server that was another account's.
    pub(super) fn proceed(&mut self, next: Next, authorization: Option<Authorization>) {
        let next = match self.is_of_account(&authorization) {
            true => next,
            false => Next::Open,
        };
        self.account = authorization.as_ref().map(|given| given.account.clone());
        if let Some(account) = &self.account {
            self.server.signed_in(account);
        }
        match (&mut self.speech, next) {
            (Speech::Legacy(handshake), Next::Open) => {
                handshake.greeted = false;
                let initialize = handshake.initialize.clone();
                self.outbox.forget_remarks();
                self.up.reset();
                self.up.send(initialize, header(&authorization));
                self.link = Link::Opening {
                    authorization,
                    until: Instant::now() + HANDSHAKE,
                };
            }
            (Speech::Legacy(_) | Speech::Modern | Speech::Silent, _) => {
                self.go_live(&authorization);
            }
        }
    }

    pub(super) fn need_sign_in(&mut self, problem: Problem) {
        self.show(ServerState::SignInNeeded);
        self.link = Link::SignInNeeded { problem };
        self.outbox.forget_remarks();
        let target = self.server.target();
        let never =
            !self.server.was_signed_in() && self.hub.identity.account_for(&target).is_none();
        if never && self.manner == Manner::Host && !self.hub.desktop_attached() {
            self.want_sign_in(Wish::FirstContact);
        }
        self.settle();
    }

    pub(super) fn want_sign_in(&mut self, wish: Wish) {
        if self.sign_in.is_none() {
            self.sign_in = sign_in::begin(&self.hub, &self.server, wish);
        }
    }

    /// Somebody signed in or out somewhere. A session that was opened for an account that is no
    /// longer the server's ends there, whatever else goes on.
    pub(super) fn on_accounts_changed(&mut self) {
        let now = self.hub.identity.account_for(&self.server.target());
        let is_lost = self.account.is_some() && self.account != now.map(|account| account.key);
        if is_lost {
            self.account = None;
            self.up.reset();
            if let Speech::Legacy(handshake) = &mut self.speech {
                handshake.stale = true;
            }
        }
        match self.link {
            Link::SignInNeeded { .. } => {
                self.refusals = 0;
                self.ask(Next::Open);
            }
            Link::Asking { .. } | Link::Opening { .. } | Link::Live { .. } if is_lost => {
                self.ask(Next::Open);
            }
            Link::Idle
            | Link::Asking { .. }
            | Link::Opening { .. }
            | Link::Live { .. }
            | Link::Down { .. } => {}
        }
    }

    pub(super) fn on_sign_in_ended(&mut self, ended: Result<(), Problem>) {
        self.sign_in = None;
        if !matches!(self.link, Link::SignInNeeded { .. }) {
            return;
        }
        match ended {
            Ok(()) => self.on_accounts_changed(),
            Err(problem) => {
                for message in self.outbox.take_if(|_| true) {
                    self.fail(&message, &problem);
                }
            }
        }
    }
}
