//! The running sign-ins, and the pages that wait for the user.
//!
//! Owns: which sign-in may start or is joined, how its page is delivered, and its result. Does not
//! own: how it runs (`sign_in`).
//!
//! Invariants: each server has at most one sign-in at a time. Only the user can start one while
//! another page waits, or after a page was not answered. A host that can show pages is asked to
//! show the page, and no browser is opened then.

mod asking;
mod elicitation_queue;
mod outcome;
mod pending;
mod prompt;
mod started;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::api::{BrowserAnswer, Problem, ProblemKind, SignInView, SignInWay, UnixSeconds};
use model::ServerName;
use url::Url;

use crate::notifications::Notifications;
use crate::registry::Server;
pub(crate) use elicitation_queue::{
    Declined, ElicitationRequest, ElicitationSender, PagePrompt, SentAt,
};
pub(crate) use outcome::{OngoingSignIn, SignInOutcome};
use pending::Pending;
pub(crate) use pending::{DeliveryPlan, PageDelivery};
pub(crate) use prompt::{Page, SignInPrompt};
use started::EndGuard;
pub(crate) use started::StartedSignIn;

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

/// The running sign-ins.
#[derive(Debug)]
pub(crate) struct SignIns {
    inner: Mutex<Inner>,
    notifications: Notifications,
}

#[derive(Debug, Default)]
struct Inner {
    pending: BTreeMap<String, Pending>,
    /// Servers whose last page was not answered or was declined, with the error of that sign-in.
    unanswered: BTreeMap<String, Problem>,
    /// Whether the last page timed out: the user is away and would not see another one.
    page_ignored: bool,
}

/// The result of [`SignIns::begin`].
pub(crate) enum Begun {
    /// A sign-in was running already. `reopen` is the page to open again.
    Joined {
        ongoing: OngoingSignIn,
        reopen: Option<Url>,
    },
    /// The caller has to run it.
    Started(StartedSignIn),
    /// The trigger may not start one now.
    Denied,
}

impl SignIns {
    pub(crate) fn new(notifications: Notifications) -> Self {
        let inner = Mutex::default();
        Self {
            inner,
            notifications,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a sign-in, or joins the running one. `is_refused` says that the server rejects the
    /// tokens of the last one.
    pub(crate) fn begin(
        self: &Arc<Self>,
        server: &Arc<Server>,
        trigger: SignInTrigger,
        sender: Option<ElicitationSender>,
        now: UnixSeconds,
        is_refused: impl FnOnce() -> bool,
    ) -> Begun {
        let mut inner = self.inner();
        let name = server.name.as_str();
        if let Some(pending) = inner.pending.get_mut(name) {
            return pending.join(trigger, sender, now);
        }
        let may = match trigger {
            SignInTrigger::User(_) => true,
            SignInTrigger::ToolCall | SignInTrigger::FirstConnection => {
                inner.pending.is_empty()
                    && !inner.unanswered.contains_key(name)
                    && !inner.page_ignored
                    && !is_refused()
            }
            SignInTrigger::RepeatedCall => false,
        };
        if !may {
            return Begun::Denied;
        }
        if matches!(trigger, SignInTrigger::User(_)) {
            server.allow_sign_ins_again();
        }
        inner.unanswered.remove(name);
        inner.page_ignored = false;
        let (ongoing, outcome) = OngoingSignIn::start();
        let (pending, plans) = Pending::new(trigger, sender, ongoing.clone(), now);
        let started = StartedSignIn {
            ongoing,
            plans,
            cancel: pending.cancel.clone(),
            guard: EndGuard::new(self, server, outcome),
        };
        inner.pending.insert(name.to_owned(), pending);
        Begun::Started(started)
    }

    /// Removes a sign-in that has ended. Returns it: dropping it cancels the open elicitation.
    fn finish(&self, server: &Server, ended: &Result<(), Problem>) -> Option<Pending> {
        let mut inner = self.inner();
        let name = server.name.as_str();
        let pending = inner.pending.remove(name);
        let had_prompt = pending
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
                if had_prompt {
                    inner.unanswered.insert(name.to_owned(), problem.clone());
                }
                drop(inner);
                tracing::warn!(server = name, %problem, "the sign-in ended");
            }
        }
        self.notifications.state_changed();
        pending
    }

    /// Removes a sign-in that has ended without a result. Returns it.
    fn remove(&self, server: &ServerName) -> Option<Pending> {
        let pending = self.inner().pending.remove(server.as_str());
        self.notifications.state_changed();
        pending
    }

    /// Sets what the user is shown of a running sign-in.
    pub(crate) fn set_prompt(&self, server: &ServerName, prompt: SignInPrompt) {
        if let Some(pending) = self.inner().pending.get_mut(server.as_str()) {
            pending.prompt = Some(prompt);
        }
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
    ) -> Result<(), Problem> {
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
        let given = hand_in.submit(address.expose()).await;
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
    ) -> Result<(), Problem> {
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
    pub(crate) fn time_out(&self, server: &ServerName) {
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
