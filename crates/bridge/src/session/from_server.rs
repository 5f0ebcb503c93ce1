//! Handles messages and failures of the server.

use std::time::Duration;

use auth::Authorization;
use control::api::{Problem, ProblemKind, ServerState};
use http::HeaderValue;
use mcp::upstream::{Generation, UpstreamError};
use mcp::{Kind, Message, RequestId};
use tokio::time::Instant;

use super::connection::{AfterToken, ConnectionState, HostProtocol, header};
use super::outbox::{PendingRequest, QueuedMessage, WaitFor};
use super::{MAX_REFUSALS, Task};
use crate::stand_in::{self, StandIn};
use crate::{problem, server_cache};

/// How long the result of a stand-in tool waits for the host to list the tools again, so that the
/// model sees the new tools.
const RELIST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it still waits after the host has the list.
const RELIST_DELAY: Duration = Duration::from_millis(200);

/// The result of a stand-in tool that waits for the host to list the tools again.
pub(super) struct DelayedResult {
    result: Message,
    pub(super) until: Instant,
}

impl DelayedResult {
    fn new(result: Message) -> Self {
        Self {
            result,
            until: Instant::now() + RELIST_TIMEOUT,
        }
    }

    pub(super) fn is_for(&self, id: &RequestId) -> bool {
        self.result.id() == Some(id)
    }
}

impl Task {
    /// Sends the result of a stand-in tool if its time has come.
    pub(super) fn send_delayed(&mut self, now: Instant) {
        if let Some(late) = self.delayed_result.take_if(|late| late.until <= now) {
            self.send_own_answer(late.result);
        }
    }

    pub(super) fn on_server(&mut self, message: Message, request: Option<RequestId>) {
        self.refusals = 0;
        self.server.record_answered();
        self.unreachable = None;
        if matches!(self.connection, ConnectionState::Live { .. }) {
            self.show(ServerState::Ready);
        }
        let Some(message) = self.on_subscription(message, request.as_ref()) else {
            return;
        };
        let Kind::Response { id, .. } = message.kind() else {
            let request = request.or_else(|| self.outbox.subject_of(&message));
            self.send_to_host(message, request);
            return;
        };
        let id = id.clone();
        if self.is_handshake(Some(&id)) {
            if let ConnectionState::Opening { authorization, .. } = &self.connection {
                self.record_accepted(authorization.clone());
            }
            self.on_handshake(message);
        } else if let Some(pending) = self.outbox.pending.remove(&id) {
            self.backoff.reset();
            self.record_accepted(pending.authorization.clone());
            if let Some(used) = &pending.authorization
                && pending.message.method() == Some("tools/call")
                && pending.stand_in.is_none()
            {
                self.server.record_accepted_call(used.number());
            }
            if pending.again && message.error().is_none() {
                self.server.step_up_helped();
            }
            match pending.stand_in {
                Some(tool) => self.on_listed_for(tool, &pending, &message),
                None => {
                    self.remember(&pending.message, &message);
                    self.send_to_host(message, Some(id));
                    self.shorten_delay(&pending.message);
                }
            }
        }
    }

    /// Handles the response to the `tools/list` that replaced the call of a stand-in tool.
    fn on_listed_for(&mut self, tool: StandIn, pending: &PendingRequest, listed: &Message) {
        let call = &pending.message;
        if let Some(error) = listed.error() {
            return self.fail(call, &problem::from_rpc_error(error));
        }
        if let Some(listing) = stand_in::listing(call) {
            self.remember(&listing, listed);
        }
        if self.server.stand_in(call).is_none() {
            // The server itself has a tool of that name.
            return self.send_or_queue(QueuedMessage::new(call.clone(), self.call_timeout()));
        }
        let done = tool.done(call, &self.server.name, listed);
        match pending.signed_in || self.subscriptions.sent_list_changed_within(RELIST_TIMEOUT) {
            true => self.delayed_result = Some(DelayedResult::new(done)),
            false => self.send_own_answer(done),
        }
    }

    /// Shortens the wait of a delayed result once the host has its list.
    fn shorten_delay(&mut self, request: &Message) {
        if request.method() == Some("tools/list")
            && let Some(late) = &mut self.delayed_result
        {
            late.until = late.until.min(Instant::now() + RELIST_DELAY);
        }
    }

    fn remember(&self, request: &Message, answer: &Message) {
        if self.server.record_answer(request, answer) {
            self.context.notifications.state_changed();
        }
    }

    /// Records that the server has accepted a request with this authorization.
    fn record_accepted(&mut self, authorization: Option<Authorization>) {
        if let Some(authorization) = authorization
            && self.accepted.replace(authorization.number()) != Some(authorization.number())
        {
            self.record_token_accepted(&authorization);
        }
    }

    /// Records that the server has accepted a token: it has answered a request with a message of
    /// its own. Called once per token of this session.
    fn record_token_accepted(&self, authorization: &Authorization) {
        self.server.record_accepted_token(authorization.number());
        let identity = &self.context.identity;
        identity.accepted(&self.server.target(), authorization);
    }

    fn is_handshake(&self, id: Option<&RequestId>) -> bool {
        matches!(&self.connection, ConnectionState::Opening { awaits, .. } if Some(awaits) == id)
    }

    fn on_handshake(&mut self, answer: Message) {
        let (
            HostProtocol::Legacy(handshake),
            ConnectionState::Opening {
                authorization,
                next,
                ..
            },
        ) = (&mut self.protocol, &self.connection)
        else {
            return;
        };
        let authorization = authorization.clone();
        if *next == AfterToken::Reconnect {
            // Any response to `ping` shows that the server is there, even `method not found`.
            return self.set_live(&authorization);
        }
        let is_first_answer = !std::mem::replace(&mut handshake.answered, true);
        self.handshake_deadline = None;
        if answer.error().is_some() {
            if is_first_answer {
                self.connection = ConnectionState::Idle;
                self.send_answer(answer);
            } else {
                let text = "the server refused the handshake";
                self.disconnect(Problem::new(ProblemKind::NotMcp, text));
            }
            return;
        }
        handshake.changes = server_cache::list_changes(&answer);
        let initialize = handshake.initialize.clone();
        self.remember(&initialize, &answer);
        if is_first_answer {
            self.send_answer(answer);
        }
        self.set_live(&authorization);
    }

    pub(super) fn set_live(&mut self, authorization: &Option<Authorization>) {
        if let HostProtocol::Legacy(_) = self.protocol {
            self.unreachable = None;
            self.show(ServerState::Ready);
        }
        self.connection = ConnectionState::Live {
            authorization: authorization.clone(),
        };
        self.send_initialized();
        if std::mem::take(&mut self.listen_again) {
            self.up.listen(header(authorization));
        }
        for queued in self.outbox.take_ready() {
            self.send(queued, authorization.clone());
        }
        self.subscribe_at_server();
        self.send_list_changes();
    }

    /// Completes the handshake at the server once both sides are ready. Restores the settings of
    /// earlier sessions there.
    pub(super) fn send_initialized(&mut self) {
        let (HostProtocol::Legacy(handshake), ConnectionState::Live { authorization }) =
            (&mut self.protocol, &self.connection)
        else {
            return;
        };
        let Some(initialized) = handshake.initialized.clone() else {
            return;
        };
        if std::mem::replace(&mut handshake.initialized_sent, true) {
            return;
        }
        self.up.send(initialized, header(authorization));
        for (_, request) in &handshake.settings {
            if request.id().is_some_and(|id| self.outbox.contains(id)) {
                continue;
            }
            if let Some(repeated) = request.with_id(&self.own_ids.next()) {
                self.up.send(repeated, header(authorization));
            }
        }
        self.up.listen(header(authorization));
        self.listen_again = false;
    }

    /// Tells the host to list again if the bridge has answered for the server, once it may be sent
    /// notifications.
    pub(super) fn send_list_changes(&mut self) {
        let (HostProtocol::Legacy(handshake), ConnectionState::Live { .. }) =
            (&mut self.protocol, &self.connection)
        else {
            return;
        };
        if handshake.initialized.is_none() || !std::mem::take(&mut handshake.stale) {
            return;
        }
        for change in handshake.changes.clone() {
            self.subscriptions.record_list_changed();
            self.send_to_host(change, None);
        }
    }

    pub(super) fn on_failure(&mut self, request: Option<RequestId>, failure: UpstreamError) {
        let handshake = self.is_handshake(request.as_ref());
        let is_passing = failure.is_passing();
        if shows_server(&failure) {
            self.unreachable = None;
        }
        match failure {
            UpstreamError::Unauthorized { challenge, words } => {
                self.server.record_refusal_words(words);
                self.record_challenge(challenge.as_deref());
                self.on_refused(request.as_ref(), handshake, challenge.as_deref());
            }
            UpstreamError::SessionGone { generation } if !handshake => {
                self.retry(request.as_ref(), &failure);
                self.on_session_gone(generation, &failure);
                if request.is_some() {
                    self.retry_soon();
                }
            }
            UpstreamError::Unreachable { sent: false, .. } if !handshake => {
                if let Some(id) = &request {
                    self.outbox.requeue_unsent(id);
                }
                if matches!(self.connection, ConnectionState::Live { .. }) && request.is_some() {
                    self.suspend(problem::from_failure(&failure));
                }
            }
            // A proxy in front of the server may be up before the server is.
            failure
                if handshake
                    && self.is_reconnecting()
                    && (failure.is_passing()
                        || matches!(failure, UpstreamError::Unreachable { .. })) =>
            {
                self.suspend(Problem {
                    kind: ProblemKind::Unreachable,
                    ..problem::from_failure(&failure)
                });
            }
            UpstreamError::SessionGone { .. } if handshake && self.is_reconnecting() => {
                if let ConnectionState::Opening { authorization, .. } = &self.connection {
                    self.proceed(AfterToken::Connect, authorization.clone());
                }
            }
            UpstreamError::Rejected {
                body: Some(body), ..
            } if !handshake || !self.is_answered() => {
                // Such a body never names the request that it rejects.
                if let Some(id) = request {
                    if handshake {
                        self.end_handshake();
                        self.send_to_host(body.error_for(&id).unwrap_or(body), Some(id));
                    } else {
                        self.on_rejected(id, body, is_passing);
                    }
                }
            }
            failure if handshake => {
                self.record_step_up(&failure);
                self.disconnect(problem::from_failure(&failure));
            }
            failure => {
                self.record_step_up(&failure);
                if let Some(id) = request
                    && !self.step_up(&id, &failure)
                    && let Some(pending) = self.outbox.pending.remove(&id)
                    && pending.is_wanted()
                {
                    let problem = problem::from_failure(&failure);
                    self.fail_owed(&pending, problem, is_passing);
                }
            }
        }
    }

    /// Fails a request that the server, or a proxy in front of it, has rejected.
    fn fail_owed(&mut self, pending: &PendingRequest, problem: Problem, is_passing: bool) {
        let keeps = is_passing && self.subscriptions.contains_request(&pending.message);
        let kind = match keeps {
            true => ProblemKind::Unreachable,
            false => problem.kind,
        };
        self.fail(&pending.message, &Problem { kind, ..problem });
    }

    /// Handles a request that the server rejects with a JSON-RPC error in an HTTP error.
    fn on_rejected(&mut self, id: RequestId, body: Message, is_passing: bool) {
        let pending = self.outbox.pending.remove(&id);
        let Some(pending) = pending.filter(PendingRequest::is_wanted) else {
            return;
        };
        let is_ours = pending.stand_in.is_some() || self.subscriptions.contains(&id);
        match body.error() {
            Some(error) if is_ours => {
                self.fail_owed(&pending, problem::from_rpc_error(error), is_passing)
            }
            Some(_) | None => {
                let mut answer = body.error_for(&id).unwrap_or(body);
                answer.count(&self.memory);
                self.send_to_host(answer, Some(id));
            }
        }
    }

    /// 404 for a session: begins a new one, unless that was done already. A server that loses
    /// sessions before it has answered anything is retried with backoff.
    fn on_session_gone(&mut self, generation: Generation, failure: &UpstreamError) {
        let is_current = self.up.is_current(generation);
        match &mut self.connection {
            ConnectionState::Live { authorization } => {
                let authorization = authorization.clone();
                if !is_current {
                    self.set_live(&authorization);
                } else if self.backoff.is_first() {
                    self.proceed(AfterToken::Connect, authorization);
                } else {
                    self.disconnect(problem::from_failure(failure));
                }
            }
            ConnectionState::Authorizing { next, .. } if is_current => *next = AfterToken::Connect,
            ConnectionState::Authorizing { .. }
            | ConnectionState::Idle
            | ConnectionState::Opening { .. }
            | ConnectionState::SignInNeeded { .. }
            | ConnectionState::Down { .. } => {}
        }
    }

    /// The server has rejected the handshake, and the host is told.
    fn end_handshake(&mut self) {
        if let HostProtocol::Legacy(handshake) = &mut self.protocol {
            handshake.answered = true;
        }
        self.connection = ConnectionState::Idle;
        self.handshake_deadline = None;
    }

    /// 401: requests another token, unless that was done already, and sends the request once more.
    fn on_refused(
        &mut self,
        request: Option<&RequestId>,
        handshake: bool,
        challenge: Option<&str>,
    ) {
        let current = match &self.connection {
            ConnectionState::Live { authorization }
            | ConnectionState::Opening { authorization, .. } => authorization.clone(),
            ConnectionState::Idle
            | ConnectionState::Authorizing { .. }
            | ConnectionState::SignInNeeded { .. }
            | ConnectionState::Down { .. } => None,
        };
        let pending = request.and_then(|id| self.outbox.pending.get(id));
        let after_own_sign_in = pending.is_some_and(|pending| pending.signed_in);
        let used = match pending {
            Some(pending) => pending.authorization.clone(),
            None => current.clone(),
        };
        if let Some(used) = &used {
            self.server
                .record_refused_token(used, challenge, after_own_sign_in);
        }
        let is_current = header(&current) == header(&used);
        if request.is_none() {
            self.listen_again = true;
        } else if !handshake {
            let failure = UpstreamError::Unauthorized {
                challenge: None,
                words: None,
            };
            self.retry(request, &failure);
        }
        match &self.connection {
            ConnectionState::Live { .. } | ConnectionState::Opening { .. } if is_current => {
                self.refusals += 1;
                let next = match self.connection {
                    ConnectionState::Opening { next, .. } => next,
                    _ => AfterToken::Continue,
                };
                if self.refusals > MAX_REFUSALS || self.server.names_no_sign_in() {
                    self.give_up_access();
                } else {
                    self.request_token_after(used, next);
                }
            }
            ConnectionState::Live { .. } => self.set_live(&current),
            ConnectionState::Authorizing { next, .. } => {
                let next = *next;
                self.request_token_after(used, next);
            }
            ConnectionState::Opening { .. }
            | ConnectionState::Idle
            | ConnectionState::SignInNeeded { .. }
            | ConnectionState::Down { .. } => self.answer_from_cache(),
        }
    }

    /// Requeues a request that the server has not processed. That happens once per request.
    fn retry(&mut self, request: Option<&RequestId>, failure: &UpstreamError) {
        let Some(id) = request else { return };
        let pending = self.outbox.pending.get(id);
        let timeout = match pending {
            Some(pending) => self.timeout_for(&pending.message),
            None => return,
        };
        if let Some(pending) = self.outbox.requeue(id, WaitFor::Server, timeout) {
            let problem = match failure {
                UpstreamError::Unauthorized { .. } => self.unauthorized(),
                failure => problem::from_failure(failure),
            };
            self.fail(&pending.message, &problem);
        }
    }

    /// The server cannot be used. The next attempt initializes a new session.
    pub(super) fn disconnect(&mut self, problem: Problem) {
        self.outbox.drop_one_way();
        self.set_down(problem, AfterToken::Connect);
    }

    /// The server cannot be reached. The next attempt continues the session if it has an id.
    fn suspend(&mut self, problem: Problem) {
        let is_legacy = matches!(self.protocol, HostProtocol::Legacy(_));
        if is_legacy && self.up.has_session() {
            self.set_down(problem, AfterToken::Reconnect);
        } else {
            self.disconnect(problem);
        }
    }

    fn set_down(&mut self, problem: Problem, next: AfterToken) {
        self.unreachable = (problem.kind == ProblemKind::Unreachable).then(|| problem.clone());
        self.suspend_subscriptions();
        self.show(ServerState::Failed {
            problem: problem.clone(),
        });
        let retry_at = Instant::now() + self.backoff.next();
        self.connection = ConnectionState::Down {
            problem,
            retry_at,
            next,
        };
        self.answer_from_cache();
    }

    fn is_reconnecting(&self) -> bool {
        matches!(
            self.connection,
            ConnectionState::Opening {
                next: AfterToken::Reconnect,
                ..
            }
        )
    }

    /// The stream for notifications cannot be reopened. Notifications are lost meanwhile. The next
    /// response shows that the server is back.
    pub(super) fn on_away(&self, failure: &UpstreamError) {
        if matches!(self.connection, ConnectionState::Live { .. }) {
            let problem = problem::from_failure(failure);
            self.show(ServerState::Failed { problem });
        }
    }

    pub(super) fn on_back(&self) {
        if matches!(self.connection, ConnectionState::Live { .. }) {
            self.show(ServerState::Ready);
        }
    }

    /// 401 when a cut stream was to be resumed: requests another token, unless that is being done
    /// already. The request of the stream stays pending.
    pub(super) fn on_token_refused(&mut self, used: Option<&HeaderValue>, challenge: Option<&str>) {
        self.record_challenge(challenge);
        if let ConnectionState::Live { authorization } = &self.connection
            && header(authorization).as_ref() == used
        {
            if let Some(used) = authorization {
                self.server.record_refused_token(used, challenge, false);
            }
            let refused = authorization.clone();
            self.request_token_after(refused, AfterToken::Continue);
        }
    }
}

/// Returns true if the failure is a response of the server, or of a proxy in front of it.
fn shows_server(failure: &UpstreamError) -> bool {
    match failure {
        UpstreamError::Unauthorized { .. }
        | UpstreamError::Forbidden { .. }
        | UpstreamError::SessionGone { .. }
        | UpstreamError::NotMcp { .. } => true,
        UpstreamError::Rejected { .. } => !failure.is_passing(),
        UpstreamError::Unreachable { .. }
        | UpstreamError::Untrusted { .. }
        | UpstreamError::NotTls
        | UpstreamError::StreamEnded => false,
    }
}
