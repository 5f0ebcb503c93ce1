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
use crate::no_sign_in::{self, SignInLookup};
use crate::problem;
use crate::server_cache::{CacheFile, CachedResult, Change, ServerCache, Unavailable, lists_tool};
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
    cache_file: Option<Arc<CacheFile>>,
    /// Cancelled once the configuration has another server in this one's place, or none.
    pub(crate) replaced: CancellationToken,
    /// What its connections have learned of how it is spoken to.
    pub(crate) learned: Arc<Learned>,
    facts: Mutex<ServerFacts>,
    answered: LastAnswer,
}

/// When a server answered last.
#[derive(Debug)]
struct LastAnswer {
    start: Instant,
    /// In milliseconds since `start`; 0 before the first answer.
    last: AtomicU64,
}

impl LastAnswer {
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
struct ServerFacts {
    state: ServerState,
    cache: ServerCache,
    /// Whether it ever asked for a sign-in, and how (the last `WWW-Authenticate`).
    protected: bool,
    challenge: Option<String>,
    /// What it said when it last answered 401.
    refusal_words: Option<String>,
    /// Whether it was found to name a way to sign in.
    sign_in_lookup: Option<SignInLookup>,
    /// What the authorization server said when it refused last.
    refusal: Option<Problem>,
    /// The challenges for more scopes that a sign-in has followed, and nothing has come of it yet.
    stepped_up: BTreeSet<String>,
    tokens: Tokens,
    /// The names of its tools that are also names of stand-in tools.
    own_tools: BTreeSet<String>,
}

/// How many sign-ins for more scopes there are at most without any of them helping.
const MAX_STEP_UPS: usize = 3;

impl Server {
    /// A server of the configuration, which may take the place of one of the same name.
    pub(super) fn configured(
        name: ServerName,
        config: ServerConfig,
        before: Option<&Self>,
        file: impl FnOnce() -> CacheFile,
    ) -> Self {
        let before = before.and_then(|before| Some((before, before.cache_file.clone()?)));
        // What is in the file may be older than what that one has seen.
        if let Some((before, file)) = before {
            let cache = before.facts().cache.clone();
            let cache = match cache.is_for(&config.url) {
                true => cache,
                false => ServerCache::load(file.path(), &config.url),
            };
            return Self::new(name, config, cache, Some(file));
        }
        let file = file();
        let cache = ServerCache::load(file.path(), &config.url);
        Self::new(name, config, cache, Some(Arc::new(file)))
    }

    /// A server that is in no configuration.
    pub(super) fn ephemeral(name: ServerName, config: ServerConfig) -> Self {
        Self::new(name, config, ServerCache::default(), None)
    }

    fn new(
        name: ServerName,
        config: ServerConfig,
        cache: ServerCache,
        cache_file: Option<Arc<CacheFile>>,
    ) -> Self {
        let protected = !matches!(config.auth, ServerAuth::Discover | ServerAuth::None);
        let facts = ServerFacts {
            state: ServerState::Unknown,
            cache,
            protected,
            challenge: None,
            refusal_words: None,
            sign_in_lookup: None,
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
            ephemeral: cache_file.is_none(),
            cache_file,
            replaced: CancellationToken::new(),
            learned: Arc::default(),
            facts: Mutex::new(facts),
            answered: LastAnswer::new(),
        }
    }

    fn facts(&self) -> MutexGuard<'_, ServerFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.facts().state.clone()
    }

    /// Sets the state; says whether it is another one.
    pub(crate) fn set_state(&self, state: ServerState) -> bool {
        let mut facts = self.facts();
        let changed = facts.state != state;
        facts.state = state;
        changed
    }

    /// Takes note of why nobody is signed in, if that is the authorization server's word.
    pub(crate) fn record_sign_in_problem(&self, problem: &Problem) {
        if problem.refusal.is_some() {
            self.facts().refusal = Some(problem.clone());
        }
    }

    /// What the authorization server said, or the server of the tokens of the last sign-in, as
    /// long as the user has to sign in.
    pub(crate) fn sign_in_problem(&self) -> Option<Problem> {
        let facts = self.facts();
        if facts.state != ServerState::SignInNeeded {
            return None;
        }
        let refused_after_sign_in = facts.tokens.refused_after_sign_in();
        let refused_after_sign_in = refused_after_sign_in
            .map(|refused| problem::refused_after_sign_in(self, refused.words.as_deref()));
        refused_after_sign_in.or_else(|| facts.refusal.clone())
    }

    /// A sign-in has ended well, and this is the first token that it brought.
    pub(crate) fn record_first_token(&self, number: Option<TokenNumber>) {
        self.facts().tokens.first = number;
    }

    /// The server has answered a request that it was sent with this token.
    pub(crate) fn record_accepted_token(&self, number: TokenNumber) {
        let accepted = &mut self.facts().tokens.accepted;
        *accepted = (*accepted).max(Some(number));
    }

    /// The server has answered a call that it was sent with this token: sign-ins help again, unless
    /// it has refused a newer one.
    pub(crate) fn record_accepted_call(&self, number: TokenNumber) {
        let refused = &mut self.facts().tokens.refused;
        *refused = refused.take().filter(|refused| refused.number > number);
    }

    /// The server has answered 401 to this token; `after_own_sign_in`, where it came with a call for
    /// which a sign-in was made.
    pub(crate) fn record_refused_token(
        &self,
        used: &Authorization,
        challenge: Option<&str>,
        after_own_sign_in: bool,
    ) {
        let tokens = &mut self.facts().tokens;
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
    pub(crate) fn refusal_after_sign_in(&self, account: Option<&AccountKey>) -> Option<Problem> {
        let facts = self.facts();
        let refused = facts.tokens.refused_after_sign_in()?;
        account
            .is_none_or(|account| *account == refused.account)
            .then(|| problem::refused_after_sign_in(self, refused.words.as_deref()))
    }

    /// A person signs in of their own accord: what came of earlier sign-ins counts no longer.
    pub(crate) fn allow_sign_ins_again(&self) {
        let mut facts = self.facts();
        facts.stepped_up.clear();
        facts.tokens.refused = None;
    }

    /// The server answered a request of ours with 401, or with 403 and what it misses.
    pub(crate) fn record_challenge(&self, challenge: Option<String>) {
        let mut facts = self.facts();
        facts.protected = true;
        if challenge.as_deref().is_some_and(no_sign_in::names_metadata) {
            facts.sign_in_lookup = None;
        }
        facts.challenge = challenge.or(facts.challenge.take());
    }

    pub(crate) fn is_protected(&self) -> bool {
        self.facts().protected
    }

    pub(crate) fn challenge(&self) -> Option<String> {
        self.facts().challenge.clone()
    }

    /// Records what the server said when it answered 401.
    pub(crate) fn record_refusal_words(&self, words: Option<String>) {
        self.facts().refusal_words = words;
    }

    pub(crate) fn refusal_words(&self) -> Option<String> {
        self.facts().refusal_words.clone()
    }

    pub(crate) fn record_sign_in_lookup(&self, found: SignInLookup) {
        self.facts().sign_in_lookup = Some(found);
    }

    pub(crate) fn sign_in_lookup(&self) -> Option<SignInLookup> {
        self.facts().sign_in_lookup.clone()
    }

    /// Returns whether the server answers 401 and was found to name no way to sign in.
    pub(crate) fn names_no_sign_in(&self) -> bool {
        self.sign_in_lookup().is_some_and(|found| found.is_none)
    }

    /// Whether a sign-in may follow this challenge for more scopes by itself: once, and no more
    /// than a few times until one has helped.
    pub(crate) fn may_step_up(&self, challenge: &str) -> bool {
        let tried = &self.facts().stepped_up;
        tried.len() < MAX_STEP_UPS && !tried.contains(challenge)
    }

    /// A sign-in follows this challenge.
    pub(crate) fn record_step_up(&self, challenge: &str) {
        self.facts().stepped_up.insert(challenge.to_owned());
    }

    /// Returns whether a sign-in for more scopes has followed a challenge, and nothing has come of
    /// it yet.
    pub(crate) fn awaits_scopes(&self) -> bool {
        !self.facts().stepped_up.is_empty()
    }

    /// More scopes were what was missing.
    pub(crate) fn step_up_helped(&self) {
        self.facts().stepped_up.clear();
    }

    pub(crate) fn tools(&self) -> Option<Vec<ToolView>> {
        let cache = self.cache();
        cache.tools()
    }

    /// The server has sent a message.
    pub(crate) fn record_answered(&self) {
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
        request.method() == Some(LISTEN) || ServerCache::can_answer(request)
    }

    /// Our own answer in the server's place, which `problem` keeps from answering.
    pub(crate) fn answer(&self, request: &Message, problem: &Problem) -> Option<Message> {
        let server = &self.name;
        let unavailable = Unavailable { server, problem };
        self.cache().answer(request, unavailable)
    }

    /// Whether `request` asks for a list of which nothing is known.
    pub(crate) fn lacks(&self, request: &Message) -> bool {
        self.facts().cache.lacks(request)
    }

    /// The capabilities that hosts are told while the server cannot be asked, a JSON object.
    pub(crate) fn capabilities(&self) -> String {
        self.cache().capabilities()
    }

    /// Returns the stand-in tool that `request` calls, or `None` if the server has a tool of that
    /// name itself.
    pub(crate) fn stand_in(&self, request: &Message) -> Option<StandIn> {
        let tool = StandIn::called_by(request, &self.name)?;
        let name = tool.tool_name(&self.name);
        let is_own = self.facts().own_tools.contains(&name) || self.cache().has_tool(&name);
        (!is_own).then_some(tool)
    }

    /// Remembers what the server answered to `request`; says whether it is news.
    pub(crate) fn record_answer(&self, request: &Message, answer: &Message) -> bool {
        let (Some(method), Some(result)) = (request.method(), answer.result()) else {
            return false;
        };
        if method == "tools/list" {
            self.record_own_tools(result);
        }
        if !ServerCache::is_cacheable(request) {
            return false;
        }
        let before = self.facts().cache.before(method);
        let compare = || CachedResult::if_changed(method, result, before.cached.as_ref());
        let news = threads::pass(result.get().len(), compare);
        let is_noted =
            news.is_some_and(|cached| self.facts().cache.record(method, cached, &before));
        if is_noted {
            self.save(Change::More);
        }
        is_noted
    }

    /// Notes the server's tools that have the name of a stand-in tool, on whatever page of the list.
    fn record_own_tools(&self, listed: &RawValue) {
        for tool in [StandIn::SignIn, StandIn::Reconnect] {
            let name = tool.tool_name(&self.name);
            if json::contains(listed.get().as_bytes(), name.as_bytes()) && lists_tool(listed, &name)
            {
                self.facts().own_tools.insert(name);
            }
        }
    }

    /// Whether anybody ever signed in to it.
    pub(crate) fn was_signed_in(&self) -> bool {
        self.facts().cache.was_signed_in()
    }

    /// This account is the one that opens it now. What another one saw is forgotten.
    pub(crate) fn signed_in(&self, account: &AccountKey) {
        let mut facts = self.facts();
        facts.protected = true;
        facts.refusal = None;
        facts.sign_in_lookup = None;
        let change = facts.cache.record_account(&account_id(account));
        drop(facts);
        self.save(change);
    }

    /// The account that opened it has signed out, and what it saw is forgotten.
    pub(crate) fn signed_out(&self) {
        let mut facts = self.facts();
        facts.state = ServerState::SignInNeeded;
        facts.tokens = Tokens::default();
        let change = facts.cache.forget();
        drop(facts);
        self.save(change);
    }

    /// It was removed, and with it what was seen of it.
    pub(crate) fn forget(&self) {
        if let Some(file) = &self.cache_file
            && let Err(reason) = threads::blocking(|| file.remove())
        {
            tracing::warn!(server = %self.name, %reason, "what was seen of the server stays");
        }
    }

    /// Copies what was seen, so that it is read without the lock.
    fn cache(&self) -> ServerCache {
        self.facts().cache.clone()
    }

    /// Has the change written down: more is written soon, and what was forgotten leaves the disk
    /// before this returns.
    fn save(&self, change: Change) {
        let Some(file) = &self.cache_file else {
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
        if let Some(file) = self.cache_file.as_ref().filter(|file| file.is_due()) {
            self.write(file);
        }
    }

    /// Returns whether it could be written.
    fn write(&self, file: &CacheFile) -> bool {
        // The server in this one's place has the file.
        if self.replaced.is_cancelled() {
            return true;
        }
        let written = file.write(|| self.cache());
        if let Err(reason) = &written {
            tracing::warn!(server = %self.name, %reason, "what was seen of the server is not kept");
        }
        written.is_ok()
    }
}
