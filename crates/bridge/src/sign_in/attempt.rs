//! One sign-in from its start to its end, on the way that fits whoever asked.

use std::sync::Arc;

use auth::{DeviceFlow, SignInError, Whom};
use control::api::SignInWay;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::shown::{Page, Shown};
use super::{End, cancelled};
use crate::browser::{self, BrowserError, Elsewhere};
use crate::hub::Hub;
use crate::problem;
use crate::registry::Server;

/// Signs in, and starts again whenever somebody wants to do it on another way.
pub(super) async fn run(
    hub: &Arc<Hub>,
    server: &Server,
    whom: Whom,
    mut ways: watch::Receiver<SignInWay>,
    cancel: CancellationToken,
) -> End {
    let attempt = Attempt { hub, server, whom };
    loop {
        let way = *ways.borrow_and_update();
        tokio::select! {
            ended = attempt.on(way) => return attempt.conclude(ended),
            Ok(()) = ways.changed() => {}
            () = cancel.cancelled() => return Err(cancelled(server)),
            () = hub.shutdown.cancelled() => return Err(cancelled(server)),
        }
    }
}

/// Opens the page once more for a person who asks for it: the tab may have been closed.
pub(super) fn reopen(hub: &Arc<Hub>, server: &Arc<Server>, page: Url) {
    let (hub, server) = (Arc::clone(hub), Arc::clone(server));
    tokio::spawn(async move {
        if let Err(error) = open(&hub, &page).await {
            tracing::warn!(server = %server.name, %error, "open the sign-in page by hand");
        }
    });
}

async fn open(hub: &Hub, page: &Url) -> Result<(), BrowserError> {
    let command = hub.options.browser.as_deref();
    browser::open(page, command, hub.options.surroundings).await
}

struct Attempt<'a> {
    hub: &'a Hub,
    server: &'a Server,
    whom: Whom,
}

type Ended = Result<auth::Account, SignInError>;

impl Attempt<'_> {
    async fn on(&self, way: SignInWay) -> Ended {
        let (command, surroundings) = (
            self.hub.options.browser.as_deref(),
            self.hub.options.surroundings,
        );
        match way {
            SignInWay::Here => match browser::may_open(command, surroundings) {
                Ok(()) => self.here().await,
                Err(why) => self.elsewhere(Some(why)).await,
            },
            SignInWay::Elsewhere => self.elsewhere(None).await,
            SignInWay::Code => self.wait_for_code(self.codes().await?).await,
            SignInWay::Page => self.page(None).await,
        }
    }

    /// In a browser that is opened here; if that fails, by a code where the server offers it.
    async fn here(&self) -> Ended {
        let (challenge, target) = (self.server.challenge(), self.server.target());
        let flow =
            self.hub
                .identity
                .start_sign_in(&target, challenge.as_deref(), self.whom.clone());
        let flow = flow.await?;
        let (page, has_codes) = (flow.url().clone(), flow.offers_device_code());
        self.show_opened(Page::of(&flow), None);
        let shown = Page::of(&flow);
        {
            // An opener may stay until the browser ends, and the answer comes before that.
            let finish = flow.finish();
            tokio::pin!(finish);
            let failed = tokio::select! {
                biased;
                ended = &mut finish => return ended,
                opening = open(self.hub, &page) => opening.err(),
            };
            let Some(error) = failed else {
                return finish.await;
            };
            tracing::warn!(server = %self.server.name, %error, "open the sign-in page by hand");
            if !has_codes {
                self.show_opened(shown, Some(error.to_string()));
                return finish.await;
            }
        }
        self.wait_for_code(self.codes().await?).await
    }

    /// Without a browser here: by a code where the server offers it, else on a page.
    async fn elsewhere(&self, why: Option<Elsewhere>) -> Ended {
        match self.codes().await {
            Ok(flow) => self.wait_for_code(flow).await,
            Err(SignInError::NoDeviceCode { .. }) => self.page(why).await,
            Err(error) => Err(error),
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
                && let Err(error) = open(self.hub, &page).await
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

    async fn wait_for_code(&self, flow: DeviceFlow) -> Ended {
        self.show(Shown::code(&flow));
        flow.finish().await
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
        if matches!(ended, Err(SignInError::TimedOut { .. })) {
            self.hub.sign_ins.inner().deserted = true;
        }
        let account = ended.map_err(|error| problem::of_sign_in(self.server, &error))?;
        self.server.signed_in(&account.key);
        Ok(())
    }
}
