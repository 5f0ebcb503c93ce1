//! Tokens, and the sign-in when there is none.

use std::sync::Arc;

use auth::{Authorization, AuthorizationError, SignInReason};
use control::api::{Problem, ServerState};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue};
use mcp::Message;
use model::config::ServerAuth;
use tokio::time::Instant;

use super::connection::{Asking, Authorized, Denied, Granted, Link, Next, Speech};
use super::outbox::{Awaits, Waiting};
use super::task::{REFUSALS, Task, header};
use super::{HANDSHAKE, Manner};
use crate::sign_in::{self, Wish};
use crate::{headers, no_sign_in, problem};

impl Task {
    /// The question for a token; says first that `refused` was one that the server did not take.
    pub(super) fn asking(&self, refused: Option<Authorization>) -> Asking {
        let (identity, target) = (self.hub.identity.clone(), self.server.target());
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            // Without secrets among them the connection has them from its beginning.
            let headers = match server.needs_secrets() {
                true => headers::of(&identity, &server).await,
                false => Ok(Vec::new()),
            };
            let headers = headers.map_err(Denied::Header)?;
            if let Some(refused) = refused {
                let challenge = server.challenge();
                identity
                    .refused(&target, &refused, challenge.as_deref())
                    .await;
            }
            let authorization = match identity.authorization_for(&target).await {
                Err(AuthorizationError::SignInNeeded {
                    reason: SignInReason::NotSignedIn,
                    ..
                }) if !server.is_protected() || no_sign_in::is_found(&identity, &server).await => {
                    None
                }
                authorized => authorized.map_err(Denied::Token)?,
            };
            Ok(Granted {
                authorization,
                headers,
            })
        })
    }

    pub(super) fn ask(&mut self, next: Next) {
        if next != Next::Resume {
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
            Ok(Granted {
                authorization,
                headers,
            }) => {
                self.take_headers(headers);
                self.proceed(next, authorization);
            }
            Err(Denied::Header(problem)) => self.go_down(problem),
            Err(Denied::Token(AuthorizationError::SignInNeeded { .. }))
                if self.refusals > REFUSALS =>
            {
                self.need_sign_in(self.unauthorized());
            }
            Err(Denied::Token(error @ AuthorizationError::SignInNeeded { .. })) => {
                self.need_sign_in(problem::of_authorization(&self.server, &error));
            }
            Err(Denied::Token(error)) => {
                self.go_down(problem::of_authorization(&self.server, &error))
            }
        }
    }

    /// Asks the identity again in a session that needs a sign-in. The identity may have a usable token
    /// by now, or no longer leave the token endpoint alone; while it does, this costs no network.
    pub(super) fn ask_once_more(&mut self) {
        let mut asking = self.asking(None);
        match (&mut asking).now_or_never() {
            None => {
                let next = Next::Open;
                self.link = Link::Asking { asking, next };
            }
            Some(Err(Denied::Token(error @ AuthorizationError::SignInNeeded { .. }))) => {
                let problem = problem::of_authorization(&self.server, &error);
                self.link = Link::SignInNeeded { problem };
                self.settle();
            }
            Some(authorized) => {
                self.refusals = 0;
                self.on_authorized(Next::Open, authorized);
            }
        }
    }

    /// Some grant has got a new token. Where it opens this server, it ends the need for a sign-in.
    pub(super) fn on_refreshed(&mut self) {
        let target = self.server.target();
        if matches!(self.link, Link::SignInNeeded { .. })
            && self.hub.identity.has_usable_token(&target)
        {
            self.ask_once_more();
        }
    }

    /// What to say where the server answers 401, whatever it is sent.
    pub(super) fn unauthorized(&self) -> Problem {
        let in_vain = sign_in::in_vain(&self.hub, &self.server);
        let problem = in_vain.unwrap_or_else(|| problem::unauthorized(&self.server));
        self.with_foreign_scopes(problem)
    }

    /// Adds to the problem of a server that refuses a token which scopes of other resources it asked
    /// for: no sign-in brings these.
    pub(super) fn with_foreign_scopes(&self, problem: Problem) -> Problem {
        let identity = &self.hub.identity;
        problem::with_foreign_scopes(problem, &identity.foreign_scopes(&self.server.target()))
    }

    /// Records what the server said when it refused a request.
    pub(super) fn record_challenge(&self, challenge: Option<&str>) {
        self.server.note_challenge(challenge.map(str::to_owned));
        if let Some(challenge) = challenge {
            let identity = &self.hub.identity;
            identity.record_challenge(&self.server.target(), challenge);
        }
    }

    /// Has everything from now on carry these. None are given where they are constant.
    pub(super) fn take_headers(&self, headers: Vec<(HeaderName, HeaderValue)>) {
        if !headers.is_empty() {
            self.up.set_headers(headers);
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
                self.open_by(initialize, Next::Open, authorization);
            }
            (Speech::Legacy(_), Next::Revive) => {
                let ping = Message::request(&self.own_ids.next(), "ping", None);
                self.open_by(ping, Next::Revive, authorization);
            }
            (Speech::Legacy(_), Next::Resume) | (Speech::Modern | Speech::Silent, _) => {
                self.up.authorize(header(&authorization));
                self.go_live(&authorization);
            }
        }
    }

    /// Sends the request whose answer shows that messages flow.
    fn open_by(&mut self, request: Message, next: Next, authorization: Option<Authorization>) {
        let Some(awaits) = request.id().cloned() else {
            return;
        };
        self.up.send(request, header(&authorization));
        self.link = Link::Opening {
            authorization,
            awaits,
            next,
            until: Instant::now() + HANDSHAKE,
        };
    }

    pub(super) fn need_sign_in(&mut self, problem: Problem) {
        self.server.note_sign_in_problem(&problem);
        self.show(ServerState::SignInNeeded);
        self.link = Link::SignInNeeded { problem };
        self.unreachable = None;
        self.suspend_subscriptions();
        self.outbox.forget_remarks();
        let target = self.server.target();
        let never =
            !self.server.was_signed_in() && self.hub.identity.account_for(&target).is_none();
        self.elicitation.note(&self.outbox);
        let is_modern = matches!(self.speech, Speech::Modern);
        let is_asked_later = is_modern && self.elicitation.is_for_calls();
        // A call first: its host may be one that can be asked nowhere else.
        self.want_sign_in_for_calls();
        if never && !is_asked_later && self.manner == Manner::Host && !self.hub.desktop_attached() {
            self.want_sign_in(Wish::FirstContact, None);
        }
        self.settle();
    }

    /// The server does not take what it is sent, whatever is tried.
    pub(super) fn give_up_access(&mut self) {
        let problem = self.unauthorized();
        if self.server.names_no_sign_in() {
            return self.go_down(problem);
        }
        match self.server.config.auth {
            ServerAuth::None | ServerAuth::ClientCredentials(_) => self.go_down(problem),
            ServerAuth::Discover | ServerAuth::Client { .. } | ServerAuth::Entra { .. } => {
                self.need_sign_in(problem);
            }
        }
    }

    /// Starts a sign-in or joins one, for `call` if it is wanted for that.
    pub(super) fn want_sign_in(&mut self, wish: Wish, call: Option<&Message>) {
        let caller = self.caller(call);
        match (&self.sign_in, caller) {
            (None, caller) => {
                self.sign_in = sign_in::begin(&self.hub, &self.server, wish, caller);
            }
            // It is asked already, and need not wait for its turn.
            (Some(_), Some(_)) if self.elicitation.is_open() => {}
            (Some(_), caller) => self.hub.sign_ins.join(&self.server.name, caller),
        }
    }

    /// Somebody signed in or out somewhere, or stored a secret. A session that was opened for an
    /// account that is no longer the server's ends there, whatever else goes on.
    pub(super) fn on_accounts_changed(&mut self) {
        let needs_secrets = self.server.needs_secrets();
        let now = self.hub.identity.account_for(&self.server.target());
        let is_lost = self.account.is_some() && self.account != now.map(|account| account.key);
        if is_lost {
            self.account = None;
            self.suspend_subscriptions();
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
            Link::Asking { next, .. } if needs_secrets => self.ask_after(None, next),
            Link::Down { next, .. } if needs_secrets => self.ask(next),
            Link::Idle
            | Link::Asking { .. }
            | Link::Opening { .. }
            | Link::Live { .. }
            | Link::Down { .. } => {}
        }
    }

    pub(super) fn on_sign_in_ended(&mut self, ended: Result<(), Problem>) {
        self.sign_in = None;
        self.end_question(ended.is_ok());
        let is_needed = matches!(self.link, Link::SignInNeeded { .. });
        match ended {
            Ok(()) => {
                self.delay_lists(Instant::now() + self.waits.list());
                let is_wanted = self.outbox.grant_access();
                if is_needed {
                    self.on_accounts_changed();
                } else if is_wanted && matches!(self.link, Link::Live { .. }) {
                    self.ask_after(None, Next::Resume);
                }
            }
            Err(problem) => {
                let server = Arc::clone(&self.server);
                let depends = |waiting: &Waiting| {
                    let is_in_place = server.can_answer(&waiting.message);
                    (is_needed && !is_in_place) || waiting.awaits == Awaits::Access
                };
                for message in self.outbox.take_if(depends) {
                    self.fail(&message, &problem);
                }
                self.settle();
            }
        }
    }
}
