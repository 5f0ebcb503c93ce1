//! Starts sign-ins, and delivers their pages to the user.
//!
//! Invariants: each server has at most one sign-in at a time. Only the user can start one while
//! another page waits, after a page was not answered, or while the server rejects the tokens of the
//! last sign-in. Lists, probes and timers never start one. A host that can show pages is asked to
//! show the page, and no browser is opened then.

mod attempt;
mod elicitation_queue;
mod prompt;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auth::{Account, Whom};
use control::api::{BrowserAnswer, Problem, ProblemKind, SignInView, SignInWay, UnixSeconds};
use model::ServerName;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bridge_state::BridgeState;
use crate::registry::Server;
use crate::{problem, server_problem};
use attempt::reopen;
use elicitation_queue::HostQueue;
pub(crate) use elicitation_queue::{Declined, ElicitationRequest, ElicitationSender, SentAt};
use prompt::SignInPrompt;

/// What starts a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignInTrigger {
    /// A click or a command of the user, who chose how to get the page.
    User(SignInWay),
    /// A host called a tool of a server that needs a sign-in.
    ToolCall,
    /// The same, but a sign-in was made for that call before. It joins a sign-in and starts none.
    RepeatedCall,
    /// A host connected to a server that no account has ever signed in to, and no desktop app shows
    /// that.
    FirstConnection,
}

/// How the user gets the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageDelivery {
    /// As the user chose, or in a browser that the bridge opens.
    Direct(SignInWay),
    /// From a host that is asked to show it.
    Host,
}

/// The delivery of a sign-in, and the number of its current flow. Every flow has its own URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DeliveryPlan {
    delivery: PageDelivery,
    flow: u32,
}

/// How a sign-in ends.
type SignInResult = Result<(), Problem>;

/// A running sign-in, for those who wait for its result.
#[derive(Clone, Debug)]
pub(crate) struct OngoingSignIn {
    /// When it began.
    pub(crate) since: Instant,
    result: watch::Receiver<Option<SignInResult>>,
}

impl OngoingSignIn {
    /// Returns the result, or `None` while it is running.
    pub(crate) fn result(&self) -> Option<SignInResult> {
        self.result.borrow().clone()
    }

    /// Waits for the result. Returns `None` if the sign-in was dropped without one.
    pub(crate) async fn until_end(&mut self) -> Option<SignInResult> {
        let result = self.result.wait_for(Option::is_some).await;
        result.ok().and_then(|result| result.clone())
    }
}

/// The running sign-ins.
#[derive(Debug, Default)]
pub(crate) struct SignIns(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pending: BTreeMap<String, Pending>,
    /// Servers whose last page was not answered or was declined, with the error of that sign-in.
    unanswered: BTreeMap<String, Problem>,
    /// Whether the last page timed out: the user is away and would not see another one.
    page_ignored: bool,
}

#[derive(Debug)]
struct Pending {
    prompt: Option<SignInPrompt>,
    since: UnixSeconds,
    ongoing: OngoingSignIn,
    plan: watch::Sender<DeliveryPlan>,
    hosts: HostQueue,
    cancel: CancellationToken,
}

impl SignIns {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pages that wait for the user.
    pub(crate) fn views(&self) -> Vec<SignInView> {
        let inner = self.inner();
        let view = |(server, pending): (&String, &Pending)| {
            let prompt = pending.prompt.as_ref()?;
            prompt.view(server.clone(), pending.since)
        };
        inner.pending.iter().filter_map(view).collect()
    }

    /// Returns true if a sign-in to that server is running.
    pub(crate) fn awaits(&self, server: &str) -> bool {
        self.inner().pending.contains_key(server)
    }

    /// Adds to a `problem` that asks for a sign-in what the user can do now: complete the page that
    /// waits. If no page opens by itself, adds the reason.
    pub(crate) fn with_next_step(&self, server: &ServerName, problem: Problem) -> Problem {
        if problem.kind != ProblemKind::SignInNeeded {
            return problem;
        }
        let inner = self.inner();
        if let Some(pending) = inner.pending.get(server.as_str()) {
            let prompt = pending.prompt.as_ref();
            return match prompt.and_then(|prompt| prompt.hint(server.as_str())) {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            };
        }
        let why = match (inner.unanswered.get(server.as_str()), &inner.page_ignored) {
            (Some(ended), _) => {
                format!(
                    "because the last sign-in did not succeed ({})",
                    ended.message
                )
            }
            (None, true) => "because the last page was left unanswered".to_owned(),
            (None, false) => match inner.pending.keys().next() {
                Some(other) => format!("because the sign-in to {other} waits for the user"),
                None => return problem,
            },
        };
        let message = format!("{}; no page opens by itself, {why}", problem.message);
        Problem { message, ..problem }
    }

    /// Submits the URL that a remote browser ended on.
    pub(crate) async fn submit_address(
        &self,
        server: &str,
        address: &BrowserAnswer,
    ) -> SignInResult {
        let hand_in = {
            let inner = self.inner();
            let pending = inner.pending.get(server);
            pending.and_then(|pending| pending.prompt.as_ref()?.hand_in())
        };
        let Some(hand_in) = hand_in else {
            return Err(Problem::new(
                ProblemKind::NotFound,
                "no sign-in waits for the address of a page",
            )
            .with_hint(format!("begin with `postern sign-in {server} --paste`")));
        };
        let given = hand_in.give(address.expose()).await;
        given.map_err(|error| Problem::from_text(ProblemKind::Invalid, &error.to_string()))
    }

    /// Approves the resource that a sign-in waits for, and continues it.
    ///
    /// # Errors
    ///
    /// Returns `NotFound` if no sign-in to that server waits for the approval of that resource.
    pub(crate) fn approve(
        &self,
        server: &str,
        resource: &str,
        audience: Option<&str>,
    ) -> SignInResult {
        let inner = self.inner();
        let pending = inner.pending.get(server);
        let prompt = pending.and_then(|pending| pending.prompt.as_ref());
        match prompt.is_some_and(|prompt| prompt.approve(resource, audience)) {
            true => Ok(()),
            false => Err(Problem::new(
                ProblemKind::NotFound,
                format!("no sign-in to {server} waits for the approval of {resource}"),
            )
            .with_hint(format!("start one with `postern sign-in {server}`"))),
        }
    }

    /// Handles a page that timed out. That says nothing about a user who never saw it.
    fn time_out(&self, server: &ServerName) {
        let mut inner = self.inner();
        match inner.pending.get_mut(server.as_str()) {
            Some(pending) if pending.is_unseen() => pending.prompt = None,
            // An approval in the window or at a terminal says nothing about who sees pages.
            Some(pending) if pending.asks_for_approval() => {}
            Some(_) | None => inner.page_ignored = true,
        }
    }

    /// Cancels the sign-in to that server. Returns true if there was one.
    pub(crate) fn cancel(&self, server: &str) -> bool {
        self.inner()
            .pending
            .get(server)
            .map(|pending| pending.cancel.cancel())
            .is_some()
    }
}

impl Pending {
    fn delivery(&self) -> PageDelivery {
        self.plan.borrow().delivery
    }

    /// Returns true if the user has to approve a resource outside the sign-in page.
    fn asks_for_approval(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Approval { .. }))
    }

    /// Delivers the page to the user by `way`. Hosts are not asked any longer. The flow continues
    /// and its URL stays valid unless `way` needs another flow.
    fn deliver_directly(&mut self, way: SignInWay) {
        let DeliveryPlan {
            delivery: before,
            flow,
        } = *self.plan.borrow();
        let stays = match &self.prompt {
            // An approval has no URL. The next page is delivered as the user chose.
            Some(SignInPrompt::Approval { .. }) => way != SignInWay::Here,
            None | Some(SignInPrompt::Replaced) => {
                before == PageDelivery::Direct(way)
                    || (before == PageDelivery::Host && way == SignInWay::Here)
            }
            Some(prompt) => prompt.fits(way),
        };
        let flow = match (stays, before) {
            (true, PageDelivery::Direct(_)) if !self.asks_for_approval() => return,
            (true, PageDelivery::Direct(_) | PageDelivery::Host) => flow,
            (false, _) => {
                self.prompt = self.prompt.take().map(|_| SignInPrompt::Replaced);
                flow + 1
            }
        };
        let delivery = PageDelivery::Direct(way);
        self.plan.send_replace(DeliveryPlan { delivery, flow });
        self.hosts.close();
    }
}

/// Starts a sign-in, or joins the running one. Returns `None` if `trigger` may not start one.
///
/// If `sender` is set, its host is asked to show the page, and no browser is opened.
pub(crate) fn begin(
    bridge: &Arc<BridgeState>,
    server: &Arc<Server>,
    trigger: SignInTrigger,
    sender: Option<ElicitationSender>,
) -> Option<OngoingSignIn> {
    begin_as(bridge, server, trigger, Whom::Same, sender)
}

fn begin_as(
    bridge: &Arc<BridgeState>,
    server: &Arc<Server>,
    trigger: SignInTrigger,
    selection: Whom,
    sender: Option<ElicitationSender>,
) -> Option<OngoingSignIn> {
    let mut inner = bridge.sign_ins.inner();
    let name = server.name.as_str();
    let now = bridge.options.clock.unix();
    if let Some(pending) = inner.pending.get_mut(name) {
        let ongoing = pending.ongoing.clone();
        match trigger {
            SignInTrigger::User(SignInWay::Here) => {
                let reopened = pending
                    .prompt
                    .as_mut()
                    .and_then(|prompt| prompt.page_to_reopen(now));
                if let Some(page) = reopened {
                    reopen(bridge, server, page);
                }
                if pending.delivery() == PageDelivery::Host {
                    pending.deliver_directly(SignInWay::Here);
                }
            }
            SignInTrigger::User(way) => pending.deliver_directly(way),
            SignInTrigger::ToolCall
            | SignInTrigger::RepeatedCall
            | SignInTrigger::FirstConnection => pending.hosts.join(sender),
        }
        return Some(ongoing);
    }
    let may = match trigger {
        SignInTrigger::User(_) => true,
        SignInTrigger::ToolCall | SignInTrigger::FirstConnection => {
            inner.pending.is_empty()
                && !inner.unanswered.contains_key(name)
                && !inner.page_ignored
                && refused_after_sign_in(bridge, server).is_none()
        }
        SignInTrigger::RepeatedCall => false,
    };
    if !may {
        return None;
    }
    if matches!(trigger, SignInTrigger::User(_)) {
        server.allow_sign_ins_again();
    }
    inner.unanswered.remove(name);
    inner.page_ignored = false;
    let (result_sender, result) = watch::channel(None);
    let ongoing = OngoingSignIn {
        since: Instant::now(),
        result,
    };
    let cancel = CancellationToken::new();
    let delivery = match (trigger, &sender) {
        (SignInTrigger::User(way), _) => PageDelivery::Direct(way),
        (
            SignInTrigger::ToolCall | SignInTrigger::RepeatedCall | SignInTrigger::FirstConnection,
            None,
        ) => PageDelivery::Direct(SignInWay::Here),
        (
            SignInTrigger::ToolCall | SignInTrigger::RepeatedCall | SignInTrigger::FirstConnection,
            Some(_),
        ) => PageDelivery::Host,
    };
    let (plan, plans) = watch::channel(DeliveryPlan { delivery, flow: 0 });
    let mut hosts = HostQueue::default();
    hosts.join(sender);
    inner.pending.insert(
        name.to_owned(),
        Pending {
            prompt: None,
            since: now,
            ongoing: ongoing.clone(),
            plan,
            hosts,
            cancel: cancel.clone(),
        },
    );
    drop(inner);
    let (bridge, server) = (Arc::clone(bridge), Arc::clone(server));
    bridge.clone().spawn(async move {
        let ended = attempt::run(&bridge, &server, selection, plans, cancel).await;
        let pending = finish(&bridge, &server, &ended);
        result_sender.send_replace(Some(ended));
        // Dropping it cancels the open elicitation. The result is known by then.
        drop(pending);
    });
    Some(ongoing)
}

/// Returns why no sign-in starts by itself: the server rejects the tokens of the last one. Returns
/// `None` otherwise.
pub(crate) fn refused_after_sign_in(bridge: &BridgeState, server: &Server) -> Option<Problem> {
    let account = bridge.identity.account_for(&server.target());
    server.refusal_after_sign_in(account.map(|account| account.key).as_ref())
}

/// Starts or joins a sign-in and waits for its result.
pub(crate) async fn until_end(
    bridge: &Arc<BridgeState>,
    server: &Arc<Server>,
    trigger: SignInTrigger,
) -> SignInResult {
    ended(server, begin(bridge, server, trigger, None)).await
}

/// Signs in to the server with another account: `account`, or the one that the user chooses.
pub(crate) async fn switch(
    bridge: &Arc<BridgeState>,
    server: &Arc<Server>,
    account: Option<Account>,
    way: SignInWay,
) -> SignInResult {
    let selection = match account {
        None => Whom::Chosen,
        Some(account) => {
            let target = server.target();
            let switched = bridge.identity.switch_account(&target, &account.key).await;
            if switched.map_err(|error| server_problem::from_authorization(server, &error))? {
                server.allow_sign_ins_again();
                server.signed_in(&account.key);
                bridge.accounts_changed();
                bridge.changed();
                return Ok(());
            }
            let issuer = account.key.issuer;
            let username = account.username;
            username.map_or(Whom::Chosen, |username| Whom::Named { username, issuer })
        }
    };
    if bridge.sign_ins.awaits(server.name.as_str()) {
        let text = "a sign-in to the server waits for the browser already";
        return Err(
            Problem::new(ProblemKind::InUse, text).with_hint("finish or cancel that one first")
        );
    }
    let begun = begin_as(bridge, server, SignInTrigger::User(way), selection, None);
    ended(server, begun).await
}

async fn ended(server: &Server, begun: Option<OngoingSignIn>) -> SignInResult {
    let Some(mut begun) = begun else {
        return Err(problem::sign_in_needed(&server.name));
    };
    let ended = begun.until_end().await;
    ended.unwrap_or_else(|| Err(cancelled(server)))
}

fn finish(bridge: &Arc<BridgeState>, server: &Server, ended: &SignInResult) -> Option<Pending> {
    let mut inner = bridge.sign_ins.inner();
    let name = server.name.as_str();
    let pending = inner.pending.remove(name);
    let prompt = pending
        .as_ref()
        .is_some_and(|pending| pending.prompt.is_some());
    match ended {
        Ok(()) => {
            inner.page_ignored = false;
            drop(inner);
            tracing::info!(server = name, "signed in");
        }
        Err(problem) => {
            server.record_sign_in_problem(problem);
            if prompt {
                inner.unanswered.insert(name.to_owned(), problem.clone());
            }
            drop(inner);
            tracing::warn!(server = name, %problem, "the sign-in ended");
        }
    }
    bridge.changed();
    pending
}

/// The user cancelled the sign-in.
pub(crate) fn cancelled(server: &Server) -> Problem {
    Problem::new(ProblemKind::SignInEnded, "the sign-in was cancelled").with_hint(format!(
        "start it again from the tray menu or with `postern sign-in {}`",
        server.name
    ))
}
