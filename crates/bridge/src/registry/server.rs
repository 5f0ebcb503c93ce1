//! One server: its configuration, and what its sessions have found out about it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::{AccountKey, Authorization, NamedTarget, Target, TokenNumber};
use control::api::{Problem, ServerState, ToolView};
use mcp::subscription::LISTEN;
use mcp::up::Learned;
use mcp::{Message, json};
use model::ServerName;
use model::config::{ServerAuth, ServerConfig};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tokens::{Refused, Tokens};
use crate::bridge_state::account_id;
use crate::no_sign_in::{self, Found};
use crate::problem;
use crate::server_cache::{Absence, Change, Kept, Seen, SeenFile, lists_tool};
use crate::stand_in::StandIn;

/// One server, as long as its configuration stays the same.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: ServerName,
    pub(crate) config: ServerConfig,
    target: Arc<NamedTarget>,
    /// Whether it came by `connect URL` and is in no configuration.
    pub(crate) ephemeral: bool,
    /// Where what was seen of it is kept; an ephemeral server's is not.
    seen_file: Option<Arc<SeenFile>>,
    /// Cancelled once the configuration has another server in this one's place, or none.
    pub(crate) replaced: CancellationToken,
    /// What its connections have learned of how it is spoken to.
    pub(crate) learned: Arc<Learned>,
    known: Mutex<Known>,
    answered: Answered,
}

/// When a server answered last.
#[derive(Debug)]
struct Answered {
    start: Instant,
    /// In milliseconds since `start`; 0 before the first answer.
    last: AtomicU64,
}

impl Answered {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// For how long after its last answer a server that cannot be reached is taken to be restarting.
const RESTART_TIME: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Known {
    state: ServerState,
    seen: Seen,
    /// Whether it ever asked for a sign-in, and how (the last `WWW-Authenticate`).
    protected: bool,
    challenge: Option<String>,
    /// What it said when it last answered 401.
    refusal_words: Option<String>,
    /// Whether it was found to name a way to sign in.
    found_sign_in: Option<Found>,
    /// What the authorization server said when it refused last.
    refusal: Option<Problem>,
    /// The challenges for more scopes that a sign-in has followed, and nothing has come of it yet.
    stepped_up: BTreeSet<String>,
    tokens: Tokens,
    /// The names of its tools that are also names of stand-in tools.
    own_tools: BTreeSet<String>,
}

/// How many sign-ins for more scopes there are at most without any of them helping.
const MOST_STEP_UPS: usize = 3;

impl Server {
    /// A server of the configuration, which may take the place of one of the same name.
    pub(super) fn configured(
        name: ServerName,
        config: ServerConfig,
        before: Option<&Self>,
        file: impl FnOnce() -> SeenFile,
    ) -> Self {
        let before = before.and_then(|before| Some((before, before.seen_file.clone()?)));
        // What is in the file may be older than what that one has seen.
        if let Some((before, file)) = before {
            let seen = before.known().seen.clone();
            let seen = match seen.is_of(&config.url) {
                true => seen,
                false => Seen::load(file.path(), &config.url),
            };
            return Self::new(name, config, seen, Some(file));
        }
        let file = file();
        let seen = Seen::load(file.path(), &config.url);
        Self::new(name, config, seen, Some(Arc::new(file)))
    }

    /// A server that is in no configuration.
    pub(super) fn ephemeral(name: ServerName, config: ServerConfig) -> Self {
        Self::new(name, config, Seen::default(), None)
    }

    fn new(
        name: ServerName,
        config: ServerConfig,
        seen: Seen,
        seen_file: Option<Arc<SeenFile>>,
    ) -> Self {
        let protected = !matches!(config.auth, ServerAuth::Discover | ServerAuth::None);
        let known = Known {
            state: ServerState::Unknown,
            seen,
            protected,
            challenge: None,
            refusal_words: None,
            found_sign_in: None,
            refusal: None,
            stepped_up: BTreeSet::new(),
            tokens: Tokens::default(),
            own_tools: BTreeSet::new(),
        };
        let target = Target {
            url: config.url.clone(),
            auth: config.auth.clone(),
        };
        Self {
            name,
            config,
            target: Arc::new(target.into()),
            ephemeral: seen_file.is_none(),
            seen_file,
            replaced: CancellationToken::new(),
            learned: Arc::default(),
            known: Mutex::new(known),
            answered: Answered::new(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `auth` needs to know of it.
    pub(crate) fn target(&self) -> Arc<NamedTarget> {
        Arc::clone(&self.target)
    }

    /// The names of the headers that the user gave it.
    pub(crate) fn header_names(&self) -> Vec<String> {
        let headers = self.config.headers.iter();
        headers.map(|(name, _)| name.to_string()).collect()
    }

    /// Whether it needs stored secrets.
    pub(crate) fn needs_secrets(&self) -> bool {
        self.config.secrets().next().is_some()
    }

    pub(crate) fn state(&self) -> ServerState {
        self.known().state.clone()
    }

    /// Sets the state; says whether it is another one.
    pub(crate) fn set_state(&self, state: ServerState) -> bool {
        let mut known = self.known();
        let changed = known.state != state;
        known.state = state;
        changed
    }

    /// Takes note of why nobody is signed in, if that is the authorization server's word.
    pub(crate) fn note_sign_in_problem(&self, problem: &Problem) {
        if problem.refusal.is_some() {
            self.known().refusal = Some(problem.clone());
        }
    }

    /// What the authorization server said, or the server of the tokens of the last sign-in, as
    /// long as the user has to sign in.
    pub(crate) fn sign_in_problem(&self) -> Option<Problem> {
        let known = self.known();
        if known.state != ServerState::SignInNeeded {
            return None;
        }
        let in_vain = known.tokens.in_vain();
        let in_vain = in_vain.map(|refused| problem::in_vain(self, refused.words.as_deref()));
        in_vain.or_else(|| known.refusal.clone())
    }

    /// A sign-in has ended well, and this is the first token that it brought.
    pub(crate) fn note_first_token(&self, number: Option<TokenNumber>) {
        self.known().tokens.first = number;
    }

    /// The server has answered a request that it was sent with this token.
    pub(crate) fn note_accepted_token(&self, number: TokenNumber) {
        let accepted = &mut self.known().tokens.accepted;
        *accepted = (*accepted).max(Some(number));
    }

    /// The server has answered a call that it was sent with this token: sign-ins help again, unless
    /// it has refused a newer one.
    pub(crate) fn note_accepted_call(&self, number: TokenNumber) {
        let refused = &mut self.known().tokens.refused;
        *refused = refused.take().filter(|refused| refused.number > number);
    }

    /// The server has answered 401 to this token; `after_own_sign_in`, where it came with a call for
    /// which a sign-in was made.
    pub(crate) fn note_refused_token(
        &self,
        used: &Authorization,
        challenge: Option<&str>,
        after_own_sign_in: bool,
    ) {
        let tokens = &mut self.known().tokens;
        let number = used.number();
        let known = tokens.refused.as_ref();
        let is_accepted = tokens.accepted.is_some_and(|accepted| accepted >= number);
        let is_old = known.is_some_and(|known| known.number > number);
        if is_old || (is_accepted && !after_own_sign_in) {
            return;
        }
        tokens.refused = Some(Refused {
            number,
            account: used.account.clone(),
            words: challenge.and_then(auth::challenge_words),
            after_own_sign_in: after_own_sign_in
                || known
                    .is_some_and(|known| known.after_own_sign_in && known.account == used.account),
        });
    }

    /// Why no sign-in of `account` starts by itself: the server refuses the tokens of the last one.
    /// That ends once a person asks for another sign-in or signs out, or the server answers a call
    /// after all. `None` if one may start.
    pub(crate) fn sign_in_in_vain(&self, account: Option<&AccountKey>) -> Option<Problem> {
        let known = self.known();
        let refused = known.tokens.in_vain()?;
        account
            .is_none_or(|account| *account == refused.account)
            .then(|| problem::in_vain(self, refused.words.as_deref()))
    }

    /// A person signs in of their own accord: what came of earlier sign-ins counts no longer.
    pub(crate) fn forget_vain_sign_ins(&self) {
        let mut known = self.known();
        known.stepped_up.clear();
        known.tokens.refused = None;
    }

    /// The server answered a request of ours with 401, or with 403 and what it misses.
    pub(crate) fn note_challenge(&self, challenge: Option<String>) {
        let mut known = self.known();
        known.protected = true;
        if challenge.as_deref().is_some_and(no_sign_in::names_metadata) {
            known.found_sign_in = None;
        }
        known.challenge = challenge.or(known.challenge.take());
    }

    pub(crate) fn is_protected(&self) -> bool {
        self.known().protected
    }

    pub(crate) fn challenge(&self) -> Option<String> {
        self.known().challenge.clone()
    }

    /// Records what the server said when it answered 401.
    pub(crate) fn note_refusal_words(&self, words: Option<String>) {
        self.known().refusal_words = words;
    }

    pub(crate) fn refusal_words(&self) -> Option<String> {
        self.known().refusal_words.clone()
    }

    pub(crate) fn note_found_sign_in(&self, found: Found) {
        self.known().found_sign_in = Some(found);
    }

    pub(crate) fn found_sign_in(&self) -> Option<Found> {
        self.known().found_sign_in.clone()
    }

    /// Returns whether the server answers 401 and was found to name no way to sign in.
    pub(crate) fn names_no_sign_in(&self) -> bool {
        self.found_sign_in().is_some_and(|found| found.is_none)
    }

    /// Whether a sign-in may follow this challenge for more scopes by itself: once, and no more
    /// than a few times until one has helped.
    pub(crate) fn may_step_up(&self, challenge: &str) -> bool {
        let tried = &self.known().stepped_up;
        tried.len() < MOST_STEP_UPS && !tried.contains(challenge)
    }

    /// A sign-in follows this challenge.
    pub(crate) fn note_step_up(&self, challenge: &str) {
        self.known().stepped_up.insert(challenge.to_owned());
    }

    /// Returns whether a sign-in for more scopes has followed a challenge, and nothing has come of
    /// it yet.
    pub(crate) fn awaits_scopes(&self) -> bool {
        !self.known().stepped_up.is_empty()
    }

    /// More scopes were what was missing.
    pub(crate) fn step_up_helped(&self) {
        self.known().stepped_up.clear();
    }

    pub(crate) fn tools(&self) -> Option<Vec<ToolView>> {
        let seen = self.seen();
        seen.tools()
    }

    /// The server has sent a message.
    pub(crate) fn note_answered(&self) {
        let now = self.answered.now().max(1);
        self.answered.last.store(now, Ordering::Relaxed);
    }

    /// Whether it has sent one within [`RESTART_TIME`].
    pub(crate) fn has_just_answered(&self) -> bool {
        let last = self.answered.last.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.answered.now().saturating_sub(last));
        last > 0 && since < RESTART_TIME
    }

    /// Whether there is an answer of our own to this request.
    /// That of a subscription is an acknowledgement.
    pub(crate) fn can_answer(&self, request: &Message) -> bool {
        request.method() == Some(LISTEN) || Seen::can_answer(request)
    }

    /// Our own answer in the server's place, which `problem` keeps from answering.
    pub(crate) fn answer(&self, request: &Message, problem: &Problem) -> Option<Message> {
        let server = &self.name;
        let absence = Absence { server, problem };
        self.seen().answer(request, absence)
    }

    /// Whether `request` asks for a list of which nothing is known.
    pub(crate) fn lacks(&self, request: &Message) -> bool {
        self.known().seen.lacks(request)
    }

    /// The capabilities that hosts are told while the server cannot be asked, a JSON object.
    pub(crate) fn capabilities(&self) -> String {
        self.seen().capabilities()
    }

    /// Returns the stand-in tool that `request` calls, or `None` if the server has a tool of that
    /// name itself.
    pub(crate) fn stand_in(&self, request: &Message) -> Option<StandIn> {
        let tool = StandIn::called_by(request, &self.name)?;
        let name = tool.tool_name(&self.name);
        let is_own = self.known().own_tools.contains(&name) || self.seen().has_tool(&name);
        (!is_own).then_some(tool)
    }

    /// Remembers what the server answered to `request`; says whether it is news.
    pub(crate) fn note_answer(&self, request: &Message, answer: &Message) -> bool {
        let (Some(method), Some(result)) = (request.method(), answer.result()) else {
            return false;
        };
        if method == "tools/list" {
            self.note_own_tools(result);
        }
        if !Seen::remembers(request) {
            return false;
        }
        let before = self.known().seen.before(method);
        let compare = || Kept::of_news(method, result, before.kept.as_ref());
        let news = threads::pass(result.get().len(), compare);
        let is_noted = news.is_some_and(|kept| self.known().seen.note(method, kept, &before));
        if is_noted {
            self.save(Change::More);
        }
        is_noted
    }

    /// Notes the server's tools that have the name of a stand-in tool, on whatever page of the list.
    fn note_own_tools(&self, listed: &RawValue) {
        for tool in [StandIn::SignIn, StandIn::Reconnect] {
            let name = tool.tool_name(&self.name);
            if json::contains(listed.get().as_bytes(), name.as_bytes()) && lists_tool(listed, &name)
            {
                self.known().own_tools.insert(name);
            }
        }
    }

    /// Whether anybody ever signed in to it.
    pub(crate) fn was_signed_in(&self) -> bool {
        self.known().seen.was_signed_in()
    }

    /// This account is the one that opens it now. What another one saw is forgotten.
    pub(crate) fn signed_in(&self, account: &AccountKey) {
        let mut known = self.known();
        known.protected = true;
        known.refusal = None;
        known.found_sign_in = None;
        let change = known.seen.note_account(&account_id(account));
        drop(known);
        self.save(change);
    }

    /// The account that opened it has signed out, and what it saw is forgotten.
    pub(crate) fn signed_out(&self) {
        let mut known = self.known();
        known.state = ServerState::SignInNeeded;
        known.tokens = Tokens::default();
        let change = known.seen.forget();
        drop(known);
        self.save(change);
    }

    /// It was removed, and with it what was seen of it.
    pub(crate) fn forget(&self) {
        if let Some(file) = &self.seen_file
            && let Err(reason) = threads::blocking(|| file.remove())
        {
            tracing::warn!(server = %self.name, %reason, "what was seen of the server stays");
        }
    }

    /// Copies what was seen, so that it is read without the lock.
    fn seen(&self) -> Seen {
        self.known().seen.clone()
    }

    /// Has the change written down: more is written soon, and what was forgotten leaves the disk
    /// before this returns.
    fn save(&self, change: Change) {
        let Some(file) = &self.seen_file else {
            return;
        };
        match change {
            Change::None => {}
            Change::More => file.set_due(),
            Change::Forgotten => threads::blocking(|| {
                if !self.write(file)
                    && let Err(reason) = file.clear()
                {
                    tracing::error!(server = %self.name, %reason, "what another account saw stays");
                }
            }),
        }
    }

    /// Writes down what was seen, if that is due. Blocks.
    pub(super) fn save_if_due(&self) {
        if let Some(file) = self.seen_file.as_ref().filter(|file| file.is_due()) {
            self.write(file);
        }
    }

    /// Returns whether it could be written.
    fn write(&self, file: &SeenFile) -> bool {
        // The server in this one's place has the file.
        if self.replaced.is_cancelled() {
            return true;
        }
        let written = file.write(|| self.seen());
        if let Err(reason) = &written {
            tracing::warn!(server = %self.name, %reason, "what was seen of the server is not kept");
        }
        written.is_ok()
    }
}
