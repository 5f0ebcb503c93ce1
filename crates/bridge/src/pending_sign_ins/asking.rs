//! Asks the hosts that wait for a sign-in to show its page, one after the other.
//!
//! Owns: what follows from the response of a host, and from the lack of a host. Does not own: which
//! host is asked next (`elicitation_queue`).
//!
//! Invariant: when no host is left, the page does not wait. It is opened on this machine for a host
//! that cannot be asked, or the sign-in is given up.

use std::sync::Arc;

use control::api::{SignInWay, UnixSeconds};
use model::ServerName;
use tokio::time::Instant;

use super::SignIns;
use super::elicitation_queue::{ActiveElicitation, Declined, ElicitationSender, PagePrompt};
use super::pending::{PageDelivery, Pending};

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
        self.hosts.has_waiting() || (self.hosts.others_wait() && self.is_unseen())
    }

    /// No host is left to be asked. Opens the page on this machine for hosts that cannot be asked,
    /// or gives up without such hosts. A device code needs no host, because every call shows it.
    fn on_no_host_left(&mut self) {
        self.hosts.free_turn();
        let is_page = self.is_unseen() || self.is_for_elsewhere();
        if is_page && self.hosts.others_wait() {
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
}
