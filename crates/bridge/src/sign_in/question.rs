//! The page of a sign-in as a question to a host, in place of a browser that is opened here.
//!
//! Owns: which hosts can be asked, whose turn it is, and whether one shows the page. Does not own:
//! how a host is asked (`session`, `elicit`), or the sign-in.
//!
//! Invariant: of each sign-in one host is asked at a time, and none once one shows the page.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use control::api::{SignInWay, UnixSeconds};
use model::ServerName;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use uuid::Uuid;

use super::SignIns;

/// A page, and what a person is told about it.
pub(crate) struct Offer {
    pub(crate) page: Url,
    pub(crate) text: String,
}

/// A session whose host can be asked.
pub(crate) type Caller = mpsc::Sender<Question>;

/// What a session is to ask its host.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) offer: Arc<Offer>,
    /// Cancelled when nobody waits for the answer any longer.
    pub(crate) over: CancellationToken,
    /// Given how long the answer may take where the session does not last until then. Dropped
    /// without, it says that there will be none.
    pub(crate) left: oneshot::Sender<Duration>,
}

/// The hosts that wait for one sign-in and can be asked.
#[derive(Debug, Default)]
pub(super) struct Callers {
    waiting: VecDeque<Caller>,
    turn: Turn,
    /// The name of the latest question. It may be answered late, as long as there is no other.
    latest: Option<String>,
    news: Arc<Notify>,
}

#[derive(Debug, Default)]
enum Turn {
    /// Nobody is asked.
    #[default]
    Free,
    /// A host is.
    Asked { offer: Arc<Offer>, _over: DropGuard },
    /// A host shows the page.
    Shown,
}

/// A question on its way.
pub(super) struct Posed {
    pub(super) to: Caller,
    pub(super) question: Question,
    pub(super) left: oneshot::Receiver<Duration>,
}

impl SignIns {
    /// Has one more host be asked in its turn, if a sign-in to that server is under way.
    pub(crate) fn join(&self, server: &ServerName, caller: Caller) {
        if let Some(pending) = self.inner().pending.get_mut(server.as_str()) {
            pending.callers.join(caller);
        }
    }

    /// What a host is asked under that name now.
    pub(crate) fn asked(&self, server: &ServerName, name: &str) -> Option<Arc<Offer>> {
        let inner = self.inner();
        inner.pending.get(server.as_str())?.callers.asked(name)
    }

    /// A host shows the page.
    pub(crate) fn accept(&self, server: &ServerName, name: &str, now: UnixSeconds) {
        let mut inner = self.inner();
        if let Some(pending) = inner.pending.get_mut(server.as_str())
            && pending.callers.shown(name)
        {
            pending.shown = pending.shown.take().map(|shown| shown.opened(now));
        }
    }

    /// Whoever a host has asked does not want the page: that ends the sign-in.
    pub(crate) fn decline(&self, server: &ServerName, name: &str) {
        let inner = self.inner();
        if let Some(pending) = inner.pending.get(server.as_str())
            && pending.callers.is_latest(name)
        {
            pending.cancel.cancel();
        }
    }

    /// A host cannot ask anybody: a browser is opened here, if there is one.
    pub(crate) fn do_without(&self, server: &ServerName, name: &str) {
        let mut inner = self.inner();
        if let Some(pending) = inner.pending.get_mut(server.as_str())
            && pending.callers.asked(name).is_some()
        {
            pending.callers.pass();
            pending.take(SignInWay::Here);
        }
    }

    /// The question to the next host, once there is one.
    pub(super) async fn next_question(&self, server: &ServerName, offer: &Arc<Offer>) -> Posed {
        loop {
            match self.pose(server, offer) {
                Ok(posed) => return posed,
                Err(Some(news)) => news.notified().await,
                Err(None) => std::future::pending().await,
            }
        }
    }

    /// The question to the next host; if there is none, what tells of one, as long as the sign-in
    /// is under way.
    fn pose(&self, server: &ServerName, offer: &Arc<Offer>) -> Result<Posed, Option<Arc<Notify>>> {
        let mut inner = self.inner();
        let pending = inner.pending.get_mut(server.as_str()).ok_or(None)?;
        let news = pending.callers.news();
        pending.callers.pose(offer).ok_or(Some(news))
    }

    /// Whoever was asked does not answer.
    pub(super) fn pass(&self, server: &ServerName) {
        if let Some(pending) = self.inner().pending.get_mut(server.as_str()) {
            pending.callers.pass();
        }
    }
}

impl Callers {
    /// One more, at the end of the line.
    pub(super) fn join(&mut self, caller: Caller) {
        if !self.waiting.iter().any(|one| one.same_channel(&caller)) {
            self.waiting.push_back(caller);
            self.news.notify_one();
        }
    }

    /// Told when there is another to ask.
    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// The question to the next host; `None` if there is no other or one shows the page.
    pub(super) fn pose(&mut self, offer: &Arc<Offer>) -> Option<Posed> {
        if matches!(self.turn, Turn::Shown) {
            return None;
        }
        let to = self.waiting.pop_front()?;
        let name = mcp::elicitation::name(&Uuid::new_v4().simple().to_string());
        let (over, (left, leaves)) = (CancellationToken::new(), oneshot::channel());
        self.latest = Some(name.clone());
        self.turn = Turn::Asked {
            offer: Arc::clone(offer),
            _over: over.clone().drop_guard(),
        };
        let question = Question {
            name,
            offer: Arc::clone(offer),
            over,
            left,
        };
        Some(Posed {
            to,
            question,
            left: leaves,
        })
    }

    /// Whoever was asked does not answer.
    pub(super) fn pass(&mut self) {
        if matches!(self.turn, Turn::Asked { .. }) {
            self.turn = Turn::Free;
        }
    }

    /// The page is brought to somebody in another way.
    pub(super) fn withdraw(&mut self) {
        self.turn = Turn::Free;
        self.latest = None;
    }

    /// A host shows the page; says whether it was asked to.
    pub(super) fn shown(&mut self, name: &str) -> bool {
        let is_it = self.is_latest(name);
        if is_it {
            self.turn = Turn::Shown;
        }
        is_it
    }

    pub(super) fn is_latest(&self, name: &str) -> bool {
        self.latest.as_deref() == Some(name)
    }

    /// What is asked under that name now.
    pub(super) fn asked(&self, name: &str) -> Option<Arc<Offer>> {
        match &self.turn {
            Turn::Asked { offer, .. } if self.is_latest(name) => Some(Arc::clone(offer)),
            Turn::Asked { .. } | Turn::Free | Turn::Shown => None,
        }
    }

    /// Whether nobody is asked, and nobody is there who could be.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.turn, Turn::Free) && self.waiting.is_empty()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offer(…)")
    }
}
