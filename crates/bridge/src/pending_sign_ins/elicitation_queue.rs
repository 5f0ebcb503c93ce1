//! The hosts that can show the page of a sign-in, instead of a browser.
//!
//! Owns: which hosts can be asked, which one is asked now, and whether one shows the page. Does not
//! own: how a host is asked (`session::elicitation`), what follows from its response (`asking`), or
//! the sign-in.
//!
//! Invariant: each sign-in asks one host at a time, and none once one shows the page.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use uuid::Uuid;

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
    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Returns the elicitation for the next host, if there is one.
    pub(super) fn ask_next(&mut self, prompt: &Arc<PagePrompt>) -> Option<ActiveElicitation> {
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

    /// Returns true if another host can be asked.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns true if a host that cannot be asked wants the page.
    pub(super) fn others_wait(&self) -> bool {
        self.others_wait
    }

    /// Cancels the open elicitation. Another host may be asked.
    pub(super) fn free_turn(&mut self) {
        self.turn = Turn::Free;
    }

    /// Ends all elicitations: the page is delivered otherwise.
    pub(super) fn close(&mut self) {
        self.turn = Turn::Over;
    }

    /// The host of that elicitation cannot show pages.
    pub(super) fn mark_unable(&mut self, name: &str) {
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
    pub(super) fn was_just_asked(&self, name: &str, now: Instant) -> bool {
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

    pub(super) fn is_shown(&self) -> bool {
        matches!(self.turn, Turn::Shown)
    }
}

impl fmt::Debug for PagePrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offer(…)")
    }
}
