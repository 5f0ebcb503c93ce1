//! One sign-in from its start to its end, on the way that fits whoever asked.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use auth::{Approval, DeviceFlow, SignInError, Whom};
use control::api::SignInWay;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::elicitation_queue::Offer;
use super::prompt::{Page, Shown};
use super::{Course, End, Way, cancelled};
use crate::bridge_state::Hub;
use crate::browser::{self, BrowserError, Elsewhere};
use crate::problem;
use crate::registry::Server;

/// How long the user may take to approve a resource.
const APPROVAL_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Signs in, and starts another flow whenever a person wants a way that needs one.
pub(super) async fn run(
    hub: &Arc<Hub>,
    server: &Server,
    whom: Whom,
    mut courses: watch::Receiver<Course>,
    cancel: CancellationToken,
) -> End {
    loop {
        let flow = courses.borrow_and_update().flow;
        let attempt = Attempt {
            hub,
            server,
            whom: whom.clone(),
            course: courses.clone(),
        };
        tokio::select! {
            ended = attempt.run() => return attempt.conclude(ended),
            () = until(&mut courses, |course| course.flow != flow) => {}
            () = cancel.cancelled() => return Err(cancelled(server)),
            () = hub.shutdown.cancelled() => return Err(cancelled(server)),
        }
    }
}

/// Waits for such a course. Returns at once if it is there.
async fn until(courses: &mut watch::Receiver<Course>, is_it: impl FnMut(&Course) -> bool) {
    if courses.wait_for(is_it).await.is_err() {
        // The sign-in is over, and so is whatever waits for this.
        std::future::pending().await
    }
}

/// Opens the page once more for a person who asks for it: the tab may have been closed.
pub(super) fn reopen(hub: &Arc<Hub>, server: &Arc<Server>, page: Url) {
    let (hub, server) = (Arc::clone(hub), Arc::clone(server));
    tokio::spawn(async move {
        if let Err(error) = hub.open_page(&page).await {
            tracing::warn!(server = %server.name, %error, "open the sign-in page by hand");
        }
    });
}

struct Attempt<'a> {
    hub: &'a Hub,
    server: &'a Server,
    whom: Whom,
    course: watch::Receiver<Course>,
}

type Ended = Result<auth::Account, SignInError>;

impl Attempt<'_> {
    /// The way that the page takes now.
    fn way(&self) -> Way {
        self.course.borrow().way
    }

    /// Signs in, once the user has approved what no page of the sign-in asks for.
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
        self.show(Shown::Approval {
            approval: approval.clone(),
            allow: Arc::clone(&allow),
        });
        let allowed = tokio::time::timeout(APPROVAL_TIMEOUT, allow.notified()).await;
        allowed.map_err(|_| SignInError::TimedOut {
            server: self.server.config.url.shown().to_owned(),
            waited: APPROVAL_TIMEOUT,
        })?;
        // It is answered, and must not be answered again.
        self.show(Shown::Replaced);
        Ok(self.hub.identity.approve(&approval).await?)
    }

    async fn once(&self) -> Ended {
        let (command, surroundings) = (
            self.hub.options.browser.as_deref(),
            self.hub.options.surroundings,
        );
        match self.way() {
            Way::Host | Way::Own(SignInWay::Here) => {
                match browser::may_open(command, surroundings) {
                    Ok(()) => self.here().await,
                    Err(why) => self.elsewhere(Some(why)).await,
                }
            }
            Way::Own(SignInWay::Elsewhere) => self.elsewhere(None).await,
            Way::Own(SignInWay::Code) => self.wait_for_code(self.codes().await?).await,
            Way::Own(SignInWay::Page) => self.page(None).await,
        }
    }

    /// In a browser that is opened here, or by a host; if that fails, by a code where the server
    /// offers it.
    async fn here(&self) -> Ended {
        let (challenge, target) = (self.server.challenge(), self.server.target());
        let flow =
            self.hub
                .identity
                .start_sign_in(&target, challenge.as_deref(), self.whom.clone());
        let flow = flow.await?;
        // The page asks for an approval, which a code would need before it is shown.
        let has_codes = flow.offers_device_code() && flow.approval().is_none();
        let page = flow.url().clone();
        let (shown, asked) = (Page::of(&flow), Page::of(&flow));
        self.show(Shown::Asked { page: asked });
        // An opener may stay until the browser ends, and the answer comes before that.
        let finish = flow.finish();
        tokio::pin!(finish);
        let failed = tokio::select! {
            biased;
            ended = &mut finish => return ended,
            opening = self.bring(&page) => opening.err(),
        };
        let Some(error) = failed else {
            return finish.await;
        };
        tracing::warn!(server = %self.server.name, %error, "open the sign-in page by hand");
        let codes = match has_codes {
            true => self.codes_if_any().await?,
            false => None,
        };
        let Some(codes) = codes else {
            self.show_opened(shown, Some(error.to_string()));
            return finish.await;
        };
        // A person may have been told the page before it was known that no browser opens it.
        tokio::select! {
            Ok(account) = &mut finish => Ok(account),
            ended = self.wait_for_code(codes) => ended,
        }
    }

    /// Without a browser here: by a code where the server offers it, else on a page.
    async fn elsewhere(&self, why: Option<Elsewhere>) -> Ended {
        match self.codes_if_any().await? {
            Some(flow) => self.wait_for_code(flow).await,
            None => self.page(why).await,
        }
    }

    async fn page(&self, why: Option<Elsewhere>) -> Ended {
        let (challenge, target) = (self.server.challenge(), self.server.target());
        let identity = &self.hub.identity;
        let flow =
            identity.start_sign_in_elsewhere(&target, challenge.as_deref(), self.whom.clone());
        let flow = flow.await?;
        self.show(Shown::Elsewhere {
            page: Page::of(&flow),
            why,
            hand_in: flow.hand_in(),
        });
        let page = flow.url().clone();
        let last_try = async {
            if why.is_some()
                && let Err(error) = self.bring(&page).await
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

    async fn codes(&self) -> Result<DeviceFlow, SignInError> {
        let (challenge, target) = (self.server.challenge(), self.server.target());
        let identity = &self.hub.identity;
        let flow = identity.start_device_sign_in(&target, challenge.as_deref());
        flow.await
    }

    /// The codes; `None` where the server has none for this program, or refused to refresh what
    /// came of the last one.
    async fn codes_if_any(&self) -> Result<Option<DeviceFlow>, SignInError> {
        if self.hub.identity.needs_browser(&self.server.target()) {
            return Ok(None);
        }
        match self.codes().await {
            Ok(flow) => Ok(Some(flow)),
            Err(SignInError::NoDeviceCode { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn wait_for_code(&self, flow: DeviceFlow) -> Ended {
        self.show(Shown::code(&flow));
        if self.way() != Way::Host {
            return flow.finish().await;
        }
        let page = flow.verification_uri().url().clone();
        let code = flow.user_code().to_owned();
        let asking = self.ask(&page, Some(&code));
        tokio::select! {
            ended = flow.finish() => ended,
            never = asking => match never {},
        }
    }

    /// Brings a page to a person: by hosts, or by a browser that is opened here as soon as they are
    /// not to do it.
    async fn bring(&self, page: &Url) -> Result<(), BrowserError> {
        let mut course = self.course.clone();
        let here = until(&mut course, |course| {
            course.way == Way::Own(SignInWay::Here)
        });
        tokio::select! {
            biased;
            () = here => {}
            never = self.ask(page, None) => match never {},
        }
        let now = self.hub.options.clock.unix();
        if !self.hub.sign_ins.open_here(&self.server.name, now) {
            return Ok(());
        }
        self.hub.changed();
        self.hub.open_page(page).await
    }

    /// Asks one host after the other, until one shows the page.
    async fn ask(&self, page: &Url, code: Option<&str>) -> Infallible {
        let name = &self.server.name;
        let text = match code {
            None => format!("{name} needs you to sign in. Postern goes on once you have."),
            Some(code) => format!(
                "{name} needs you to sign in. Enter the code {code} on the page; Postern goes on once you have."
            ),
        };
        let page = page.clone();
        let offer = Arc::new(Offer { page, text });
        let patience = Duration::from_secs(self.hub.settings().sign_in_wait_seconds);
        loop {
            let posed = self.hub.sign_ins.next_question(name, &offer).await;
            // A host that says nothing makes way for others, once there are any.
            let is_wanted = async {
                tokio::time::sleep(patience).await;
                self.hub.sign_ins.wanted_elsewhere(name).await;
            };
            tokio::select! {
                () = posed.until_refused() => {}
                () = is_wanted => {}
            }
        }
    }

    fn show_opened(&self, page: Page, browser_problem: Option<String>) {
        self.show(Shown::Opened {
            page,
            opened: self.hub.options.clock.unix(),
            browser_problem,
        });
    }

    fn show(&self, shown: Shown) {
        let mut inner = self.hub.sign_ins.inner();
        if let Some(pending) = inner.pending.get_mut(self.server.name.as_str()) {
            pending.shown = Some(shown);
        }
        drop(inner);
        self.hub.changed();
    }

    fn conclude(&self, ended: Ended) -> End {
        if ended.as_ref().is_err_and(SignInError::is_timed_out) {
            self.hub.sign_ins.time_out(&self.server.name);
        }
        let account = ended.map_err(|error| problem::of_sign_in(self.server, &error))?;
        self.server.signed_in(&account.key);
        let first = self.hub.identity.newest_token(&self.server.target());
        self.server.note_first_token(first);
        Ok(())
    }
}
