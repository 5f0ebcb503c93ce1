//! The page of a sign-in as a question to a host, in place of a browser that is opened here.
//!
//! Owns: which hosts can be asked, whose turn it is, and whether one shows the page. Does not own:
//! how a host is asked (`session`, `elicit`), or the sign-in.
//!
//! Invariants: of each sign-in one host is asked at a time, and none once one shows the page. A page
//! that nobody is left to be asked for does not wait: it is opened here for a host that cannot be
//! asked, or given up.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control::api::{SignInWay, UnixSeconds};
use model::ServerName;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use uuid::Uuid;

use super::prompt::SignInPrompt;
use super::{PageDelivery, Pending, SignIns};

/// How soon after a question no person can have answered it. Hosts without a person at them decline
/// by themselves, though they offer to show pages.
const MIN_USER_RESPONSE: Duration = Duration::from_secs(1);

/// A page, and what a person is told about it.
pub(crate) struct PagePrompt {
    pub(crate) page: Url,
    pub(crate) text: String,
}

/// A session whose host can be asked.
pub(crate) type ElicitationSender = mpsc::Sender<ElicitationRequest>;

/// What a session is to ask its host.
#[derive(Debug)]
pub(crate) struct ElicitationRequest {
    pub(crate) name: String,
    pub(crate) prompt: Arc<PagePrompt>,
    /// To be set when the host is asked.
    pub(crate) sent: SentAt,
    /// Cancelled when nobody waits for the answer any longer.
    pub(crate) cancelled: CancellationToken,
    /// Told that the answer may come although the session does not last until then. Dropped
    /// without, it says that there will be none.
    pub(crate) answer_later: oneshot::Sender<()>,
}

/// When a question went out to its host. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentAt(Arc<Mutex<Option<Instant>>>);

impl SentAt {
    /// Sets it, also to a later time if the question was kept on its way.
    pub(crate) fn set(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether a person may have answered by now.
    fn allows_user_response(&self, now: Instant) -> bool {
        let sent = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.is_some_and(|sent| now >= sent + MIN_USER_RESPONSE)
    }
}

/// Who declined to show a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// A person, who does not want to sign in.
    ByUser,
    /// The host, sooner than a person can: it cannot show pages.
    ByHost,
}

/// The hosts that wait for one sign-in.
#[derive(Debug, Default)]
pub(super) struct HostQueue {
    /// Those to be asked, in their order.
    waiting: VecDeque<ElicitationSender>,
    /// Whether one that cannot be asked wanted the page.
    others_wait: bool,
    turn: Turn,
    /// The latest question. It may be answered late, as long as there is no other.
    latest: Option<Latest>,
    news: Arc<Notify>,
}

#[derive(Debug)]
struct Latest {
    name: String,
    sent: SentAt,
}

#[derive(Debug, Default)]
enum Turn {
    /// Nobody is asked.
    #[default]
    Free,
    /// A host is.
    Asked {
        prompt: Arc<PagePrompt>,
        _cancelled: DropGuard,
    },
    /// A host shows the page.
    Shown,
    /// The page is brought in another way: no answer counts any longer.
    Over,
}

/// A question on its way.
pub(super) struct ActiveElicitation {
    to: ElicitationSender,
    request: ElicitationRequest,
    answer_later: oneshot::Receiver<()>,
}

impl ActiveElicitation {
    /// Has the host asked. Returns if that fails, once it is known that it will not answer, or once
    /// its answer is not waited for any longer.
    pub(super) async fn until_refused(self) {
        let cancelled = self.request.cancelled.clone();
        let refused = async {
            if self.to.send(self.request).await.is_ok() && self.answer_later.await.is_ok() {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = refused => {}
            () = cancelled.cancelled() => {}
        }
    }
}

impl SignIns {
    /// Has one more host be asked in its turn, if a sign-in to that server is under way, or notes
    /// one that cannot be.
    pub(crate) fn join(&self, server: &ServerName, sender: Option<ElicitationSender>) {
        if let Some(pending) = self.inner().pending.get_mut(server.as_str()) {
            pending.hosts.join(sender);
        }
    }

    /// What a host is asked under that name now.
    pub(crate) fn asked(&self, server: &ServerName, name: &str) -> Option<Arc<PagePrompt>> {
        let inner = self.inner();
        inner.pending.get(server.as_str())?.hosts.asked(name)
    }

    /// A host shows the page.
    pub(crate) fn accept(&self, server: &ServerName, name: &str, now: UnixSeconds) {
        let mut inner = self.inner();
        if let Some(pending) = inner.pending.get_mut(server.as_str())
            && pending.hosts.set_shown(name)
        {
            pending.prompt = pending.prompt.take().map(|prompt| prompt.opened(now));
        }
    }

    /// A host does not show the page, and says so at `now`. That ends the sign-in if a person may
    /// have said it. If none can have, the host cannot show pages, and the sign-in goes on as for a
    /// host that does not offer to.
    pub(crate) fn decline(&self, server: &ServerName, name: &str, now: Instant) -> Declined {
        let mut inner = self.inner();
        let Some(pending) = inner.pending.get_mut(server.as_str()) else {
            return Declined::ByUser;
        };
        if pending.hosts.was_just_asked(name, now) {
            pending.hosts.mark_unable(name);
            return Declined::ByHost;
        }
        if pending.hosts.is_latest(name) {
            pending.cancel.cancel();
        }
        Declined::ByUser
    }

    /// A host cannot show pages: another one is asked, or a browser is opened here, if there is one.
    pub(crate) fn mark_unable(&self, server: &ServerName, name: &str) {
        let mut inner = self.inner();
        if let Some(pending) = inner.pending.get_mut(server.as_str()) {
            pending.hosts.mark_unable(name);
        }
    }

    /// Notes that the bridge opens the page now. Returns false if a host shows it, or if there is
    /// none to open.
    pub(super) fn open_here(&self, server: &ServerName, now: UnixSeconds) -> bool {
        let mut inner = self.inner();
        let Some(pending) = inner.pending.get_mut(server.as_str()) else {
            return false;
        };
        let is_to_be_opened = pending.is_unseen() || pending.is_for_elsewhere();
        pending.prompt = pending.prompt.take().map(|prompt| prompt.opened(now));
        is_to_be_opened
    }

    /// The question to the next host, once there is one.
    pub(super) async fn next_elicitation(
        &self,
        server: &ServerName,
        prompt: &Arc<PagePrompt>,
    ) -> ActiveElicitation {
        self.until(server, |pending| pending.ask_next(prompt)).await
    }

    /// Waits until somebody else wants the page that a host was asked to show.
    pub(super) async fn until_wanted_elsewhere(&self, server: &ServerName) {
        let look = |pending: &mut Pending| pending.is_wanted_elsewhere().then_some(());
        self.until(server, look).await
    }

    /// Waits until `look` finds something, which it looks for now and whenever one more waits. Once
    /// the sign-in is over, nothing is found any more.
    async fn until<T>(
        &self,
        server: &ServerName,
        mut look: impl FnMut(&mut Pending) -> Option<T>,
    ) -> T {
        loop {
            let news = {
                let mut inner = self.inner();
                match inner.pending.get_mut(server.as_str()) {
                    Some(pending) => match look(pending) {
                        Some(found) => return found,
                        None => Some(pending.hosts.news()),
                    },
                    None => None,
                }
            };
            match news {
                Some(news) => news.notified().await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Pending {
    /// Whether hosts are to be asked for the page of this way, and none shows it.
    fn asks_hosts(&self) -> bool {
        let is_over = self.cancel.is_cancelled() || self.hosts.is_shown();
        !is_over && self.delivery() == PageDelivery::Host
    }

    /// The question to the next host, if one is to be asked and there is one.
    fn ask_next(&mut self, prompt: &Arc<PagePrompt>) -> Option<ActiveElicitation> {
        if !self.asks_hosts() {
            return None;
        }
        let active = self.hosts.ask_next(prompt);
        if active.is_none() {
            self.on_no_host_left();
        }
        active
    }

    fn is_wanted_elsewhere(&self) -> bool {
        !self.hosts.waiting.is_empty() || (self.hosts.others_wait && self.is_unseen())
    }

    /// No host is left to be asked. A page is opened here for hosts that cannot be, or given up if
    /// there are none. A code, which every call is told, does without.
    fn on_no_host_left(&mut self) {
        self.hosts.turn = Turn::Free;
        let is_page = self.is_unseen() || self.is_for_elsewhere();
        if is_page && self.hosts.others_wait {
            self.deliver_directly(SignInWay::Here);
        } else if self.is_unseen() {
            self.give_up();
        }
    }

    /// Ends a sign-in whose page nobody has seen: the next call may start another one.
    fn give_up(&mut self) {
        self.prompt = None;
        self.cancel.cancel();
    }

    /// Whether hosts alone know of the page, and none shows it.
    pub(super) fn is_unseen(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Asked { .. }))
    }

    /// Whether the page is one for a browser on another machine.
    fn is_for_elsewhere(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Remote { .. }))
    }
}

impl HostQueue {
    /// One more, at the end of the line if it can be asked.
    pub(super) fn join(&mut self, sender: Option<ElicitationSender>) {
        match sender {
            Some(sender) if self.waiting.iter().any(|one| one.same_channel(&sender)) => return,
            Some(sender) => self.waiting.push_back(sender),
            None => self.others_wait = true,
        }
        self.news.notify_one();
    }

    /// Told when one more waits.
    fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// The question to the next host, if there is one.
    fn ask_next(&mut self, prompt: &Arc<PagePrompt>) -> Option<ActiveElicitation> {
        let to = self.waiting.pop_front()?;
        let name = mcp::elicitation::name(&Uuid::new_v4().simple().to_string());
        let (cancelled, (answer_later, answer_comes_later)) =
            (CancellationToken::new(), oneshot::channel());
        let sent = SentAt::default();
        self.latest = Some(Latest {
            name: name.clone(),
            sent: sent.clone(),
        });
        self.turn = Turn::Asked {
            prompt: Arc::clone(prompt),
            _cancelled: cancelled.clone().drop_guard(),
        };
        let request = ElicitationRequest {
            name,
            prompt: Arc::clone(prompt),
            sent,
            cancelled,
            answer_later,
        };
        Some(ActiveElicitation {
            to,
            request,
            answer_later: answer_comes_later,
        })
    }

    /// The page is brought to somebody in another way.
    pub(super) fn close(&mut self) {
        self.turn = Turn::Over;
    }

    /// The host that is asked under that name cannot show pages.
    fn mark_unable(&mut self, name: &str) {
        if self.asked(name).is_some() {
            self.others_wait = true;
            self.turn = Turn::Free;
            self.latest = None;
        }
    }

    /// A host shows the page; says whether it was asked to.
    pub(super) fn set_shown(&mut self, name: &str) -> bool {
        let is_it = self.is_latest(name);
        if is_it {
            self.turn = Turn::Shown;
        }
        is_it
    }

    pub(super) fn is_latest(&self, name: &str) -> bool {
        let is_over = matches!(self.turn, Turn::Over);
        !is_over && self.latest.as_ref().is_some_and(|it| it.name == name)
    }

    /// Whether no person can have answered by `now` what was asked under that name.
    fn was_just_asked(&self, name: &str, now: Instant) -> bool {
        let latest = self.latest.as_ref().filter(|it| it.name == name);
        latest.is_some_and(|it| !it.sent.allows_user_response(now))
    }

    /// What is asked under that name now.
    pub(super) fn asked(&self, name: &str) -> Option<Arc<PagePrompt>> {
        match &self.turn {
            Turn::Asked { prompt, .. } if self.is_latest(name) => Some(Arc::clone(prompt)),
            Turn::Asked { .. } | Turn::Free | Turn::Shown | Turn::Over => None,
        }
    }

    fn is_shown(&self) -> bool {
        matches!(self.turn, Turn::Shown)
    }
}

impl fmt::Debug for PagePrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offer(…)")
    }
}
