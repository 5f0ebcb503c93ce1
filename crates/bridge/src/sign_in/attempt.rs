//! Runs one sign-in, with the delivery that fits its trigger.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use auth::{AccountSelection, Approval, DeviceFlow, SignInError};
use control::api::{Problem, SignInWay};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{SignInContext, cancelled};
use crate::browser::{BrowserError, NoBrowserReason};
use crate::pending_sign_ins::{DeliveryPlan, Page, PageDelivery, PagePrompt, SignInPrompt};
use crate::registry::Server;
use crate::server_problem;

/// How long the user may take to approve a resource.
const APPROVAL_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Signs in. Starts another flow whenever the user chooses a delivery that needs one.
pub(super) async fn run(
    context: &Arc<SignInContext>,
    server: &Server,
    selection: AccountSelection,
    mut plans: watch::Receiver<DeliveryPlan>,
    cancel: CancellationToken,
) -> Result<(), Problem> {
    loop {
        let flow = plans.borrow_and_update().flow;
        let attempt = Attempt {
            context,
            server,
            selection: selection.clone(),
            plan: plans.clone(),
        };
        tokio::select! {
            ended = attempt.run() => return attempt.conclude(ended),
            () = until(&mut plans, |plan| plan.flow != flow) => {}
            () = cancel.cancelled() => return Err(cancelled(server)),
            () = context.background.shutdown().cancelled() => return Err(cancelled(server)),
        }
    }
}

/// Waits for a matching plan. Returns at once if the current one matches.
async fn until(
    plans: &mut watch::Receiver<DeliveryPlan>,
    is_it: impl FnMut(&DeliveryPlan) -> bool,
) {
    if plans.wait_for(is_it).await.is_err() {
        // The sign-in has ended, and the caller is dropped.
        std::future::pending().await
    }
}

/// Opens the page again at the user's request: the tab may have been closed.
pub(super) fn reopen(context: &Arc<SignInContext>, server: &Arc<Server>, page: Url) {
    let (context, server) = (Arc::clone(context), Arc::clone(server));
    tokio::spawn(async move {
        if let Err(error) = context.browser.open(&page).await {
            tracing::warn!(server = %server.name, %error, "open the sign-in page by hand");
        }
    });
}

struct Attempt<'a> {
    context: &'a SignInContext,
    server: &'a Server,
    selection: AccountSelection,
    plan: watch::Receiver<DeliveryPlan>,
}

type Ended = Result<auth::Account, SignInError>;

impl Attempt<'_> {
    /// The current delivery.
    fn delivery(&self) -> PageDelivery {
        self.plan.borrow().delivery
    }

    /// Signs in. Asks the user first for an approval that no sign-in page asks for.
    async fn run(&self) -> Ended {
        loop {
            match self.once().await {
                Err(SignInError::ApprovalNeeded { approval }) => self.approval(*approval).await?,
                ended => return ended,
            }
        }
    }

    /// Waits until the user has approved the resource in the window or at a terminal.
    async fn approval(&self, approval: Approval) -> Result<(), SignInError> {
        let allow = Arc::new(Notify::new());
        self.show(SignInPrompt::Approval {
            approval: approval.clone(),
            allow: Arc::clone(&allow),
        });
        let allowed = tokio::time::timeout(APPROVAL_TIMEOUT, allow.notified()).await;
        allowed.map_err(|_| SignInError::TimedOut {
            server: self.server.config.url.shown().to_owned(),
            waited: APPROVAL_TIMEOUT,
        })?;
        // Removes the prompt, so that it is not answered again.
        self.show(SignInPrompt::Replaced);
        Ok(self.context.identity.approve(&approval).await?)
    }

    async fn once(&self) -> Ended {
        match self.delivery() {
            PageDelivery::Host | PageDelivery::Direct(SignInWay::Local) => {
                match self.context.browser.may_open() {
                    Ok(()) => self.local().await,
                    Err(why) => self.remote(Some(why)).await,
                }
            }
            PageDelivery::Direct(SignInWay::Remote) => self.remote(None).await,
            PageDelivery::Direct(SignInWay::DeviceCode) => {
                self.wait_for_code(self.start_device_flow().await?).await
            }
            PageDelivery::Direct(SignInWay::Manual) => self.page(None).await,
        }
    }

    /// Uses a browser on this machine, or a host. If that fails, uses a device code where the
    /// server offers one.
    async fn local(&self) -> Ended {
        let (challenge, target) = (self.server.challenge(), self.server.target());
        let flow = self.context.identity.start_sign_in(
            &target,
            challenge.as_deref(),
            self.selection.clone(),
        );
        let flow = flow.await?;
        // The page asks for an approval. A device code would need it before the code is shown.
        let offers_codes = flow.offers_device_code() && flow.approval().is_none();
        let page = flow.url().clone();
        let (opened_page, asked_page) = (Page::from_flow(&flow), Page::from_flow(&flow));
        self.show(SignInPrompt::Asked { page: asked_page });
        // An opener may run until the browser exits, and the response comes before that.
        let finish = flow.finish();
        tokio::pin!(finish);
        let failed = tokio::select! {
            biased;
            ended = &mut finish => return ended,
            opening = self.deliver(&page) => opening.err(),
        };
        let Some(error) = failed else {
            return finish.await;
        };
        tracing::warn!(server = %self.server.name, %error, "open the sign-in page by hand");
        let device_flow = match offers_codes {
            true => self.device_flow_if_offered().await?,
            false => None,
        };
        let Some(device_flow) = device_flow else {
            self.show_opened(opened_page, Some(error.to_string()));
            return finish.await;
        };
        // The user may have got the page before it was known that no browser opens it.
        tokio::select! {
            Ok(account) = &mut finish => Ok(account),
            ended = self.wait_for_code(device_flow) => ended,
        }
    }

    /// Works without a browser on this machine: with a device code if the server offers one, else
    /// with a page.
    async fn remote(&self, why: Option<NoBrowserReason>) -> Ended {
        match self.device_flow_if_offered().await? {
            Some(flow) => self.wait_for_code(flow).await,
            None => self.page(why).await,
        }
    }

    async fn page(&self, why: Option<NoBrowserReason>) -> Ended {
        let (challenge, target) = (self.server.challenge(), self.server.target());
        let identity = &self.context.identity;
        let flow =
            identity.start_sign_in_elsewhere(&target, challenge.as_deref(), self.selection.clone());
        let flow = flow.await?;
        self.show(SignInPrompt::Remote {
            page: Page::from_flow(&flow),
            why,
            hand_in: flow.pasted_callback(),
        });
        let page = flow.url().clone();
        let last_try = async {
            if why.is_some()
                && let Err(error) = self.deliver(&page).await
            {
                tracing::warn!(server = %self.server.name, %error, "open the sign-in page by hand");
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = flow.finish() => ended,
            never = last_try => never,
        }
    }

    async fn start_device_flow(&self) -> Result<DeviceFlow, SignInError> {
        let (challenge, target) = (self.server.challenge(), self.server.target());
        let identity = &self.context.identity;
        let flow = identity.start_device_sign_in(&target, challenge.as_deref());
        flow.await
    }

    /// Starts a device flow. Returns `None` if the server offers none to this client, or has
    /// rejected the refresh token of the last one.
    async fn device_flow_if_offered(&self) -> Result<Option<DeviceFlow>, SignInError> {
        if self.context.identity.needs_browser(&self.server.target()) {
            return Ok(None);
        }
        match self.start_device_flow().await {
            Ok(flow) => Ok(Some(flow)),
            Err(SignInError::NoDeviceCode { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn wait_for_code(&self, flow: DeviceFlow) -> Ended {
        self.show(SignInPrompt::code(&flow));
        if self.delivery() != PageDelivery::Host {
            return flow.finish().await;
        }
        let page = flow.verification_uri().url().clone();
        let code = flow.user_code().to_owned();
        let asking = self.ask_hosts(&page, Some(&code));
        tokio::select! {
            ended = flow.finish() => ended,
            never = asking => match never {},
        }
    }

    /// Delivers a page: by hosts, or in a browser on this machine as soon as the plan says so.
    async fn deliver(&self, page: &Url) -> Result<(), BrowserError> {
        let mut plan = self.plan.clone();
        let here = until(&mut plan, |plan| {
            plan.delivery == PageDelivery::Direct(SignInWay::Local)
        });
        tokio::select! {
            biased;
            () = here => {}
            never = self.ask_hosts(page, None) => match never {},
        }
        let now = self.context.clock.unix();
        if !self.context.sign_ins.open_here(&self.server.name, now) {
            return Ok(());
        }
        self.context.notifications.state_changed();
        self.context.browser.open(page).await
    }

    /// Asks one host after the other, until one shows the page.
    async fn ask_hosts(&self, page: &Url, code: Option<&str>) -> Infallible {
        let name = &self.server.name;
        let text = match code {
            None => {
                format!("{name} needs you to sign in. Postern continues once you have signed in.")
            }
            Some(code) => format!(
                "{name} needs you to sign in. Enter the code {code} on the page; Postern continues once you have signed in."
            ),
        };
        let page = page.clone();
        let prompt = Arc::new(PagePrompt { page, text });
        let timeout = Duration::from_secs(self.context.config.settings().sign_in_wait_seconds);
        loop {
            let active = self.context.sign_ins.next_elicitation(name, &prompt).await;
            // A host that does not respond is skipped once another host waits.
            let is_wanted = async {
                tokio::time::sleep(timeout).await;
                self.context.sign_ins.until_wanted_elsewhere(name).await;
            };
            tokio::select! {
                () = active.until_refused() => {}
                () = is_wanted => {}
            }
        }
    }

    fn show_opened(&self, page: Page, browser_problem: Option<String>) {
        self.show(SignInPrompt::Opened {
            page,
            opened: self.context.clock.unix(),
            browser_problem,
        });
    }

    fn show(&self, prompt: SignInPrompt) {
        self.context.sign_ins.set_prompt(&self.server.name, prompt);
        self.context.notifications.state_changed();
    }

    fn conclude(&self, ended: Ended) -> Result<(), Problem> {
        if ended.as_ref().is_err_and(SignInError::is_timed_out) {
            self.context.sign_ins.time_out(&self.server.name);
        }
        let account = ended.map_err(|error| server_problem::from_sign_in(self.server, &error))?;
        self.server.signed_in(&account.key);
        let first = self.context.identity.newest_token(&self.server.target());
        self.server.record_first_token(first);
        Ok(())
    }
}
