//! Where requests get their `Authorization` from: look, still usable, else renew, else say that a
//! sign-in is needed.
//!
//! Invariant: a request waits for the token endpoint only if its server has no usable token.

use std::sync::Arc;

use model::{Clock, EndpointUrl, Issuer};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

use super::audience::Verdicts;
use super::endpoint::TokenEndpoint;
use super::grant_entry::{Failure, Look, Refresh, Settled, Slot};
use super::grant_store::Ledger;
use super::multi_resource::Branches;
use crate::audience::{Approval, ConfiguredServers, ForeignScopes};
use crate::error::{AuthorizationError, SignInReason};
use crate::http::Clients;
use crate::identity::{Authorization, IsOtherUser, Target};
use crate::sign_in::Ports;
use crate::vault::VaultError;

/// The source of authorizations.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) clients: Clients,
    pub(crate) clock: Clock,
    pub(crate) ledger: Arc<Ledger>,
    pub(super) branches: Arc<Branches>,
    /// The requests for tokens that are under way.
    pub(crate) renewals: TaskTracker,
    /// News that somebody has signed in.
    pub(crate) signed_in: watch::Sender<()>,
    /// News that a grant has got a new access token without a sign-in.
    pub(crate) refreshed: watch::Sender<()>,
    /// The ports that browsers are to come back to.
    pub(crate) ports: Ports,
    /// The configured servers.
    pub(crate) servers: Arc<ConfiguredServers>,
    /// Which tokens may go to which server.
    pub(super) verdicts: Arc<Verdicts>,
    /// What servers asked for and may not have.
    pub(crate) foreign_scopes: Arc<ForeignScopes>,
    /// Tells whose process connects to one of them.
    pub(crate) is_other_user: IsOtherUser,
}

impl Source {
    /// A source that has handed nothing out yet.
    pub(crate) fn new(
        clients: Clients,
        clock: Clock,
        ledger: Arc<Ledger>,
        is_other_user: IsOtherUser,
    ) -> Self {
        Self {
            clients,
            clock,
            ledger,
            branches: Arc::default(),
            renewals: TaskTracker::new(),
            signed_in: watch::Sender::new(()),
            refreshed: watch::Sender::new(()),
            ports: Ports::default(),
            servers: Arc::default(),
            verdicts: Arc::default(),
            foreign_scopes: Arc::default(),
            is_other_user,
        }
    }

    /// Returns a source whose vault is in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(clients: Clients) -> Self {
        let clock = model::ManualClock::new(std::time::SystemTime::UNIX_EPOCH);
        let ledger = Ledger::new(crate::vault::Vault::memory());
        Self::new(clients, clock.clock(), Arc::new(ledger), |_, _| false)
    }

    /// What to send to `target` now.
    pub(crate) async fn authorization(
        &self,
        target: &Target,
    ) -> Result<Authorization, AuthorizationError> {
        self.authorization_named(target, &target.name(), &target.url)
            .await
    }

    /// What to send to `server` now, which takes the tokens of `target`: that itself, or an
    /// endpoint of its authorization server. `name` is the target's.
    pub(crate) async fn authorization_named(
        &self,
        target: &Target,
        name: &str,
        server: &EndpointUrl,
    ) -> Result<Authorization, AuthorizationError> {
        self.ledger.load().await?;
        let authorization = match self.ledger.grant_for(name) {
            Some(slot) => {
                let issuer = slot.issuer();
                let found = self.fresh(slot, server).await;
                found.map_err(|failure| failure.about(target, &issuer))?
            }
            None => self.branch_off(target).await?,
        };
        let issuer = authorization.account.issuer.clone();
        let checked = self.checked(target, authorization);
        checked.map_err(|failure| failure.about(target, &issuer))
    }

    /// Keeps what the user approved.
    pub(crate) async fn approve(&self, approval: &Approval) -> Result<(), VaultError> {
        self.ledger.open().await?;
        let (source, approval) = (self.clone(), approval.clone());
        let keeping = async move {
            let kept = source
                .ledger
                .change_pin(&approval.key, |pin| pin.approve(&approval));
            kept.await?;
            source.servers.bump();
            source.signed_in.send_replace(());
            tracing::info!(
                server = approval.server,
                resource = %approval.resource,
                issuer = %approval.issuer,
                "the user approved the resource"
            );
            Ok(())
        };
        let kept = self.to_its_end(keeping).await;
        kept.unwrap_or_else(|error| {
            Err(VaultError::Absent {
                reason: error.to_string(),
            })
        })
    }

    /// Does `work` on a task of its own, to its end: a caller that goes away must not take with it
    /// an answer that carries the only valid tokens.
    ///
    /// # Errors
    ///
    /// Where the task broke off.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.renewals.spawn(work).await
    }

    /// Takes note that `server`, which takes the tokens of `target`, answered 401 to `used`, unless
    /// there is a newer token.
    pub(crate) fn refused(
        &self,
        target: &Target,
        server: &EndpointUrl,
        used: &Authorization,
        claims: Option<String>,
    ) {
        if let Some(slot) = self.ledger.grant_for(&target.name()) {
            slot.refused(server, used.serial, self.clock.unix(), claims);
        }
    }

    /// A token of the grant for this server. It is there at the first poll if there is one that
    /// the server may be sent, due or not.
    pub(super) async fn fresh(
        &self,
        slot: Arc<Slot>,
        server: &EndpointUrl,
    ) -> Result<Authorization, Failure> {
        match slot.look(server, self.clock.unix()) {
            Look::Fresh(authorization) => Ok(authorization),
            Look::Ageing(authorization) => {
                self.refresh_beside(slot);
                Ok(authorization)
            }
            Look::Failed(failure) => Err(failure),
            Look::Due { attempts } => {
                let (source, server) = (self.clone(), server.clone());
                let renewal = async move { source.renew(&slot, &server, attempts).await };
                self.to_its_end(renewal).await?
            }
        }
    }

    /// Refreshes on a task of its own, unless the token endpoint is being asked already.
    fn refresh_beside(&self, slot: Arc<Slot>) {
        let Ok(flight) = Arc::clone(&slot.flight).try_lock_owned() else {
            return;
        };
        let source = self.clone();
        self.renewals.spawn(async move {
            let _flight = flight;
            if let Some(refresh) = slot.refresh_beside(source.clock.unix()) {
                source.refresh(&slot, &refresh).await;
            }
        });
    }

    /// One at a time per grant; whoever waited takes the outcome of the one before.
    async fn renew(
        &self,
        slot: &Slot,
        server: &EndpointUrl,
        seen: u64,
    ) -> Result<Authorization, Failure> {
        let _flight = slot.flight.lock().await;
        match slot.look_after(server, self.clock.unix(), seen) {
            Look::Fresh(authorization) | Look::Ageing(authorization) => return Ok(authorization),
            Look::Failed(failure) => return Err(failure),
            Look::Due { .. } => {}
        }
        self.refresh(slot, &slot.refresh_for(server)).await;
        match slot.look_after(server, self.clock.unix(), seen) {
            Look::Fresh(authorization) | Look::Ageing(authorization) => Ok(authorization),
            Look::Failed(failure) => Err(failure),
            Look::Due { .. } => Err(Failure::Misconfigured {
                reason: "its tokens end as soon as they are issued".to_owned(),
                explanation: None,
            }),
        }
    }

    /// Asks the token endpoint and keeps what it says. The caller holds the grant's `flight`.
    async fn refresh(&self, slot: &Slot, refresh: &Refresh) {
        let settled = self.ask(slot, refresh).await;
        self.record(slot, settled).await;
    }

    async fn ask(&self, slot: &Slot, asked: &Refresh) -> Settled {
        let grant = slot.grant();
        let Some(refresh) = &grant.tokens.refresh else {
            return Settled::Unchanged;
        };
        let claims = grant.claims_parameter(asked.claims());
        let endpoint = TokenEndpoint {
            http: self.clients.named_from(grant.endpoints.side),
            url: &grant.endpoints.token,
            client: &grant.client,
            resource: grant.resource.as_ref(),
            scopes: &grant.repeated,
            claims: claims.as_deref(),
        };
        let outcome = endpoint.refresh(refresh, self.clock.unix()).await;
        if let Err(error) = &outcome {
            tracing::info!(issuer = %grant.key.issuer, ?error, "tokens were not renewed");
        }
        slot.settle(asked, outcome, self.clock.unix())
    }

    /// What cannot be written is in memory, and is written later.
    async fn record(&self, slot: &Slot, settled: Settled) {
        if settled == Settled::Renewed {
            self.refreshed.send_replace(());
        }
        let kept = match settled {
            Settled::Renewed | Settled::Revoked => self.ledger.save(slot, self.clock.unix()).await,
            Settled::RegistrationLost => {
                let key = slot.with_grant(|grant| grant.key.clone());
                self.ledger
                    .forget_registration(&key.issuer, &key.client_id)
                    .await
            }
            Settled::Unchanged => Ok(()),
        };
        if let Err(error) = kept {
            tracing::error!(%error, "the renewed sign-in could not be stored for now");
        }
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        Self::Unreachable {
            reason: error.to_string(),
            retry_after: None,
        }
    }
}

impl Failure {
    /// The error of a server whose grant is from `issuer`.
    pub(super) fn about(self, target: &Target, issuer: &Issuer) -> AuthorizationError {
        let server = target.url.shown().to_owned();
        match self {
            Self::SignInNeeded(reason, explanation) => AuthorizationError::SignInNeeded {
                server,
                reason,
                explanation,
            },
            Self::ForeignAudience { audience, owner } => AuthorizationError::ForeignAudience {
                server,
                audience,
                owner,
            },
            Self::RegistrationLost => AuthorizationError::SignInNeeded {
                server,
                reason: SignInReason::Revoked,
                explanation: None,
            },
            Self::Unreachable {
                reason,
                retry_after,
            } => AuthorizationError::Unreachable {
                server,
                issuer: issuer.to_string(),
                reason,
                retry_after,
            },
            Self::Forbidden(explanation) => AuthorizationError::Forbidden {
                server,
                explanation,
            },
            Self::Misconfigured {
                reason,
                explanation,
            } => AuthorizationError::Misconfigured {
                server,
                reason,
                explanation,
            },
        }
    }
}
