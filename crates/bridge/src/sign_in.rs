//! When a browser may be opened, and what becomes of the page.
//!
//! Invariants: one sign-in at a time per server, however many ask; nothing but a person's own
//! wish opens a page while another one waits, or after one was left unanswered; a list, a probe
//! or a timer never comes here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auth::{Account, SignInError, Whom};
use control::api::{Problem, ProblemKind, SignInView, UnixSeconds};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::hub::Hub;
use crate::registry::Server;
use crate::{browser, problem};

/// Who wants a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A click, or a command.
    Person,
    /// A host called something that only a signed-in server can answer.
    Call,
    /// A host connected to a server that nobody ever signed in to, and no desktop app shows that.
    FirstContact,
}

/// After how many seconds a person who asks again is taken to have lost the page.
const LOST: UnixSeconds = 5;

/// How a sign-in ends.
type End = Result<(), Problem>;

/// The sign-ins under way.
#[derive(Debug, Default)]
pub(crate) struct SignIns(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pending: BTreeMap<String, Pending>,
    /// Servers whose last page was left unanswered, or declined.
    unanswered: BTreeSet<String>,
    /// Whether the last page was left until it ended: nobody is there to see another one.
    deserted: bool,
}

#[derive(Debug)]
struct Pending {
    page: Option<Page>,
    since: UnixSeconds,
    end: watch::Receiver<Option<End>>,
    cancel: CancellationToken,
}

#[derive(Clone, Debug)]
struct Page {
    url: Url,
    /// When it was opened last.
    opened: UnixSeconds,
    browser_problem: Option<String>,
}

impl SignIns {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pages that wait for somebody.
    pub(crate) fn views(&self) -> Vec<SignInView> {
        let inner = self.inner();
        let view = |(server, pending): (&String, &Pending)| {
            pending.page.as_ref().map(|page| SignInView {
                server: server.clone(),
                url: page.url.to_string(),
                browser_problem: page.browser_problem.clone(),
                since: pending.since,
            })
        };
        inner.pending.iter().filter_map(view).collect()
    }

    /// Whether a sign-in to that server is under way.
    pub(crate) fn awaits(&self, server: &str) -> bool {
        self.inner().pending.contains_key(server)
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

/// Starts a sign-in, or joins the one under way. `None` if the wish is not strong enough.
pub(crate) fn begin(
    hub: &Arc<Hub>,
    server: &Arc<Server>,
    wish: Wish,
) -> Option<watch::Receiver<Option<End>>> {
    begin_as(hub, server, wish, Whom::Same)
}

fn begin_as(
    hub: &Arc<Hub>,
    server: &Arc<Server>,
    wish: Wish,
    whom: Whom,
) -> Option<watch::Receiver<Option<End>>> {
    let mut inner = hub.sign_ins.inner();
    let name = server.name.as_str();
    let now = hub.options.clock.unix();
    if let Some(pending) = inner.pending.get_mut(name) {
        let end = pending.end.clone();
        let page = pending.page.as_mut().filter(|_| wish == Wish::Person);
        if let Some(page) = page.filter(|page| now >= page.opened + LOST) {
            page.opened = now;
            reopen(hub, server, page.url.clone());
        }
        return Some(end);
    }
    let may = match wish {
        Wish::Person => true,
        Wish::Call | Wish::FirstContact => {
            inner.pending.is_empty() && !inner.unanswered.contains(name) && !inner.deserted
        }
    };
    if !may {
        return None;
    }
    if wish == Wish::Person {
        server.step_up_helped();
    }
    inner.unanswered.remove(name);
    inner.deserted = false;
    let (tell, end) = watch::channel(None);
    let cancel = CancellationToken::new();
    inner.pending.insert(
        name.to_owned(),
        Pending {
            page: None,
            since: now,
            end: end.clone(),
            cancel: cancel.clone(),
        },
    );
    drop(inner);
    let (hub, server) = (Arc::clone(hub), Arc::clone(server));
    hub.clone().spawn(async move {
        let ended = run(&hub, &server, whom, cancel).await;
        finish(&hub, &server, &ended);
        tell.send_replace(Some(ended));
    });
    Some(end)
}

/// Starts or joins a sign-in and waits for its end.
pub(crate) async fn until_end(hub: &Arc<Hub>, server: &Arc<Server>, wish: Wish) -> End {
    match begin(hub, server, wish) {
        Some(end) => ended(server, end).await,
        None => Err(problem::sign_in_needed(&server.name)),
    }
}

/// Has another account open the server: `account`, or whom the person chooses.
pub(crate) async fn switch(hub: &Arc<Hub>, server: &Arc<Server>, account: Option<Account>) -> End {
    let whom = match account {
        None => Whom::Chosen,
        Some(account) => {
            let target = server.target();
            let switched = hub.identity.switch_account(&target, &account.key).await;
            if switched.map_err(|error| problem::of_authorization(server, &error))? {
                server.signed_in(&account.key);
                hub.accounts_changed();
                hub.changed();
                return Ok(());
            }
            account.username.map_or(Whom::Chosen, Whom::Named)
        }
    };
    if hub.sign_ins.awaits(server.name.as_str()) {
        let text = "a sign-in to the server waits for the browser already";
        return Err(
            Problem::new(ProblemKind::InUse, text).with_hint("finish or cancel that one first")
        );
    }
    match begin_as(hub, server, Wish::Person, whom) {
        Some(end) => ended(server, end).await,
        None => Err(problem::sign_in_needed(&server.name)),
    }
}

async fn ended(server: &Server, mut end: watch::Receiver<Option<End>>) -> End {
    let ended = end
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|end| end.clone());
    ended.unwrap_or_else(|| Err(cancelled(server)))
}

async fn run(hub: &Arc<Hub>, server: &Server, whom: Whom, cancel: CancellationToken) -> End {
    let work = async {
        let challenge = server.challenge();
        let flow = hub
            .identity
            .start_sign_in_as(&server.target(), challenge.as_deref(), whom)
            .await
            .map_err(|error| problem::of_sign_in(server, &error))?;
        let page = flow.url().clone();
        // An opener may stay until the browser ends, and the answer comes before that.
        let finish = flow.finish();
        tokio::pin!(finish);
        let ended = tokio::select! {
            biased;
            ended = &mut finish => ended,
            () = show(hub, server, &page) => finish.await,
        };
        if matches!(ended, Err(SignInError::TimedOut { .. })) {
            hub.sign_ins.inner().deserted = true;
        }
        let account = ended.map_err(|error| problem::of_sign_in(server, &error))?;
        server.signed_in(&account.key);
        Ok(())
    };
    tokio::select! {
        ended = work => ended,
        () = cancel.cancelled() => Err(cancelled(server)),
        () = hub.shutdown.cancelled() => Err(cancelled(server)),
    }
}

/// Opens the page once more for a person who asks for it: the tab may have been closed.
fn reopen(hub: &Arc<Hub>, server: &Arc<Server>, page: Url) {
    let (hub, server) = (Arc::clone(hub), Arc::clone(server));
    tokio::spawn(async move {
        if let Err(error) = browser::open(&page, hub.options.browser.as_deref()).await {
            tracing::warn!(server = %server.name, %error, "open the sign-in page by hand");
        }
    });
}

async fn show(hub: &Arc<Hub>, server: &Server, url: &Url) {
    let set = |browser_problem| {
        let page = Page {
            url: url.clone(),
            opened: hub.options.clock.unix(),
            browser_problem,
        };
        if let Some(pending) = hub.sign_ins.inner().pending.get_mut(server.name.as_str()) {
            pending.page = Some(page);
        }
        hub.changed();
    };
    set(None);
    if let Err(error) = browser::open(url, hub.options.browser.as_deref()).await {
        tracing::warn!(server = %server.name, %error, "open the sign-in page by hand");
        set(Some(error.to_string()));
    }
}

fn finish(hub: &Arc<Hub>, server: &Server, ended: &End) {
    let mut inner = hub.sign_ins.inner();
    let name = server.name.as_str();
    let shown = inner
        .pending
        .remove(name)
        .is_some_and(|pending| pending.page.is_some());
    match ended {
        Ok(()) => {
            inner.deserted = false;
            drop(inner);
            tracing::info!(server = name, "signed in");
            hub.accounts_changed();
        }
        Err(problem) => {
            server.note_sign_in_problem(problem);
            if shown {
                inner.unanswered.insert(name.to_owned());
            }
            drop(inner);
            tracing::warn!(server = name, %problem, "the sign-in ended");
        }
    }
    hub.changed();
}

fn cancelled(server: &Server) -> Problem {
    Problem::new(ProblemKind::SignInEnded, "the sign-in was cancelled").with_hint(format!(
        "start it again from the tray menu or with `postern sign-in {}`",
        server.name
    ))
}
