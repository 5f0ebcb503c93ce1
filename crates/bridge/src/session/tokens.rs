//! Requests tokens, and sign-ins if there is none.

use std::sync::Arc;

use auth::{Authorization, AuthorizationError, SignInReason};
use control::api::{Problem, ProblemKind, ServerState};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue};
use mcp::Message;
use model::config::ServerAuth;
use tokio::time::Instant;

use super::connection::{
    AfterToken, Authorized, ConnectionState, HeadersError, HeadersFuture, HostProtocol,
    UpstreamHeaders, header,
};
use super::outbox::{QueuedMessage, WaitFor};
use super::{HANDSHAKE_TIMEOUT, MAX_REFUSALS, SessionKind, Task};
use crate::pending_sign_ins::{SignInOutcome, SignInTrigger};
use crate::sign_in;
use crate::{headers, no_sign_in, problem, server_problem};

impl Task {
    /// Requests the headers for the server. Reports `refused` first, a token that the server has
    /// rejected.
    pub(super) fn pending_headers(&self, refused: Option<Authorization>) -> HeadersFuture {
        let (identity, target) = (self.context.identity.clone(), self.server.target());
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            // Headers without secrets were set when the connection was opened.
            let headers = match server.needs_secrets() {
                true => headers::resolve(&identity, &server).await,
                false => Ok(Vec::new()),
            };
            let headers = headers.map_err(HeadersError::Header)?;
            if let Some(refused) = refused {
                let challenge = server.challenge();
                identity
                    .refused(&target, &refused, challenge.as_deref())
                    .await;
            }
            let authorization = match identity.authorization(&target).await {
                Err(AuthorizationError::SignInNeeded {
                    reason: SignInReason::NotSignedIn,
                    ..
                }) if !server.is_protected()
                    || no_sign_in::names_no_sign_in(&identity, &server).await =>
                {
                    None
                }
                authorized => authorized.map_err(HeadersError::Token)?,
            };
            Ok(UpstreamHeaders {
                authorization,
                headers,
            })
        })
    }

    pub(super) fn request_token(&mut self, next: AfterToken) {
        if next != AfterToken::Continue {
            self.show(ServerState::Connecting);
        }
        self.request_token_after(None, next);
    }

    pub(super) fn request_token_after(&mut self, refused: Option<Authorization>, next: AfterToken) {
        let pending_headers = self.pending_headers(refused);
        self.connection = ConnectionState::Authorizing {
            pending_headers,
            next,
        };
    }

    pub(super) fn on_authorized(&mut self, next: AfterToken, authorized: Authorized) {
        match authorized {
            Ok(UpstreamHeaders {
                authorization,
                headers,
            }) => {
                self.set_headers(headers);
                self.proceed(next, authorization);
            }
            Err(HeadersError::Header(problem)) => self.disconnect(problem),
            Err(HeadersError::Token(AuthorizationError::SignInNeeded { .. }))
                if self.refusals > MAX_REFUSALS =>
            {
                self.require_sign_in(self.unauthorized());
            }
            Err(HeadersError::Token(error @ AuthorizationError::SignInNeeded { .. })) => {
                self.require_sign_in(server_problem::from_authorization(&self.server, &error));
            }
            Err(HeadersError::Token(error)) => {
                self.disconnect(server_problem::from_authorization(&self.server, &error))
            }
        }
    }

    /// Requests a token again in a session that needs a sign-in. There may be a usable token by
    /// now, or the token endpoint may be asked again. Until then, this sends nothing.
    pub(super) fn retry_token(&mut self) {
        let mut pending_headers = self.pending_headers(None);
        match (&mut pending_headers).now_or_never() {
            None => {
                let next = AfterToken::Connect;
                self.connection = ConnectionState::Authorizing {
                    pending_headers,
                    next,
                };
            }
            Some(Err(HeadersError::Token(error @ AuthorizationError::SignInNeeded { .. }))) => {
                let problem = server_problem::from_authorization(&self.server, &error);
                self.connection = ConnectionState::SignInNeeded { problem };
                self.answer_from_cache();
            }
            Some(authorized) => {
                self.refusals = 0;
                self.on_authorized(AfterToken::Connect, authorized);
            }
        }
    }

    /// A grant has a new token. Continues if it opens this server.
    pub(super) fn on_refreshed(&mut self) {
        let target = self.server.target();
        if matches!(self.connection, ConnectionState::SignInNeeded { .. })
            && self.context.identity.has_usable_token(&target)
        {
            self.retry_token();
        }
    }

    /// Returns the problem of a server that answers 401 to everything.
    pub(super) fn unauthorized(&self) -> Problem {
        let refused_after_sign_in =
            sign_in::refused_after_sign_in(&self.context.identity, &self.server);
        let problem =
            refused_after_sign_in.unwrap_or_else(|| server_problem::unauthorized(&self.server));
        self.with_foreign_scopes(problem)
    }

    /// Adds the scopes of other resources that the server requested when it rejected a token. No
    /// sign-in can grant them.
    pub(super) fn with_foreign_scopes(&self, problem: Problem) -> Problem {
        let identity = &self.context.identity;
        problem::with_foreign_scopes(problem, &identity.foreign_scopes(&self.server.target()))
    }

    /// Records the challenge of a rejected request.
    pub(super) fn record_challenge(&self, challenge: Option<&str>) {
        self.server.record_challenge(challenge.map(str::to_owned));
        if let Some(challenge) = challenge {
            let identity = &self.context.identity;
            identity.record_challenge(&self.server.target(), challenge);
        }
    }

    /// Sets the headers of all later requests. `headers` is empty if they are constant.
    pub(super) fn set_headers(&self, headers: Vec<(HeaderName, HeaderValue)>) {
        if !headers.is_empty() {
            self.up.set_headers(headers);
        }
    }

    /// Returns true if the session at the server belongs to this account, or if there is no
    /// session.
    pub(super) fn is_of_account(&self, authorization: &Option<Authorization>) -> bool {
        let account = authorization.as_ref().map(|given| &given.account);
        self.account.is_none() || self.account.as_ref() == account
    }

    /// Continues with `next`. Initializes a new session instead if the current one belongs to
    /// another account.
    pub(super) fn proceed(&mut self, next: AfterToken, authorization: Option<Authorization>) {
        let next = match self.is_of_account(&authorization) {
            true => next,
            false => AfterToken::Connect,
        };
        self.account = authorization.as_ref().map(|given| given.account.clone());
        if let Some(account) = &self.account {
            self.server.signed_in(account);
        }
        match (&mut self.protocol, next) {
            (HostProtocol::Legacy(handshake), AfterToken::Connect) => {
                handshake.initialized_sent = false;
                let initialize = handshake.initialize.clone();
                self.outbox.drop_one_way();
                self.up.reset();
                self.open_with(initialize, AfterToken::Connect, authorization);
            }
            (HostProtocol::Legacy(_), AfterToken::Reconnect) => {
                let ping = Message::request(&self.own_ids.next(), "ping", None);
                self.open_with(ping, AfterToken::Reconnect, authorization);
            }
            (HostProtocol::Legacy(_), AfterToken::Continue)
            | (HostProtocol::Modern | HostProtocol::Unknown, _) => {
                self.up.authorize(header(&authorization));
                self.set_live(&authorization);
            }
        }
    }

    /// Sends the request whose response opens the connection.
    fn open_with(
        &mut self,
        request: Message,
        next: AfterToken,
        authorization: Option<Authorization>,
    ) {
        let Some(awaits) = request.id().cloned() else {
            return;
        };
        self.up.send(request, header(&authorization));
        self.connection = ConnectionState::Opening {
            authorization,
            awaits,
            next,
            until: Instant::now() + HANDSHAKE_TIMEOUT,
        };
    }

    pub(super) fn require_sign_in(&mut self, problem: Problem) {
        self.server.record_sign_in_problem(&problem);
        self.show(ServerState::SignInNeeded);
        self.connection = ConnectionState::SignInNeeded { problem };
        self.unreachable = None;
        self.suspend_subscriptions();
        self.outbox.drop_one_way();
        let target = self.server.target();
        let never =
            !self.server.was_signed_in() && self.context.identity.account_for(&target).is_none();
        self.elicitation.detect_modern_host(&self.outbox);
        let is_modern = matches!(self.protocol, HostProtocol::Modern);
        let is_asked_later = is_modern && self.elicitation.is_for_calls();
        // Calls come first: their host may be one that can only be asked in their result.
        self.want_sign_in_for_calls();
        if never
            && !is_asked_later
            && self.kind == SessionKind::Host
            && !self.context.clients.desktop_attached()
        {
            self.want_sign_in(SignInTrigger::FirstConnection, None);
        }
        self.answer_from_cache();
    }

    /// The server rejects everything it is sent.
    pub(super) fn give_up_access(&mut self) {
        let problem = self.unauthorized();
        if self.server.names_no_sign_in() {
            return self.disconnect(problem);
        }
        match self.server.config.auth {
            ServerAuth::None | ServerAuth::ClientCredentials(_) => self.disconnect(problem),
            ServerAuth::Discover | ServerAuth::Client { .. } | ServerAuth::Entra { .. } => {
                self.require_sign_in(problem);
            }
        }
    }

    /// Starts or joins a sign-in, for `call` if there is one.
    pub(super) fn want_sign_in(&mut self, trigger: SignInTrigger, call: Option<&Message>) {
        let sender = self.elicitation_sender(call);
        match (&self.sign_in, sender) {
            (None, sender) => {
                self.sign_in = sign_in::begin(&self.context.sign_in, &self.server, trigger, sender);
            }
            // The host is asked already, and does not wait for another turn.
            (Some(_), Some(_)) if self.elicitation.is_open() => {}
            (Some(_), sender) => self.context.sign_ins.join(&self.server.name, sender),
        }
    }

    /// An account signed in or out, or a secret was stored. Ends the session at the server if its
    /// account is no longer the server's.
    pub(super) fn on_accounts_changed(&mut self) {
        let needs_secrets = self.server.needs_secrets();
        let now = self.context.identity.account_for(&self.server.target());
        let is_lost = self.account.is_some() && self.account != now.map(|account| account.key);
        if is_lost {
            self.account = None;
            self.suspend_subscriptions();
            self.up.reset();
            if let HostProtocol::Legacy(handshake) = &mut self.protocol {
                handshake.stale = true;
            }
        }
        match self.connection {
            ConnectionState::SignInNeeded { .. } => {
                self.refusals = 0;
                self.request_token(AfterToken::Connect);
            }
            ConnectionState::Authorizing { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Live { .. }
                if is_lost =>
            {
                self.request_token(AfterToken::Connect);
            }
            ConnectionState::Authorizing { next, .. } if needs_secrets => {
                self.request_token_after(None, next)
            }
            ConnectionState::Down { next, .. } if needs_secrets => self.request_token(next),
            ConnectionState::Idle
            | ConnectionState::Authorizing { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Live { .. }
            | ConnectionState::Down { .. } => {}
        }
    }

    pub(super) fn on_sign_in_ended(&mut self, outcome: SignInOutcome) {
        self.sign_in = None;
        self.end_elicitation(matches!(outcome, SignInOutcome::SignedIn));
        match outcome {
            SignInOutcome::SignedIn => self.on_signed_in(),
            SignInOutcome::Failed(problem) => self.fail_for_sign_in(&problem),
            SignInOutcome::Dropped => {
                let text = "the sign-in was abandoned";
                self.fail_for_sign_in(&Problem::new(ProblemKind::SignInEnded, text));
            }
        }
    }

    fn on_signed_in(&mut self) {
        self.delay_lists(Instant::now() + self.timeouts.list());
        let is_wanted = self.outbox.release_for_scopes();
        if matches!(self.connection, ConnectionState::SignInNeeded { .. }) {
            self.on_accounts_changed();
        } else if is_wanted && matches!(self.connection, ConnectionState::Live { .. }) {
            self.request_token_after(None, AfterToken::Continue);
        }
    }

    /// Fails the requests that waited for the sign-in.
    fn fail_for_sign_in(&mut self, problem: &Problem) {
        let is_needed = matches!(self.connection, ConnectionState::SignInNeeded { .. });
        let server = Arc::clone(&self.server);
        let depends = |queued: &QueuedMessage| {
            let is_answerable = server.can_answer(&queued.message);
            (is_needed && !is_answerable) || queued.wait_for == WaitFor::Scopes
        };
        for message in self.outbox.take_if(depends) {
            self.fail(&message, problem);
        }
        self.answer_from_cache();
    }
}
