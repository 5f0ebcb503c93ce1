//! Asks hosts to show the sign-in page, instead of opening a browser.
//!
//! Owns: which hosts can be asked, which one is asked now, and whether one shows the page. Does not
//! own: how a host is asked (`session::elicitation`), or the sign-in.
//!
//! Invariants: each sign-in asks one host at a time, and none once one shows the page. When no host
//! is left, the page does not wait: it is opened on this machine for a host that cannot be asked,
//! or the sign-in is given up.

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

/// The minimum time in which a user can respond. Hosts without a user decline at once, although
/// they declare that they show pages.
const MIN_USER_RESPONSE: Duration = Duration::from_secs(1);

/// A page with its message for the user.
pub(crate) struct PagePrompt {
    pub(crate) page: Url,
    pub(crate) text: String,
}

/// Sends elicitations to a session whose host can be asked.
pub(crate) type ElicitationSender = mpsc::Sender<ElicitationRequest>;

/// An elicitation for a session to send to its host.
#[derive(Debug)]
pub(crate) struct ElicitationRequest {
    pub(crate) name: String,
    pub(crate) prompt: Arc<PagePrompt>,
    /// Set when the host is asked.
    pub(crate) sent: SentAt,
    /// Cancelled when the response is no longer awaited.
    pub(crate) cancelled: CancellationToken,
    /// Used if the response may come although the session ends before. Dropped without a value if
    /// there will be none.
    pub(crate) answer_later: oneshot::Sender<()>,
}

/// When an elicitation was sent to its host. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentAt(Arc<Mutex<Option<Instant>>>);

impl SentAt {
    /// Sets the time. May be called again if the message was delayed.
    pub(crate) fn set(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Returns true if a user may have responded by now.
    fn allows_user_response(&self, now: Instant) -> bool {
        let sent = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.is_some_and(|sent| now >= sent + MIN_USER_RESPONSE)
    }
}

/// Who declined to show a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// The user, who does not want to sign in.
    ByUser,
    /// The host, faster than a user can: it cannot show pages.
    ByHost,
}

/// The hosts that wait for one sign-in.
#[derive(Debug, Default)]
pub(super) struct HostQueue {
    /// The hosts to be asked, in order.
    waiting: VecDeque<ElicitationSender>,
    /// Whether a host that cannot be asked wants the page.
    others_wait: bool,
    turn: Turn,
    /// The latest elicitation. A late response counts as long as there is no newer one.
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
    /// No host is asked.
    #[default]
    Free,
    /// A host is asked.
    Asked {
        prompt: Arc<PagePrompt>,
        _cancelled: DropGuard,
    },
    /// A host shows the page.
    Shown,
    /// The page is delivered otherwise: no response counts any longer.
    Over,
}

/// An elicitation to be sent.
pub(crate) struct ActiveElicitation {
    to: ElicitationSender,
    request: ElicitationRequest,
    answer_later: oneshot::Receiver<()>,
}

impl ActiveElicitation {
    /// Sends the elicitation. Returns if that fails, if there will be no response, or if the
    /// response is no longer awaited.
    pub(crate) async fn until_refused(self) {
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
    /// Adds a host to the queue of a running sign-in. `None` stands for a host that cannot be
    /// asked.
    pub(crate) fn join(&self, server: &ServerName, sender: Option<ElicitationSender>) {
        if let Some(pending) = self.inner().pending.get_mut(server.as_str()) {
            pending.hosts.join(sender);
        }
    }

    /// Returns the prompt of the open elicitation with that name.
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

    /// A host declined to show the page. Cancels the sign-in if the user may have declined. If the
    /// response came too fast for a user, the host cannot show pages, and the sign-in continues as
    /// for a host that does not offer to.
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

    /// A host cannot show pages. Another one is asked, or a browser is opened if there is one.
    pub(crate) fn mark_unable(&self, server: &ServerName, name: &str) {
        let mut inner = self.inner();
        if let Some(pending) = inner.pending.get_mut(server.as_str()) {
            pending.hosts.mark_unable(name);
        }
    }

    /// Records that the bridge opens the page now. Returns false if a host shows it, or if there is
    /// no page.
    pub(crate) fn open_here(&self, server: &ServerName, now: UnixSeconds) -> bool {
        let mut inner = self.inner();
        let Some(pending) = inner.pending.get_mut(server.as_str()) else {
            return false;
        };
        let is_to_be_opened = pending.is_unseen() || pending.is_for_elsewhere();
        pending.prompt = pending.prompt.take().map(|prompt| prompt.opened(now));
        is_to_be_opened
    }

    /// Waits for the next host to ask.
    pub(crate) async fn next_elicitation(
        &self,
        server: &ServerName,
        prompt: &Arc<PagePrompt>,
    ) -> ActiveElicitation {
        self.until(server, |pending| pending.ask_next(prompt)).await
    }

    /// Waits until another host needs the page that a host was asked to show.
    pub(crate) async fn until_wanted_elsewhere(&self, server: &ServerName) {
        let look = |pending: &mut Pending| pending.is_wanted_elsewhere().then_some(());
        self.until(server, look).await
    }

    /// Waits until `look` returns a value. Calls it now and whenever a host joins. Never returns
    /// once the sign-in has ended.
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
    /// Returns true if hosts are to be asked and none shows the page.
    fn asks_hosts(&self) -> bool {
        let is_over = self.cancel.is_cancelled() || self.hosts.is_shown();
        !is_over && self.delivery() == PageDelivery::Host
    }

    /// Returns the elicitation for the next host. Returns `None` if no host is to be asked or left.
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

    /// No host is left to be asked. Opens the page on this machine for hosts that cannot be asked,
    /// or gives up without such hosts. A device code needs no host, because every call shows it.
    fn on_no_host_left(&mut self) {
        self.hosts.turn = Turn::Free;
        let is_page = self.is_unseen() || self.is_for_elsewhere();
        if is_page && self.hosts.others_wait {
            self.deliver_directly(SignInWay::Local);
        } else if self.is_unseen() {
            self.give_up();
        }
    }

    /// Ends a sign-in whose page no user has seen. The next call may start another one.
    fn give_up(&mut self) {
        self.prompt = None;
        self.cancel.cancel();
    }

    /// Returns true if only hosts know the page, and none shows it.
    pub(super) fn is_unseen(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Asked { .. }))
    }

    /// Returns true if the page is for a browser on another machine.
    fn is_for_elsewhere(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Remote { .. }))
    }
}

impl HostQueue {
    /// Adds a host at the end of the queue if it can be asked.
    pub(super) fn join(&mut self, sender: Option<ElicitationSender>) {
        match sender {
            Some(sender) if self.waiting.iter().any(|one| one.same_channel(&sender)) => return,
            Some(sender) => self.waiting.push_back(sender),
            None => self.others_wait = true,
        }
        self.news.notify_one();
    }

    /// Notified when a host joins.
    fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Returns the elicitation for the next host, if there is one.
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

    /// Ends all elicitations: the page is delivered otherwise.
    pub(super) fn close(&mut self) {
        self.turn = Turn::Over;
    }

    /// The host of that elicitation cannot show pages.
    fn mark_unable(&mut self, name: &str) {
        if self.asked(name).is_some() {
            self.others_wait = true;
            self.turn = Turn::Free;
            self.latest = None;
        }
    }

    /// The host shows the page. Returns true if it was asked to.
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

    /// Returns true if no user can have responded to that elicitation by `now`.
    fn was_just_asked(&self, name: &str, now: Instant) -> bool {
        let latest = self.latest.as_ref().filter(|it| it.name == name);
        latest.is_some_and(|it| !it.sent.allows_user_response(now))
    }

    /// Returns the prompt of the open elicitation with that name.
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
