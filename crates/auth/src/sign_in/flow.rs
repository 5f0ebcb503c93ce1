//! A sign-in with its I/O, from discovery to the last page in the browser.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use url::Url;

use texts::{Text, text};

use super::approval_page::{ApprovalPage, Decisions, UserDecision};
use super::callback::{
    CallbackChannel, CallbackListener, CallbackRequest, Callbacks, Pages, Port, channel,
};
use super::client::{PlannedSignIn, ReadySignIn};
use super::page::{Page, not_expected};
use super::pasted_callback::PastedCallback;
use super::plan::Plan;
use super::prior_state::{PreviousSignIn, PriorState};
use super::{AccountSelection, BrowserLocation, Pending};
use crate::account::Account;
use crate::approval::Approval;
use crate::callback_ports::{self, Ports};
use crate::discovery::Challenge;
use crate::error::SignInError;
use crate::random;
use crate::registration::Registration;
use crate::target::{ClientMetadata, Target};
use crate::token::GrantEntry;
use crate::token::source::Source;

/// The timeout of discovery, whatever it requests.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout of the sign-in in the browser.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// A sign-in in a browser. Dropping it cancels the sign-in and frees its port.
pub struct SignInFlow {
    /// The authorization request.
    url: Url,
    /// The approval page that precedes it, if the user must approve something.
    approval: Option<ApprovalPage>,
    pending: Pending,
    listener: CallbackListener,
    requests: CallbackChannel,
    sign_in: ReadySignIn,
    /// Dropped after the listener, so that the port is free before it is reported as free.
    _port: callback_ports::PortGuard,
}

impl SignInFlow {
    /// Returns the URL for the browser: https, or http on this machine.
    #[must_use]
    pub fn url(&self) -> &Url {
        match &self.approval {
            Some(page) => page.url(),
            None => &self.url,
        }
    }

    /// Returns what the user must approve on Postern's approval page, which precedes that of the
    /// authorization server.
    #[must_use]
    pub fn approval(&self) -> Option<&Approval> {
        self.approval.as_ref().map(ApprovalPage::approval)
    }

    /// Returns the callback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// Returns the input for the callback address, for a browser that cannot reach this machine.
    #[must_use]
    pub fn pasted_callback(&self) -> PastedCallback {
        let redirect_uri = self.sign_in.planned.redirect_uri.clone();
        PastedCallback::new(redirect_uri, self.requests.0.clone())
    }

    /// Returns true if the authorization server offers device codes too.
    #[must_use]
    pub fn offers_device_code(&self) -> bool {
        let server = &self.sign_in.planned.plan.server;
        server.device_authorization_endpoint.is_some()
    }

    /// Waits up to five minutes for the authorization response, exchanges its code and stores the
    /// tokens. The exchange continues if the flow is dropped during it:
    /// [`settled`](crate::Identity::settled) waits for it.
    ///
    /// # Errors
    ///
    /// Any [`SignInError`]. Nothing is stored then, and a previous grant is kept.
    pub async fn finish(self) -> Result<Account, SignInError> {
        let Self {
            url,
            approval,
            pending,
            listener,
            requests,
            sign_in,
            _port,
        } = self;
        let (gate, decisions) = ApprovalPage::open(approval);
        let pages = Pages {
            redirect_path: sign_in.redirect_path(),
            gate,
            is_other_user: sign_in.planned.source.is_other_user,
        };
        let mut callbacks = listener.serve(requests, pages);
        let deadline = Instant::now() + SIGN_IN_TIMEOUT;
        let timed_out = || SignInError::TimedOut {
            server: sign_in.planned.server(),
            waited: SIGN_IN_TIMEOUT,
        };
        if let Some(mut decisions) = decisions {
            let deciding = sign_in.approved(&mut decisions, &mut callbacks, &url);
            timeout_at(deadline, deciding)
                .await
                .map_err(|_| timed_out())??;
        }
        let waiting = wait(&mut callbacks, &pending);
        let Ok(Some(request)) = timeout_at(deadline, waiting).await else {
            return Err(timed_out());
        };
        let response = pending.finish(&request.response);
        let sign_in = Arc::new(sign_in);
        let outcome = sign_in.complete(response).await;
        request.show(sign_in.page(&outcome)).await;
        outcome
    }

    /// Prepares a sign-in: everything that can fail before a browser opens.
    pub(crate) async fn start(
        source: Source,
        client: &ClientMetadata,
        target: &Target,
        challenge: Option<&str>,
        account: AccountSelection,
        browser: BrowserLocation,
    ) -> Result<Self, SignInError> {
        let plan = prepare(&source, client, target, challenge).await?;
        if browser == BrowserLocation::Remote {
            plan.approved_elsewhere()?;
        }
        let previous = source.store.grant_for(target.key());
        let account = account.valid_at(&plan).or_last(previous.as_deref(), &plan);
        let known = usable_registration(&source, &plan, previous.as_deref());
        let listener = bind(&plan, known.as_ref(), target, &source.ports).await?;
        let port = listener.port();
        let guard = source.ports.register(port, target.url().shown());
        let planned = PlannedSignIn::new(source, target.clone(), plan, port, account, browser);
        let sign_in = planned.with_client(known, &client.name).await?;
        Ok(Self::new(sign_in, listener, guard))
    }

    fn new(
        sign_in: ReadySignIn,
        listener: CallbackListener,
        port: callback_ports::PortGuard,
    ) -> Self {
        let (url, pending) = sign_in.authorization_request().start(&mut random::fill);
        let PlannedSignIn { plan, target, .. } = &sign_in.planned;
        let approval = plan.approval.clone();
        let approval =
            approval.map(|approval| ApprovalPage::new(approval, target, listener.port()));
        Self {
            url,
            approval,
            pending,
            listener,
            requests: channel(),
            sign_in,
            _port: port,
        }
    }
}

impl ReadySignIn {
    /// Waits for the user's answer, stores it, and redirects the browser to `next`.
    ///
    /// # Errors
    ///
    /// `NotApproved`, if the user declines. `Vault`, if the answer cannot be stored.
    pub(super) async fn approved(
        &self,
        decisions: &mut Decisions,
        callbacks: &mut Callbacks,
        next: &Url,
    ) -> Result<(), SignInError> {
        let approval = decisions.page.approval();
        let decision = loop {
            tokio::select! {
                Some(decision) = decisions.received.recv() => break decision,
                // There is no authorization request yet that this could respond to.
                Some(request) = callbacks.next() => request.reply(not_expected()),
                else => return Err(self.not_approved(approval)),
            }
        };
        let outcome = match decision.decision {
            UserDecision::Allow => {
                let kept = self.planned.source.approve(approval).await;
                kept.map_err(SignInError::from)
            }
            UserDecision::Deny => Err(self.not_approved(approval)),
        };
        let page = match &outcome {
            Ok(()) => {
                let onward = Page::Continue {
                    issuer: self.planned.plan.issuer.to_string(),
                    url: Box::new(next.clone()),
                };
                decisions.page.next.get_or_init(|| onward).clone()
            }
            Err(error) => Page::failed(error),
        };
        // The answer counts even if the browser disconnected.
        let _ = decision.reply.send(page);
        outcome
    }

    fn not_approved(&self, approval: &Approval) -> SignInError {
        SignInError::NotApproved {
            server: self.planned.server(),
            resource: approval.resource.to_string(),
        }
    }
}

impl AccountSelection {
    /// Selects the account of the previous sign-in, if any account will do and the authorization
    /// server knows that one.
    fn or_last(self, previous: Option<&GrantEntry>, plan: &Plan) -> Self {
        let before = || {
            previous?.with_grant(|grant| {
                let key = &grant.account.key;
                plan.knows(&key.issuer).then_some(())?;
                Some(Self::Named {
                    username: grant.account.username.clone()?,
                    issuer: key.issuer.clone(),
                })
            })
        };
        match self {
            Self::Last => before().unwrap_or(Self::Last),
            Self::Named { .. } | Self::Prompt => self,
        }
    }

    /// Replaces an account of another authorization server by a prompt, because its name must not
    /// be disclosed to this one.
    fn valid_at(self, plan: &Plan) -> Self {
        match &self {
            Self::Named { issuer, .. } if !plan.knows(issuer) => Self::Prompt,
            Self::Named { .. } | Self::Last | Self::Prompt => self,
        }
    }
}

/// Makes the plan, after checking that tokens can be stored and sent.
pub(super) async fn prepare(
    source: &Source,
    client: &ClientMetadata,
    target: &Target,
    challenge: Option<&str>,
) -> Result<Plan, SignInError> {
    require_tls(target)?;
    source.store.open().await?;
    make_plan(source, client, target, challenge).await
}

/// Rejects targets without TLS (RFC 6750 §5.3).
pub(super) fn require_tls(target: &Target) -> Result<(), SignInError> {
    if target.url().is_exposed() {
        return Err(SignInError::Insecure {
            server: target.url().shown().to_owned(),
            what: "its URL is not https, so a token could be read in transit".to_owned(),
        });
    }
    Ok(())
}

/// Makes the plan. Changes nothing.
pub(super) async fn make_plan(
    source: &Source,
    client: &ClientMetadata,
    target: &Target,
    challenge: Option<&str>,
) -> Result<Plan, SignInError> {
    let challenge = challenge.map(|text| Challenge::parse(text).unwrap_or_default());
    let previous = source.store.grant_for(target.key());
    let prior = PriorState {
        target,
        source,
        client_metadata: client.document_url.as_ref(),
        previous: previous.map(|entry| PreviousSignIn {
            issuer: entry.with_grant(|grant| grant.key.issuer.clone()),
            scopes: entry.with_grant(|grant| grant.scopes().to_vec()),
            claims: entry.claims(target.url()),
        }),
    };
    let plan = Plan::make(&source.clients, prior, challenge);
    let planned = tokio::time::timeout(DISCOVERY_TIMEOUT, plan).await;
    let plan = planned.unwrap_or_else(|_| {
        Err(SignInError::Unreachable {
            server: target.url().shown().to_owned(),
            reason: text!(DiscoveryTimedOut),
        })
    })?;
    source.foreign_scopes.record(target, &plan.foreign_scopes);
    Ok(plan)
}

/// Waits for the response to this sign-in. Other responses get an error page.
async fn wait(callbacks: &mut Callbacks, pending: &Pending) -> Option<CallbackRequest> {
    loop {
        let request = callbacks.next().await?;
        if pending.recognises(&request.response) {
            return Some(request);
        }
        request.reply(not_expected());
    }
}

/// Returns the stored registration for a sign-in in a browser. MCP 2025-03-26 gateways without
/// refresh tokens let a browser consent to a client once. The second time they skip the consent
/// page, and then reject the response from Entra.
fn usable_registration(
    source: &Source,
    plan: &Plan,
    previous: Option<&GrantEntry>,
) -> Option<Registration> {
    let has_refresh_token =
        previous.is_some_and(|entry| entry.with_grant(|grant| grant.tokens.refresh.is_some()));
    (plan.resource.is_some() || has_refresh_token)
        .then(|| known_registration(source, plan))
        .flatten()
}

/// Returns the stored registration of a sign-in without a configured client.
pub(super) fn known_registration(source: &Source, plan: &Plan) -> Option<Registration> {
    if plan.client.is_some() {
        return None;
    }
    let known = source.store.registration(&plan.issuer)?;
    (!known.has_expired(source.clock.unix())).then_some(known)
}

/// Returns the callback port to use: the fixed one, else the registered one.
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
        let server = target.url().shown().to_owned();
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
                reason: Text::verbatim(error),
            },
        }
    })
}
