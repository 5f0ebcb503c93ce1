//! One running sign-in: how its page is delivered, and how another caller joins it.

use control::api::{SignInWay, UnixSeconds};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::elicitation_queue::{ElicitationSender, HostQueue};
use super::outcome::OngoingSignIn;
use super::prompt::SignInPrompt;
use super::{Begun, SignInTrigger};

/// How the user gets the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageDelivery {
    /// As the user chose, or in a browser that the bridge opens.
    Direct(SignInWay),
    /// From a host that is asked to show it.
    Host,
}

/// The delivery of a sign-in, and the number of its current flow. Every flow has its own URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryPlan {
    pub(crate) delivery: PageDelivery,
    pub(crate) flow: u32,
}

/// A running sign-in.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) prompt: Option<SignInPrompt>,
    pub(super) since: UnixSeconds,
    ongoing: OngoingSignIn,
    plan: watch::Sender<DeliveryPlan>,
    pub(super) hosts: HostQueue,
    pub(super) cancel: CancellationToken,
}

impl Pending {
    /// Creates a sign-in that waits to be run, with its delivery plans.
    pub(super) fn new(
        trigger: SignInTrigger,
        sender: Option<ElicitationSender>,
        ongoing: OngoingSignIn,
        now: UnixSeconds,
    ) -> (Self, watch::Receiver<DeliveryPlan>) {
        let delivery = match (trigger, &sender) {
            (SignInTrigger::User(way), _) => PageDelivery::Direct(way),
            (
                SignInTrigger::ToolCall
                | SignInTrigger::RepeatedCall
                | SignInTrigger::FirstConnection,
                None,
            ) => PageDelivery::Direct(SignInWay::Local),
            (
                SignInTrigger::ToolCall
                | SignInTrigger::RepeatedCall
                | SignInTrigger::FirstConnection,
                Some(_),
            ) => PageDelivery::Host,
        };
        let (plan, plans) = watch::channel(DeliveryPlan { delivery, flow: 0 });
        let mut hosts = HostQueue::default();
        hosts.join(sender);
        let pending = Self {
            prompt: None,
            since: now,
            ongoing,
            plan,
            hosts,
            cancel: CancellationToken::new(),
        };
        (pending, plans)
    }

    /// Joins this sign-in.
    pub(super) fn join(
        &mut self,
        trigger: SignInTrigger,
        sender: Option<ElicitationSender>,
        now: UnixSeconds,
    ) -> Begun {
        let ongoing = self.ongoing.clone();
        let mut reopen = None;
        match trigger {
            SignInTrigger::User(SignInWay::Local) => {
                let prompt = self.prompt.as_mut();
                reopen = prompt.and_then(|prompt| prompt.page_to_reopen(now));
                if self.delivery() == PageDelivery::Host {
                    self.deliver_directly(SignInWay::Local);
                }
            }
            SignInTrigger::User(way) => self.deliver_directly(way),
            SignInTrigger::ToolCall
            | SignInTrigger::RepeatedCall
            | SignInTrigger::FirstConnection => self.hosts.join(sender),
        }
        Begun::Joined { ongoing, reopen }
    }

    pub(super) fn delivery(&self) -> PageDelivery {
        self.plan.borrow().delivery
    }

    /// Returns true if the user has to approve a resource outside the sign-in page.
    pub(super) fn asks_for_approval(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Approval { .. }))
    }

    /// Delivers the page to the user by `way`. Hosts are not asked any longer. The flow continues
    /// and its URL stays valid unless `way` needs another flow.
    pub(super) fn deliver_directly(&mut self, way: SignInWay) {
        let DeliveryPlan {
            delivery: before,
            flow,
        } = *self.plan.borrow();
        let stays = match &self.prompt {
            // An approval has no URL. The next page is delivered as the user chose.
            Some(SignInPrompt::Approval { .. }) => way != SignInWay::Local,
            None | Some(SignInPrompt::Replaced) => {
                before == PageDelivery::Direct(way)
                    || (before == PageDelivery::Host && way == SignInWay::Local)
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

    /// Returns true if only hosts know the page, and none shows it.
    pub(super) fn is_unseen(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Asked { .. }))
    }

    /// Returns true if the page is for a browser on another machine.
    pub(super) fn is_for_elsewhere(&self) -> bool {
        matches!(self.prompt, Some(SignInPrompt::Remote { .. }))
    }
}
