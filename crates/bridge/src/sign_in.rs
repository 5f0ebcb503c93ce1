//! When a browser may be opened, and what becomes of the page.
//!
//! Invariants: one sign-in at a time per server, however many ask; nothing but a person's own
//! wish opens a page while another one waits, after one was left unanswered, or while the server
//! refuses the tokens of the last sign-in; a list, a probe or a timer never comes here. A host that
//! can show a page is asked to, and none is opened then.

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
use crate::problem;
use crate::registry::Server;
use attempt::reopen;
use elicitation_queue::HostQueue;
pub(crate) use elicitation_queue::{Declined, ElicitationRequest, ElicitationSender, SentAt};
use prompt::SignInPrompt;

/// Who wants a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignInTrigger {
    /// A click, or a command, of somebody who has a browser there.
    User(SignInWay),
    /// A host called something that only a signed-in server can answer.
    ToolCall,
    /// The same, and a sign-in was made for that call before: it joins one, and starts none.
    RepeatedCall,
    /// A host connected to a server that nobody ever signed in to, and no desktop app shows that.
    FirstConnection,
}

/// How a page comes to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageDelivery {
    /// As a person wishes, or by a browser that is opened here.
    Direct(SignInWay),
    /// By a host that is asked to show it.
    Host,
}

/// The way of a sign-in, and which of its flows is on it. Every flow has an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DeliveryPlan {
    delivery: PageDelivery,
    flow: u32,
}

/// How a sign-in ends.
type SignInResult = Result<(), Problem>;

/// A sign-in under way, for those who wait for its end.
#[derive(Clone, Debug)]
pub(crate) struct OngoingSignIn {
    /// When it began.
    pub(crate) since: Instant,
    result: watch::Receiver<Option<SignInResult>>,
}

impl OngoingSignIn {
    /// How it ended, or `None` as long as it goes on.
    pub(crate) fn result(&self) -> Option<SignInResult> {
        self.result.borrow().clone()
    }

    /// Waits for its end. Returns `None` if it was abandoned without one.
    pub(crate) async fn until_end(&mut self) -> Option<SignInResult> {
        let result = self.result.wait_for(Option::is_some).await;
        result.ok().and_then(|result| result.clone())
    }
}

/// The sign-ins under way.
#[derive(Debug, Default)]
pub(crate) struct SignIns(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pending: BTreeMap<String, Pending>,
    /// Servers whose last page was left unanswered, or declined, and how that sign-in ended.
    unanswered: BTreeMap<String, Problem>,
    /// Whether the last page was left until it ended: nobody is there to see another one.
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

    /// The pages that wait for somebody.
    pub(crate) fn views(&self) -> Vec<SignInView> {
        let inner = self.inner();
        let view = |(server, pending): (&String, &Pending)| {
            let prompt = pending.prompt.as_ref()?;
            prompt.view(server.clone(), pending.since)
        };
        inner.pending.iter().filter_map(view).collect()
    }

    /// Whether a sign-in to that server is under way.
    pub(crate) fn awaits(&self, server: &str) -> bool {
        self.inner().pending.contains_key(server)
    }

    /// Adds to a `problem` that asks for a sign-in what the user can do about it now: complete the one
    /// that waits. Where no page opens by itself, it says why.
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

    /// Brings the address that a browser elsewhere ended on.
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

    /// Approves the resource that a sign-in waits for, and lets it go on.
    ///
    /// # Errors
    ///
    /// `NotFound`, if no sign-in to that server waits for the approval of that resource.
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

    /// Nobody did anything on the page of that server until it ended. That says nothing about
    /// whoever never saw it.
    fn time_out(&self, server: &ServerName) {
        let mut inner = self.inner();
        match inner.pending.get_mut(server.as_str()) {
            Some(pending) if pending.is_unseen() => pending.prompt = None,
            // A question that waits at a terminal and in the window says nothing of who sees pages.
            Some(pending) if pending.asks_for_approval() => {}
            Some(_) | None => inner.page_ignored = true,
        }
    }

    /// Ends the sign-in of that server; says whether there was one.
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

    /// Returns whether the user has to approve a resource, which no page asks for.
    fn asks_for_approval(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Approval { .. }))
    }

    /// Takes the page from the hosts, which are not asked any longer, to a person who wants it on
    /// that way. The flow goes on, and its address stays good, unless the way needs another flow.
    fn deliver_directly(&mut self, way: SignInWay) {
        let DeliveryPlan {
            delivery: before,
            flow,
        } = *self.plan.borrow();
        let stays = match &self.prompt {
            // A question has no address. What follows it goes by the way that is wanted then.
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

/// Starts a sign-in, or joins the one under way. `None` if the wish is not strong enough.
///
/// Where `sender` is there, its host is asked to show the page, and no browser is opened.
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
        // A question that is still open is withdrawn with it, and the end is known then.
        drop(pending);
    });
    Some(ongoing)
}

/// Why no sign-in to the server starts by itself, where the server refuses what the last one brought.
pub(crate) fn refused_after_sign_in(bridge: &BridgeState, server: &Server) -> Option<Problem> {
    let account = bridge.identity.account_for(&server.target());
    server.refusal_after_sign_in(account.map(|account| account.key).as_ref())
}

/// Starts or joins a sign-in and waits for its end.
pub(crate) async fn until_end(
    bridge: &Arc<BridgeState>,
    server: &Arc<Server>,
    trigger: SignInTrigger,
) -> SignInResult {
    ended(server, begin(bridge, server, trigger, None)).await
}

/// Has another account open the server: `account`, or whom the person chooses.
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
            if switched.map_err(|error| problem::from_authorization(server, &error))? {
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

/// Somebody did not want to sign in.
pub(crate) fn cancelled(server: &Server) -> Problem {
    Problem::new(ProblemKind::SignInEnded, "the sign-in was cancelled").with_hint(format!(
        "start it again from the tray menu or with `postern sign-in {}`",
        server.name
    ))
}
