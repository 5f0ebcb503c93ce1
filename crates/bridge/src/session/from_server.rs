//! What the server says, and how it fails.

use std::time::Duration;

use auth::Authorization;
use control::api::{Problem, ProblemKind, ServerState};
use http::HeaderValue;
use mcp::up::{Failure, Generation};
use mcp::{Kind, Message, RequestId};
use tokio::time::Instant;

use super::connection::{Link, Next, Speech};
use super::outbox::{Awaits, Owed, Waiting};
use super::task::{REFUSALS, Task, header};
use crate::stand_in::{self, StandIn};
use crate::{problem, server_cache};

/// How long the result of a stand-in tool waits for the host to list the tools again: the model that
/// gets it should see the new ones.
const LIST_AGAIN: Duration = Duration::from_secs(1);

/// How long it still waits once the host has the list.
const AFTER_LIST: Duration = Duration::from_millis(200);

/// The result of a stand-in tool that waits for the host to list the tools again.
pub(super) struct Late {
    result: Message,
    pub(super) until: Instant,
}

impl Late {
    fn new(result: Message) -> Self {
        Self {
            result,
            until: Instant::now() + LIST_AGAIN,
        }
    }

    pub(super) fn is_for(&self, id: &RequestId) -> bool {
        self.result.id() == Some(id)
    }
}

impl Task {
    /// Sends the result of a stand-in tool that has waited long enough.
    pub(super) fn tell_late(&mut self, now: Instant) {
        if let Some(late) = self.late.take_if(|late| late.until <= now) {
            self.tell_made(late.result);
        }
    }

    pub(super) fn on_server(&mut self, message: Message, request: Option<RequestId>) {
        self.refusals = 0;
        self.server.note_answered();
        self.unreachable = None;
        if matches!(self.link, Link::Live { .. }) {
            self.show(ServerState::Ready);
        }
        let Some(message) = self.on_subscription(message, request.as_ref()) else {
            return;
        };
        let Kind::Response { id, .. } = message.kind() else {
            let request = request.or_else(|| self.outbox.subject_of(&message));
            self.tell(message, request);
            return;
        };
        let id = id.clone();
        if self.is_handshake(Some(&id)) {
            if let Link::Opening { authorization, .. } = &self.link {
                self.note_accepted(authorization.clone());
            }
            self.on_handshake(message);
        } else if let Some(owed) = self.outbox.owed.remove(&id) {
            self.backoff.reset();
            self.note_accepted(owed.authorization.clone());
            if let Some(used) = &owed.authorization
                && owed.message.method() == Some("tools/call")
                && owed.stand_in.is_none()
            {
                self.server.note_accepted_call(used.number());
            }
            if owed.again && message.error().is_none() {
                self.server.step_up_helped();
            }
            match owed.stand_in {
                Some(tool) => self.on_listed_for(tool, &owed, &message),
                None => {
                    self.remember(&owed.message, &message);
                    self.tell(message, Some(id));
                    self.note_listed(&owed.message);
                }
            }
        }
    }

    /// The server has answered the `tools/list` that it got in place of a call of a stand-in tool.
    fn on_listed_for(&mut self, tool: StandIn, owed: &Owed, listed: &Message) {
        let call = &owed.message;
        if let Some(error) = listed.error() {
            return self.fail(call, &problem::said(error));
        }
        if let Some(listing) = stand_in::listing(call) {
            self.remember(&listing, listed);
        }
        if self.server.stand_in(call).is_none() {
            // The server has a tool of that name itself.
            return self.pass_or_hold(Waiting::new(call.clone(), self.patience()));
        }
        let done = tool.done(call, &self.server.name, listed);
        match owed.signed_in || self.subscriptions.has_told_changes_within(LIST_AGAIN) {
            true => self.late = Some(Late::new(done)),
            false => self.tell_made(done),
        }
    }

    /// The host has got an answer to this request: a result that waits for its list goes out soon.
    fn note_listed(&mut self, request: &Message) {
        if request.method() == Some("tools/list")
            && let Some(late) = &mut self.late
        {
            late.until = late.until.min(Instant::now() + AFTER_LIST);
        }
    }

    fn remember(&self, request: &Message, answer: &Message) {
        if self.server.note_answer(request, answer) {
            self.hub.changed();
        }
    }

    /// The server has answered a request that it was sent with this.
    fn note_accepted(&mut self, authorization: Option<Authorization>) {
        if let Some(authorization) = authorization
            && self.accepted.replace(authorization.number()) != Some(authorization.number())
        {
            self.record_token_accepted(&authorization);
        }
    }

    /// Records that the server has accepted a token: it has answered a request with a message of
    /// its own. Called once per token of this session.
    fn record_token_accepted(&self, authorization: &Authorization) {
        self.server.note_accepted_token(authorization.number());
        let identity = &self.hub.identity;
        identity.accepted(&self.server.target(), authorization);
    }

    fn is_handshake(&self, id: Option<&RequestId>) -> bool {
        matches!(&self.link, Link::Opening { awaits, .. } if Some(awaits) == id)
    }

    fn on_handshake(&mut self, answer: Message) {
        let (
            Speech::Legacy(handshake),
            Link::Opening {
                authorization,
                next,
                ..
            },
        ) = (&mut self.speech, &self.link)
        else {
            return;
        };
        let authorization = authorization.clone();
        if *next == Next::Revive {
            // Whoever has an answer to `ping`, and be it that there is no such method, is there.
            return self.go_live(&authorization);
        }
        let tell = !std::mem::replace(&mut handshake.answered, true);
        self.contact = None;
        if answer.error().is_some() {
            if tell {
                self.link = Link::Idle;
                self.tell_answer(answer);
            } else {
                let text = "the server refused the handshake";
                self.go_down(Problem::new(ProblemKind::NotMcp, text));
            }
            return;
        }
        handshake.changes = server_cache::list_changes(&answer);
        let initialize = handshake.initialize.clone();
        self.remember(&initialize, &answer);
        if tell {
            self.tell_answer(answer);
        }
        self.go_live(&authorization);
    }

    pub(super) fn go_live(&mut self, authorization: &Option<Authorization>) {
        if let Speech::Legacy(_) = self.speech {
            self.unreachable = None;
            self.show(ServerState::Ready);
        }
        self.link = Link::Live {
            authorization: authorization.clone(),
        };
        self.greet();
        if std::mem::take(&mut self.listen_again) {
            self.up.listen(header(authorization));
        }
        for waiting in self.outbox.take_ready() {
            self.send(waiting, authorization.clone());
        }
        self.subscribe_at_server();
        self.tell_changes();
    }

    /// Ends the handshake at the server as the host did, once both are ready for that, and sets
    /// up there again what the host had set up in an earlier session.
    pub(super) fn greet(&mut self) {
        let (Speech::Legacy(handshake), Link::Live { authorization }) =
            (&mut self.speech, &self.link)
        else {
            return;
        };
        let Some(initialized) = handshake.initialized.clone() else {
            return;
        };
        if std::mem::replace(&mut handshake.greeted, true) {
            return;
        }
        self.up.send(initialized, header(authorization));
        for (_, request) in &handshake.standing {
            if request.id().is_some_and(|id| self.outbox.knows(id)) {
                continue;
            }
            if let Some(repeated) = request.repeated(&self.own_ids.next()) {
                self.up.send(repeated, header(authorization));
            }
        }
        self.up.listen(header(authorization));
        self.listen_again = false;
    }

    /// Tells the host to ask again, if it was answered in the server's place, as soon as it may
    /// be told anything.
    pub(super) fn tell_changes(&mut self) {
        let (Speech::Legacy(handshake), Link::Live { .. }) = (&mut self.speech, &self.link) else {
            return;
        };
        if handshake.initialized.is_none() || !std::mem::take(&mut handshake.stale) {
            return;
        }
        for change in handshake.changes.clone() {
            self.subscriptions.note_told_changes();
            self.tell(change, None);
        }
    }

    pub(super) fn on_failure(&mut self, request: Option<RequestId>, failure: Failure) {
        let handshake = self.is_handshake(request.as_ref());
        let is_passing = failure.is_passing();
        if shows_server(&failure) {
            self.unreachable = None;
        }
        match failure {
            Failure::Unauthorized { challenge, words } => {
                self.server.note_refusal_words(words);
                self.record_challenge(challenge.as_deref());
                self.on_refused(request.as_ref(), handshake, challenge.as_deref());
            }
            Failure::SessionGone { generation } if !handshake => {
                self.retry(request.as_ref(), &failure);
                self.on_session_gone(generation, &failure);
                if request.is_some() {
                    self.hurry();
                }
            }
            Failure::Unreachable { sent: false, .. } if !handshake => {
                if let Some(id) = &request {
                    self.outbox.take_back_unsent(id);
                }
                if matches!(self.link, Link::Live { .. }) && request.is_some() {
                    self.go_away(problem::of_failure(&failure));
                }
            }
            // What stands before it may be there before it is.
            failure
                if handshake
                    && self.is_reviving()
                    && (failure.is_passing() || matches!(failure, Failure::Unreachable { .. })) =>
            {
                self.go_away(Problem {
                    kind: ProblemKind::Unreachable,
                    ..problem::of_failure(&failure)
                });
            }
            Failure::SessionGone { .. } if handshake && self.is_reviving() => {
                if let Link::Opening { authorization, .. } = &self.link {
                    self.proceed(Next::Open, authorization.clone());
                }
            }
            Failure::Rejected {
                body: Some(body), ..
            } if !handshake || !self.is_answered() => {
                // Such a body never names the request that it refuses.
                if let Some(id) = request {
                    if handshake {
                        self.end_handshake();
                        self.tell(body.error_for(&id).unwrap_or(body), Some(id));
                    } else {
                        self.on_rejected(id, body, is_passing);
                    }
                }
            }
            failure if handshake => {
                self.note_step_up(&failure);
                self.go_down(problem::of_failure(&failure));
            }
            failure => {
                self.note_step_up(&failure);
                if let Some(id) = request
                    && !self.step_up(&id, &failure)
                    && let Some(owed) = self.outbox.owed.remove(&id)
                    && owed.is_wanted()
                {
                    let problem = problem::of_failure(&failure);
                    self.fail_owed(&owed, problem, is_passing);
                }
            }
        }
    }

    /// Answers a request that the server, or what stands before it, has refused.
    fn fail_owed(&mut self, owed: &Owed, problem: Problem, is_passing: bool) {
        let keeps = is_passing && self.subscriptions.contains_request(&owed.message);
        let kind = match keeps {
            true => ProblemKind::Unreachable,
            false => problem.kind,
        };
        self.fail(&owed.message, &Problem { kind, ..problem });
    }

    /// The server has refused a request with a JSON-RPC error in the body of an HTTP error.
    fn on_rejected(&mut self, id: RequestId, body: Message, is_passing: bool) {
        let owed = self.outbox.owed.remove(&id);
        let Some(owed) = owed.filter(Owed::is_wanted) else {
            return;
        };
        let is_ours = owed.stand_in.is_some() || self.subscriptions.contains(&id);
        match body.error() {
            Some(error) if is_ours => self.fail_owed(&owed, problem::said(error), is_passing),
            Some(_) | None => {
                let mut answer = body.error_for(&id).unwrap_or(body);
                answer.count(&self.memory);
                self.tell(answer, Some(id));
            }
        }
    }

    /// 404 for a session: begins another one, unless that was done already. A server that forgets
    /// one session after the other before it has answered anything is left alone for a while.
    fn on_session_gone(&mut self, generation: Generation, failure: &Failure) {
        let is_current = self.up.is_current(generation);
        match &mut self.link {
            Link::Live { authorization } => {
                let authorization = authorization.clone();
                if !is_current {
                    self.go_live(&authorization);
                } else if self.backoff.is_first() {
                    self.proceed(Next::Open, authorization);
                } else {
                    self.go_down(problem::of_failure(failure));
                }
            }
            Link::Asking { next, .. } if is_current => *next = Next::Open,
            Link::Asking { .. }
            | Link::Idle
            | Link::Opening { .. }
            | Link::SignInNeeded { .. }
            | Link::Down { .. } => {}
        }
    }

    /// The server has refused the handshake, and the host is told so.
    fn end_handshake(&mut self) {
        if let Speech::Legacy(handshake) = &mut self.speech {
            handshake.answered = true;
        }
        self.link = Link::Idle;
        self.contact = None;
    }

    /// 401: asks for another token, unless another message already did, and sends the request
    /// once more.
    fn on_refused(
        &mut self,
        request: Option<&RequestId>,
        handshake: bool,
        challenge: Option<&str>,
    ) {
        let current = match &self.link {
            Link::Live { authorization } | Link::Opening { authorization, .. } => {
                authorization.clone()
            }
            Link::Idle | Link::Asking { .. } | Link::SignInNeeded { .. } | Link::Down { .. } => {
                None
            }
        };
        let owed = request.and_then(|id| self.outbox.owed.get(id));
        let after_own_sign_in = owed.is_some_and(|owed| owed.signed_in);
        let used = match owed {
            Some(owed) => owed.authorization.clone(),
            None => current.clone(),
        };
        if let Some(used) = &used {
            self.server
                .note_refused_token(used, challenge, after_own_sign_in);
        }
        let is_current = header(&current) == header(&used);
        if request.is_none() {
            self.listen_again = true;
        } else if !handshake {
            let failure = Failure::Unauthorized {
                challenge: None,
                words: None,
            };
            self.retry(request, &failure);
        }
        match &self.link {
            Link::Live { .. } | Link::Opening { .. } if is_current => {
                self.refusals += 1;
                let next = match self.link {
                    Link::Opening { next, .. } => next,
                    _ => Next::Resume,
                };
                if self.refusals > REFUSALS || self.server.names_no_sign_in() {
                    self.give_up_access();
                } else {
                    self.ask_after(used, next);
                }
            }
            Link::Live { .. } => self.go_live(&current),
            Link::Asking { next, .. } => {
                let next = *next;
                self.ask_after(used, next);
            }
            Link::Opening { .. } | Link::Idle | Link::SignInNeeded { .. } | Link::Down { .. } => {
                self.settle()
            }
        }
    }

    /// Keeps a request that the server has not processed for another try, the only one.
    fn retry(&mut self, request: Option<&RequestId>, failure: &Failure) {
        let Some(id) = request else { return };
        let owed = self.outbox.owed.get(id);
        let patience = match owed {
            Some(owed) => self.patience_of(&owed.message),
            None => return,
        };
        if let Some(owed) = self.outbox.take_back(id, Awaits::Server, patience) {
            let problem = match failure {
                Failure::Unauthorized { .. } => self.unauthorized(),
                failure => problem::of_failure(failure),
            };
            self.fail(&owed.message, &problem);
        }
    }

    /// The server cannot be used, and is begun with anew.
    pub(super) fn go_down(&mut self, problem: Problem) {
        self.outbox.forget_remarks();
        self.be_down(problem, Next::Open);
    }

    /// The server cannot be reached, and is gone on with if it can be.
    fn go_away(&mut self, problem: Problem) {
        let is_legacy = matches!(self.speech, Speech::Legacy(_));
        if is_legacy && self.up.has_session() {
            self.be_down(problem, Next::Revive);
        } else {
            self.go_down(problem);
        }
    }

    fn be_down(&mut self, problem: Problem, next: Next) {
        self.unreachable = (problem.kind == ProblemKind::Unreachable).then(|| problem.clone());
        self.suspend_subscriptions();
        self.show(ServerState::Failed {
            problem: problem.clone(),
        });
        let retry_at = Instant::now() + self.backoff.next();
        self.link = Link::Down {
            problem,
            retry_at,
            next,
        };
        self.settle();
    }

    fn is_reviving(&self) -> bool {
        matches!(
            self.link,
            Link::Opening {
                next: Next::Revive,
                ..
            }
        )
    }

    /// The listening stream cannot be opened again: what the server says meanwhile is lost, and
    /// its next answer shows that it is back.
    pub(super) fn on_away(&self, failure: &Failure) {
        if matches!(self.link, Link::Live { .. }) {
            let problem = problem::of_failure(failure);
            self.show(ServerState::Failed { problem });
        }
    }

    pub(super) fn on_back(&self) {
        if matches!(self.link, Link::Live { .. }) {
            self.show(ServerState::Ready);
        }
    }

    /// 401 where a cut stream was to be taken up: asks for another token, unless that is being
    /// done already. Its request stays where it is.
    pub(super) fn on_token_refused(&mut self, used: Option<&HeaderValue>, challenge: Option<&str>) {
        self.record_challenge(challenge);
        if let Link::Live { authorization } = &self.link
            && header(authorization).as_ref() == used
        {
            if let Some(used) = authorization {
                self.server.note_refused_token(used, challenge, false);
            }
            let refused = authorization.clone();
            self.ask_after(refused, Next::Resume);
        }
    }
}

/// Returns true if the failure is an answer of the server, or of what stands before it.
fn shows_server(failure: &Failure) -> bool {
    match failure {
        Failure::Unauthorized { .. }
        | Failure::Forbidden { .. }
        | Failure::SessionGone { .. }
        | Failure::NotMcp { .. } => true,
        Failure::Rejected { .. } => !failure.is_passing(),
        Failure::Unreachable { .. }
        | Failure::Untrusted { .. }
        | Failure::NotTls
        | Failure::StreamEnded => false,
    }
}
