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

use crate::bridge_state::Hub;
use crate::problem;
use crate::registry::Server;
use attempt::reopen;
use elicitation_queue::Callers;
pub(crate) use elicitation_queue::{Caller, Declined, Question, SentAt};
use prompt::Shown;

/// Who wants a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A click, or a command, of somebody who has a browser there.
    Person(SignInWay),
    /// A host called something that only a signed-in server can answer.
    Call,
    /// The same, and a sign-in was made for that call before: it joins one, and starts none.
    CallAgain,
    /// A host connected to a server that nobody ever signed in to, and no desktop app shows that.
    FirstContact,
}

/// How a page comes to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As a person wishes, or by a browser that is opened here.
    Own(SignInWay),
    /// By a host that is asked to show it.
    Host,
}

/// The way of a sign-in, and which of its flows is on it. Every flow has an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Course {
    way: Way,
    flow: u32,
}

/// How a sign-in ends.
type End = Result<(), Problem>;

/// A sign-in under way, for those who wait for its end.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    /// When it began.
    pub(crate) since: Instant,
    end: watch::Receiver<Option<End>>,
}

impl Awaited {
    /// How it ended, or `None` as long as it goes on.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.borrow().clone()
    }

    /// Waits for its end. Returns `None` if it was abandoned without one.
    pub(crate) async fn until_end(&mut self) -> Option<End> {
        let end = self.end.wait_for(Option::is_some).await;
        end.ok().and_then(|end| end.clone())
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
    deserted: bool,
}

#[derive(Debug)]
struct Pending {
    shown: Option<Shown>,
    since: UnixSeconds,
    awaited: Awaited,
    course: watch::Sender<Course>,
    callers: Callers,
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
            let shown = pending.shown.as_ref()?;
            shown.view(server.clone(), pending.since)
        };
        inner.pending.iter().filter_map(view).collect()
    }

    /// Whether a sign-in to that server is under way.
    pub(crate) fn awaits(&self, server: &str) -> bool {
        self.inner().pending.contains_key(server)
    }

    /// Adds to a `problem` that asks for a sign-in what the user can do about it now: complete the one
    /// that waits. Where no page opens by itself, it says why.
    pub(crate) fn told(&self, server: &ServerName, problem: Problem) -> Problem {
        if problem.kind != ProblemKind::SignInNeeded {
            return problem;
        }
        let inner = self.inner();
        if let Some(pending) = inner.pending.get(server.as_str()) {
            let shown = pending.shown.as_ref();
            return match shown.and_then(|shown| shown.hint(server.as_str())) {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            };
        }
        let why = match (inner.unanswered.get(server.as_str()), &inner.deserted) {
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
    pub(crate) async fn hand_in(&self, server: &str, address: &BrowserAnswer) -> End {
        let hand_in = {
            let inner = self.inner();
            let pending = inner.pending.get(server);
            pending.and_then(|pending| pending.shown.as_ref()?.hand_in())
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
    pub(crate) fn approve(&self, server: &str, resource: &str, audience: Option<&str>) -> End {
        let inner = self.inner();
        let pending = inner.pending.get(server);
        let shown = pending.and_then(|pending| pending.shown.as_ref());
        match shown.is_some_and(|shown| shown.approve(resource, audience)) {
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
            Some(pending) if pending.is_unseen() => pending.shown = None,
            // A question that waits at a terminal and in the window says nothing of who sees pages.
            Some(pending) if pending.asks_for_approval() => {}
            Some(_) | None => inner.deserted = true,
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
    fn way(&self) -> Way {
        self.course.borrow().way
    }

    /// Returns whether the user has to approve a resource, which no page asks for.
    fn asks_for_approval(&self) -> bool {
        matches!(self.shown, Some(Shown::Approval { .. }))
    }

    /// Takes the page from the hosts, which are not asked any longer, to a person who wants it on
    /// that way. The flow goes on, and its address stays good, unless the way needs another flow.
    fn take(&mut self, way: SignInWay) {
        let Course { way: before, flow } = *self.course.borrow();
        let stays = match &self.shown {
            // A question has no address. What follows it goes by the way that is wanted then.
            Some(Shown::Approval { .. }) => way != SignInWay::Here,
            None | Some(Shown::Replaced) => {
                before == Way::Own(way) || (before == Way::Host && way == SignInWay::Here)
            }
            Some(shown) => shown.is_on(way),
        };
        let flow = match (stays, before) {
            (true, Way::Own(_)) if !self.asks_for_approval() => return,
            (true, Way::Own(_) | Way::Host) => flow,
            (false, _) => {
                self.shown = self.shown.take().map(|_| Shown::Replaced);
                flow + 1
            }
        };
        let way = Way::Own(way);
        self.course.send_replace(Course { way, flow });
        self.callers.withdraw();
    }
}

/// Starts a sign-in, or joins the one under way. `None` if the wish is not strong enough.
///
/// Where `caller` is there, its host is asked to show the page, and no browser is opened.
pub(crate) fn begin(
    hub: &Arc<Hub>,
    server: &Arc<Server>,
    wish: Wish,
    caller: Option<Caller>,
) -> Option<Awaited> {
    begin_as(hub, server, wish, Whom::Same, caller)
}

fn begin_as(
    hub: &Arc<Hub>,
    server: &Arc<Server>,
    wish: Wish,
    whom: Whom,
    caller: Option<Caller>,
) -> Option<Awaited> {
    let mut inner = hub.sign_ins.inner();
    let name = server.name.as_str();
    let now = hub.options.clock.unix();
    if let Some(pending) = inner.pending.get_mut(name) {
        let awaited = pending.awaited.clone();
        match wish {
            Wish::Person(SignInWay::Here) => {
                let lost = pending.shown.as_mut().and_then(|shown| shown.lost(now));
                if let Some(page) = lost {
                    reopen(hub, server, page);
                }
                if pending.way() == Way::Host {
                    pending.take(SignInWay::Here);
                }
            }
            Wish::Person(way) => pending.take(way),
            Wish::Call | Wish::CallAgain | Wish::FirstContact => pending.callers.join(caller),
        }
        return Some(awaited);
    }
    let may = match wish {
        Wish::Person(_) => true,
        Wish::Call | Wish::FirstContact => {
            inner.pending.is_empty()
                && !inner.unanswered.contains_key(name)
                && !inner.deserted
                && in_vain(hub, server).is_none()
        }
        Wish::CallAgain => false,
    };
    if !may {
        return None;
    }
    if matches!(wish, Wish::Person(_)) {
        server.forget_vain_sign_ins();
    }
    inner.unanswered.remove(name);
    inner.deserted = false;
    let (tell, end) = watch::channel(None);
    let awaited = Awaited {
        since: Instant::now(),
        end,
    };
    let cancel = CancellationToken::new();
    let way = match (wish, &caller) {
        (Wish::Person(way), _) => Way::Own(way),
        (Wish::Call | Wish::CallAgain | Wish::FirstContact, None) => Way::Own(SignInWay::Here),
        (Wish::Call | Wish::CallAgain | Wish::FirstContact, Some(_)) => Way::Host,
    };
    let (course, courses) = watch::channel(Course { way, flow: 0 });
    let mut callers = Callers::default();
    callers.join(caller);
    inner.pending.insert(
        name.to_owned(),
        Pending {
            shown: None,
            since: now,
            awaited: awaited.clone(),
            course,
            callers,
            cancel: cancel.clone(),
        },
    );
    drop(inner);
    let (hub, server) = (Arc::clone(hub), Arc::clone(server));
    hub.clone().spawn(async move {
        let ended = attempt::run(&hub, &server, whom, courses, cancel).await;
        let pending = finish(&hub, &server, &ended);
        tell.send_replace(Some(ended));
        // A question that is still open is withdrawn with it, and the end is known then.
        drop(pending);
    });
    Some(awaited)
}

/// Why no sign-in to the server starts by itself, where the server refuses what the last one brought.
pub(crate) fn in_vain(hub: &Hub, server: &Server) -> Option<Problem> {
    let account = hub.identity.account_for(&server.target());
    server.sign_in_in_vain(account.map(|account| account.key).as_ref())
}

/// Starts or joins a sign-in and waits for its end.
pub(crate) async fn until_end(hub: &Arc<Hub>, server: &Arc<Server>, wish: Wish) -> End {
    ended(server, begin(hub, server, wish, None)).await
}

/// Has another account open the server: `account`, or whom the person chooses.
pub(crate) async fn switch(
    hub: &Arc<Hub>,
    server: &Arc<Server>,
    account: Option<Account>,
    way: SignInWay,
) -> End {
    let whom = match account {
        None => Whom::Chosen,
        Some(account) => {
            let target = server.target();
            let switched = hub.identity.switch_account(&target, &account.key).await;
            if switched.map_err(|error| problem::of_authorization(server, &error))? {
                server.forget_vain_sign_ins();
                server.signed_in(&account.key);
                hub.accounts_changed();
                hub.changed();
                return Ok(());
            }
            let issuer = account.key.issuer;
            let username = account.username;
            username.map_or(Whom::Chosen, |username| Whom::Named { username, issuer })
        }
    };
    if hub.sign_ins.awaits(server.name.as_str()) {
        let text = "a sign-in to the server waits for the browser already";
        return Err(
            Problem::new(ProblemKind::InUse, text).with_hint("finish or cancel that one first")
        );
    }
    let begun = begin_as(hub, server, Wish::Person(way), whom, None);
    ended(server, begun).await
}

async fn ended(server: &Server, begun: Option<Awaited>) -> End {
    let Some(mut begun) = begun else {
        return Err(problem::sign_in_needed(&server.name));
    };
    let ended = begun.until_end().await;
    ended.unwrap_or_else(|| Err(cancelled(server)))
}

fn finish(hub: &Arc<Hub>, server: &Server, ended: &End) -> Option<Pending> {
    let mut inner = hub.sign_ins.inner();
    let name = server.name.as_str();
    let pending = inner.pending.remove(name);
    let shown = pending
        .as_ref()
        .is_some_and(|pending| pending.shown.is_some());
    match ended {
        Ok(()) => {
            inner.deserted = false;
            drop(inner);
            tracing::info!(server = name, "signed in");
        }
        Err(problem) => {
            server.note_sign_in_problem(problem);
            if shown {
                inner.unanswered.insert(name.to_owned(), problem.clone());
            }
            drop(inner);
            tracing::warn!(server = name, %problem, "the sign-in ended");
        }
    }
    hub.changed();
    pending
}

/// Somebody did not want to sign in.
pub(crate) fn cancelled(server: &Server) -> Problem {
    Problem::new(ProblemKind::SignInEnded, "the sign-in was cancelled").with_hint(format!(
        "start it again from the tray menu or with `postern sign-in {}`",
        server.name
    ))
}
