//! One server: its configuration, and what its sessions have learned about it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::{AccountKey, Authorization, Target, TokenNumber};
use control::api::{Problem, ServerState, ToolView};
use mcp::subscription::LISTEN;
use mcp::upstream::ServerTraits;
use mcp::{Message, json};
use model::ServerName;
use model::config::{ServerAuth, ServerConfig};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sign_in_lookup::{SignInLookup, names_metadata};
use super::tokens::{Refused, Tokens};
use crate::account_id::account_id;
use crate::problem;
use crate::server_cache::{CacheFile, CachedResult, Change, ServerCache, Unavailable, lists_tool};
use crate::stand_in::StandIn;

/// One server, as long as its configuration stays the same.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: ServerName,
    pub(crate) config: ServerConfig,
    target: Arc<Target>,
    /// Whether it came from `connect URL` and is in no configuration.
    pub(crate) ephemeral: bool,
    /// The file of its cache. An ephemeral server has none.
    cache_file: Option<Arc<CacheFile>>,
    /// Cancelled when the configuration changes or removes this server.
    pub(crate) replaced: CancellationToken,
    /// What its connections have learned about its transport.
    pub(crate) learned: Arc<ServerTraits>,
    facts: Mutex<ServerFacts>,
    answered: LastAnswer,
}

/// When a server responded last.
#[derive(Debug)]
struct LastAnswer {
    start: Instant,
    /// Milliseconds since `start`. 0 before the first response.
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

/// For how long after its last response an unreachable server is assumed to be restarting.
const RESTART_TIME: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct ServerFacts {
    state: ServerState,
    cache: ServerCache,
    /// Whether it ever required a sign-in, and the last `WWW-Authenticate`.
    protected: bool,
    challenge: Option<String>,
    /// Its explanation of the last 401.
    refusal_words: Option<String>,
    /// Whether it was found to offer a sign-in.
    sign_in_lookup: Option<SignInLookup>,
    /// The last error response of the authorization server.
    refusal: Option<Problem>,
    /// The challenges that a sign-in for more scopes has followed without success so far.
    stepped_up: BTreeSet<String>,
    tokens: Tokens,
    /// Its tools whose names are also those of stand-in tools.
    own_tools: BTreeSet<String>,
}

/// The maximum number of sign-ins for more scopes without success.
const MAX_STEP_UPS: usize = 3;

impl Server {
    /// Creates a server of the configuration, which may replace one of the same name.
    pub(super) fn configured(
        name: ServerName,
        config: ServerConfig,
        before: Option<&Self>,
        file: impl FnOnce() -> CacheFile,
    ) -> Self {
        let before = before.and_then(|before| Some((before, before.cache_file.clone()?)));
        // The file may be older than what that server has cached.
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

    /// Creates a server that is in no configuration.
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
        let target = Target::new(config.url.clone(), config.auth.clone());
        Self {
            name,
            config,
            target: Arc::new(target),
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

    /// The target that `auth` uses.
    pub(crate) fn target(&self) -> Arc<Target> {
        Arc::clone(&self.target)
    }

    /// The names of the configured headers.
    pub(crate) fn header_names(&self) -> Vec<String> {
        let headers = self.config.headers.iter();
        headers.map(|(name, _)| name.to_string()).collect()
    }

    /// Returns true if its configuration refers to stored secrets.
    pub(crate) fn needs_secrets(&self) -> bool {
        self.config.secrets().next().is_some()
    }

    pub(crate) fn state(&self) -> ServerState {
        self.facts().state.clone()
    }

    /// Sets the state. Returns true if it changed.
    pub(crate) fn set_state(&self, state: ServerState) -> bool {
        let mut facts = self.facts();
        let changed = facts.state != state;
        facts.state = state;
        changed
    }

    /// Records why no account is signed in, if the authorization server gave the reason.
    pub(crate) fn record_sign_in_problem(&self, problem: &Problem) {
        if problem.refusal.is_some() {
            self.facts().refusal = Some(problem.clone());
        }
    }

    /// Returns the error of the authorization server, or of the server about the tokens of the last
    /// sign-in, while the user has to sign in.
    pub(crate) fn sign_in_problem(&self) -> Option<Problem> {
        let facts = self.facts();
        if facts.state != ServerState::SignInNeeded {
            return None;
        }
        let refused = facts.tokens.refused_after_sign_in();
        let problem = refused.map(|refused| self.refused_after_sign_in(refused));
        problem.or_else(|| facts.refusal.clone())
    }

    /// Records the first token of a successful sign-in.
    pub(crate) fn record_first_token(&self, number: Option<TokenNumber>) {
        self.facts().tokens.first = number;
    }

    /// Records that the server has accepted a request with this token.
    pub(crate) fn record_accepted_token(&self, number: TokenNumber) {
        let accepted = &mut self.facts().tokens.accepted;
        *accepted = (*accepted).max(Some(number));
    }

    /// Records that the server has accepted a call with this token. Sign-ins may help again unless
    /// it has rejected a newer token.
    pub(crate) fn record_accepted_call(&self, number: TokenNumber) {
        let refused = &mut self.facts().tokens.refused;
        *refused = refused.take().filter(|refused| refused.number > number);
    }

    /// Records a 401 for this token. `after_own_sign_in` says that the request was a call for which
    /// a sign-in was made.
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

    /// Returns why no sign-in of `account` starts by itself: the server rejects the tokens of the
    /// last one. That ends when the user asks for a sign-in or signs out, or when the server
    /// accepts a call. Returns `None` if a sign-in may start.
    pub(crate) fn refusal_after_sign_in(&self, account: Option<&AccountKey>) -> Option<Problem> {
        let facts = self.facts();
        let refused = facts.tokens.refused_after_sign_in()?;
        account
            .is_none_or(|account| *account == refused.account)
            .then(|| self.refused_after_sign_in(refused))
    }

    fn refused_after_sign_in(&self, refused: &Refused) -> Problem {
        problem::refused_after_sign_in(&self.name, &self.config.auth, refused.words.as_deref())
    }

    /// The user starts a sign-in: earlier failures no longer limit it.
    pub(crate) fn allow_sign_ins_again(&self) {
        let mut facts = self.facts();
        facts.stepped_up.clear();
        facts.tokens.refused = None;
    }

    /// Records a 401, or a 403 with the missing scopes.
    pub(crate) fn record_challenge(&self, challenge: Option<String>) {
        let mut facts = self.facts();
        facts.protected = true;
        if challenge.as_deref().is_some_and(names_metadata) {
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

    /// Records the explanation of a 401.
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

    /// Returns true if the server answers 401 and offers no way to sign in.
    pub(crate) fn names_no_sign_in(&self) -> bool {
        self.sign_in_lookup().is_some_and(|found| found.is_none)
    }

    /// Returns true if a sign-in may follow this challenge by itself: once per challenge, and
    /// [`MAX_STEP_UPS`] times until one succeeds.
    pub(crate) fn may_step_up(&self, challenge: &str) -> bool {
        let tried = &self.facts().stepped_up;
        tried.len() < MAX_STEP_UPS && !tried.contains(challenge)
    }

    /// Records that a sign-in follows this challenge.
    pub(crate) fn record_step_up(&self, challenge: &str) {
        self.facts().stepped_up.insert(challenge.to_owned());
    }

    /// Returns true if a sign-in for more scopes was made and has not succeeded yet.
    pub(crate) fn awaits_scopes(&self) -> bool {
        !self.facts().stepped_up.is_empty()
    }

    /// Records that more scopes have helped.
    pub(crate) fn step_up_helped(&self) {
        self.facts().stepped_up.clear();
    }

    pub(crate) fn tools(&self) -> Option<Vec<ToolView>> {
        let cache = self.cache();
        cache.tools()
    }

    /// Records that the server has sent a message.
    pub(crate) fn record_answered(&self) {
        let now = self.answered.now().max(1);
        self.answered.last.store(now, Ordering::Relaxed);
    }

    /// Returns true if it sent one within [`RESTART_TIME`].
    pub(crate) fn has_just_answered(&self) -> bool {
        let last = self.answered.last.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.answered.now().saturating_sub(last));
        last > 0 && since < RESTART_TIME
    }

    /// Returns true if the bridge can answer this request itself. A subscription is answered with
    /// an acknowledgement.
    pub(crate) fn can_answer(&self, request: &Message) -> bool {
        request.method() == Some(LISTEN) || ServerCache::can_answer(request)
    }

    /// Answers for the server, which cannot respond because of `problem`.
    pub(crate) fn answer(&self, request: &Message, problem: &Problem) -> Option<Message> {
        let server = &self.name;
        let unavailable = Unavailable { server, problem };
        self.cache().answer(request, unavailable)
    }

    /// Returns true if `request` asks for a list that is not cached.
    pub(crate) fn lacks(&self, request: &Message) -> bool {
        self.facts().cache.lacks(request)
    }

    /// Returns the capabilities for hosts while the server cannot be asked, as a JSON object.
    pub(crate) fn capabilities(&self) -> String {
        self.cache().capabilities()
    }

    /// Returns the stand-in tool that `request` calls. Returns `None` if the server itself has a
    /// tool of that name.
    pub(crate) fn stand_in(&self, request: &Message) -> Option<StandIn> {
        let tool = StandIn::called_by(request, &self.name)?;
        let name = tool.tool_name(&self.name);
        let is_own = self.facts().own_tools.contains(&name) || self.cache().has_tool(&name);
        (!is_own).then_some(tool)
    }

    /// Caches the server's response to `request`. Returns true if it changed.
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

    /// Records the server's tools that have the name of a stand-in tool, on any page of the list.
    fn record_own_tools(&self, listed: &RawValue) {
        for tool in [StandIn::SignIn, StandIn::Reconnect] {
            let name = tool.tool_name(&self.name);
            if json::contains(listed.get().as_bytes(), name.as_bytes()) && lists_tool(listed, &name)
            {
                self.facts().own_tools.insert(name);
            }
        }
    }

    /// Returns true if an account ever signed in to it.
    pub(crate) fn was_signed_in(&self) -> bool {
        self.facts().cache.was_signed_in()
    }

    /// Records the account that uses it now. Forgets what another account saw.
    pub(crate) fn signed_in(&self, account: &AccountKey) {
        let mut facts = self.facts();
        facts.protected = true;
        facts.refusal = None;
        facts.sign_in_lookup = None;
        let change = facts.cache.record_account(&account_id(account));
        drop(facts);
        self.save(change);
    }

    /// The account has signed out. Forgets what it saw.
    pub(crate) fn signed_out(&self) {
        let mut facts = self.facts();
        facts.state = ServerState::SignInNeeded;
        facts.tokens = Tokens::default();
        let change = facts.cache.forget();
        drop(facts);
        self.save(change);
    }

    /// The server was removed. Deletes its cache file.
    pub(crate) fn forget(&self) {
        if let Some(file) = &self.cache_file
            && let Err(reason) = threads::blocking(|| file.remove())
        {
            tracing::warn!(server = %self.name, %reason, "the cache of the server cannot be deleted");
        }
    }

    /// Copies the cache, so that it is read without the lock.
    fn cache(&self) -> ServerCache {
        self.facts().cache.clone()
    }

    /// Saves a change. Additions are written soon. What was forgotten leaves the disk before this
    /// returns.
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
                    tracing::error!(server = %self.name, %reason, "the cache of another account cannot be deleted");
                }
            }),
        }
    }

    /// Writes the cache if that is due. Blocks.
    pub(super) fn save_if_due(&self) {
        if let Some(file) = self.cache_file.as_ref().filter(|file| file.is_due()) {
            self.write(file);
        }
    }

    /// Returns true if it was written.
    fn write(&self, file: &CacheFile) -> bool {
        // The server that replaced this one owns the file.
        if self.replaced.is_cancelled() {
            return true;
        }
        let written = file.write(|| self.cache());
        if let Err(reason) = &written {
            tracing::warn!(server = %self.name, %reason, "the cache of the server cannot be written");
        }
        written.is_ok()
    }
}
