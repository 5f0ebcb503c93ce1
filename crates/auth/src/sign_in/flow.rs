//! A sign-in with its I/O, from the first question to the page that the browser ends on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use url::Url;

use super::approval_page::ApprovalPage;
use super::callback::{
    Arrival, Arrivals, CallbackListener, Callbacks, Pages, Port, arrivals, not_expected,
};
use super::exchange::{Exchange, ReturnTo};
use super::pasted_callback::HandIn;
use super::plan::Plan;
use super::ports::{self, Ports};
use super::prior_state::{Earlier, Known};
use super::{Pending, Whom};
use crate::account::Account;
use crate::audience::Approval;
use crate::discovery::Challenge;
use crate::error::SignInError;
use crate::identity::{Program, Target};
use crate::random;
use crate::registration::{Client, Registration};
use crate::token::Slot;
use crate::token::source::Source;

/// How long it may take to find out how one signs in, whatever has to be asked.
const FINDING_OUT: Duration = Duration::from_secs(30);

/// How long somebody may take in the browser.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// A sign-in that waits for its browser. Dropping it cancels the waiting and frees its port.
pub struct SignInFlow {
    /// The page of the authorization server.
    url: Url,
    /// The page that precedes it, where the user has to approve something first.
    approval: Option<ApprovalPage>,
    pending: Pending,
    listener: CallbackListener,
    arrivals: Arrivals,
    exchange: Exchange,
    /// Dropped after the listener: the port is free before it is told to be.
    _port: ports::Held,
}

impl SignInFlow {
    /// What the browser has to be sent to: https, or http to this machine.
    #[must_use]
    pub fn url(&self) -> &Url {
        match &self.approval {
            Some(page) => page.url(),
            None => &self.url,
        }
    }

    /// Returns what the user has to approve on Postern's approval page, which comes before the page
    /// of the authorization server.
    #[must_use]
    pub fn approval(&self) -> Option<&Approval> {
        self.approval.as_ref().map(ApprovalPage::approval)
    }

    /// The port of this machine that the browser comes back to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// Takes the answer of a browser that cannot reach this machine.
    #[must_use]
    pub fn hand_in(&self) -> HandIn {
        HandIn::new(self.exchange.redirect_uri.clone(), self.arrivals.0.clone())
    }

    /// Whether the authorization server would take a device code as well.
    #[must_use]
    pub fn offers_device_code(&self) -> bool {
        self.exchange
            .plan
            .server
            .device_authorization_endpoint
            .is_some()
    }

    /// Waits for the browser, five minutes at most, redeems what it brings and keeps the tokens.
    /// Once it has brought a code, that goes on though the flow is dropped:
    /// [`settled`](crate::Identity::settled) waits for it.
    ///
    /// # Errors
    ///
    /// All of [`SignInError`]; nothing is kept then, and what was there before stays.
    pub async fn finish(self) -> Result<Account, SignInError> {
        let Self {
            url,
            approval,
            pending,
            listener,
            arrivals,
            exchange,
            _port,
        } = self;
        let (gate, decisions) = ApprovalPage::open(approval);
        let pages = Pages {
            redirect_path: exchange.redirect_path(),
            gate,
            is_other_user: exchange.source.is_other_user,
        };
        let mut callbacks = listener.serve(arrivals, pages);
        let deadline = Instant::now() + PATIENCE;
        let timed_out = || SignInError::TimedOut {
            server: exchange.server(),
            waited: PATIENCE,
        };
        if let Some(mut decisions) = decisions {
            let deciding = exchange.approved(&mut decisions, &mut callbacks, &url);
            timeout_at(deadline, deciding)
                .await
                .map_err(|_| timed_out())??;
        }
        let waiting = wait(&mut callbacks, &pending);
        let Ok(Some(arrival)) = timeout_at(deadline, waiting).await else {
            return Err(timed_out());
        };
        let answered = pending.finish(&arrival.answer);
        let exchange = Arc::new(exchange);
        let outcome = exchange.complete(answered).await;
        arrival.show(exchange.page(&outcome)).await;
        outcome
    }

    /// The first half: everything that can fail before a browser is opened.
    pub(crate) async fn start(
        source: Source,
        program: &Program,
        target: &Target,
        challenge: Option<&str>,
        whom: Whom,
        return_to: ReturnTo,
    ) -> Result<Self, SignInError> {
        let plan = find_out(&source, program, target, challenge).await?;
        if return_to == ReturnTo::Elsewhere {
            plan.approved_elsewhere()?;
        }
        let earlier = source.ledger.grant_for(&target.name());
        let renews = earlier
            .as_ref()
            .is_some_and(|slot| slot.with_grant(|grant| grant.tokens.refresh.is_some()));
        let whom = whom.known_to(&plan).or_as_before(earlier.as_deref(), &plan);
        // Gateways of 2025-03-26 that give no refresh token let a browser allow a client once:
        // the second time they skip their page, and then turn away who comes back from Entra.
        let known = (plan.resource.is_some() || renews)
            .then(|| known_registration(&source, &plan))
            .flatten();
        let listener = bind(&plan, known.as_ref(), target, &source.ports).await?;
        let port = source.ports.hold(listener.port(), target.url.shown());
        let exchange = Exchange {
            redirect_uri: plan.redirect_uri(listener.port()),
            client: Client::configured(""),
            whom,
            return_to,
            source,
            target: target.clone(),
            plan,
        };
        let exchange = exchange
            .with_client(known, &program.name, listener.port())
            .await?;
        let (url, pending) = exchange.sign_in().start(&mut random::fill);
        let approval = exchange.plan.approval.clone();
        let approval =
            approval.map(|approval| ApprovalPage::new(approval, target, listener.port()));
        Ok(Self {
            url,
            approval,
            pending,
            listener,
            arrivals: arrivals(),
            exchange,
            _port: port,
        })
    }
}

impl Whom {
    /// Returns the user who signed in before, where it is to be the same and the authorization
    /// server knows that account.
    fn or_as_before(self, earlier: Option<&Slot>, plan: &Plan) -> Self {
        let before = || {
            earlier?.with_grant(|grant| {
                let key = &grant.account.key;
                plan.knows(&key.issuer).then_some(())?;
                Some(Self::Named {
                    username: grant.account.username.clone()?,
                    issuer: key.issuer.clone(),
                })
            })
        };
        match self {
            Self::Same => before().unwrap_or(Self::Same),
            Self::Named { .. } | Self::Chosen => self,
        }
    }

    /// Lets the user choose in place of an account of another authorization server, whose name is
    /// none of this one's business.
    fn known_to(self, plan: &Plan) -> Self {
        match &self {
            Self::Named { issuer, .. } if !plan.knows(issuer) => Self::Chosen,
            Self::Named { .. } | Self::Same | Self::Chosen => self,
        }
    }
}

/// Finds out how one signs in, once it is certain that what comes of it can be kept and sent.
pub(super) async fn find_out(
    source: &Source,
    program: &Program,
    target: &Target,
    challenge: Option<&str>,
) -> Result<Plan, SignInError> {
    fit_for_tokens(target)?;
    source.ledger.open().await?;
    decide(source, program, target, challenge).await
}

/// RFC 6750 section 5.3: a token goes out over TLS alone.
pub(super) fn fit_for_tokens(target: &Target) -> Result<(), SignInError> {
    if target.url.is_exposed() {
        return Err(SignInError::Insecure {
            server: target.url.shown().to_owned(),
            what: "it is not reached by https, and a token could be read on its way".to_owned(),
        });
    }
    Ok(())
}

/// Finds out how one signs in, and changes nothing.
pub(super) async fn decide(
    source: &Source,
    program: &Program,
    target: &Target,
    challenge: Option<&str>,
) -> Result<Plan, SignInError> {
    let challenge = challenge.map(|text| Challenge::parse(text).unwrap_or_default());
    let earlier = source.ledger.grant_for(&target.name());
    let known = Known {
        target,
        source,
        client_metadata: program.metadata.as_ref(),
        earlier: earlier.map(|slot| Earlier {
            issuer: slot.with_grant(|grant| grant.key.issuer.clone()),
            scopes: slot.with_grant(|grant| grant.scopes().to_vec()),
            claims: slot.claims(&target.url),
        }),
    };
    let plan = Plan::make(&source.clients, known, challenge);
    let in_time = tokio::time::timeout(FINDING_OUT, plan).await;
    let plan = in_time.unwrap_or_else(|_| {
        Err(SignInError::Unreachable {
            server: target.url.shown().to_owned(),
            reason: "how one signs in to it could not be found out in time".to_owned(),
        })
    })?;
    source.foreign_scopes.record(target, &plan.foreign_scopes);
    Ok(plan)
}

/// Waits for the answer to this sign-in; others are told that nobody waits for them.
async fn wait(callbacks: &mut Callbacks, pending: &Pending) -> Option<Arrival> {
    loop {
        let arrival = callbacks.next().await?;
        if pending.recognises(&arrival.answer) {
            return Some(arrival);
        }
        arrival.reply(not_expected());
    }
}

pub(super) fn known_registration(source: &Source, plan: &Plan) -> Option<Registration> {
    if plan.client.is_some() {
        return None;
    }
    let known = source.ledger.registration(&plan.issuer)?;
    (!known.is_over(source.clock.unix())).then_some(known)
}

/// The port for the browser to come back to: fixed, else the one that was registered.
pub(super) fn wanted_port(plan: &Plan, known: Option<&Registration>) -> Port {
    match (plan.port, known) {
        (Some(port), _) => Port::Fixed(port),
        (None, Some(known)) => Port::Favoured(known.port),
        (None, None) => Port::Any,
    }
}

async fn bind(
    plan: &Plan,
    known: Option<&Registration>,
    target: &Target,
    ours: &Ports,
) -> Result<CallbackListener, SignInError> {
    let port = wanted_port(plan, known);
    CallbackListener::bind(port).await.map_err(|error| {
        let server = target.url.shown().to_owned();
        match (plan.port, error.kind()) {
            (Some(port), io::ErrorKind::AddrInUse) => match ours.holder(port) {
                Some(other) => SignInError::PortAwaited {
                    server,
                    port,
                    other,
                },
                None => SignInError::PortTaken { server, port },
            },
            _ => SignInError::Unreachable {
                server: "this machine's own loopback address".to_owned(),
                reason: error.to_string(),
            },
        }
    })
}
