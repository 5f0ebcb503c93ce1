//! Provides the `Authorization` of requests: returns a usable token, else refreshes it, else
//! reports that a sign-in is needed.
//!
//! Invariant: a request waits for the token endpoint only if its server has no usable token.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Clock, EndpointUrl};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

use texts::text;

use super::endpoint::TokenEndpoint;
use super::grant_entry::{GrantEntry, Refresh, RefreshOutcome, TokenStatus};
use super::grant_error::GrantError;
use super::grant_store::GrantStore;
use super::verdicts::Verdicts;
use crate::approval::Approval;
use crate::audience::{ConfiguredServers, ForeignScopes};
use crate::callback_ports::Ports;
use crate::discovery::KnownIssuers;
use crate::error::AuthorizationError;
use crate::http::HttpClients;
use crate::target::{Authorization, IsOtherUser, Target, TargetKey};
use crate::vault::VaultError;

/// The targets whose request was refused, and until when it is not repeated. Locked during a
/// request, so that there is one at a time.
pub(super) type RefusedTargets = Mutex<HashMap<TargetKey, u64>>;

/// Provides authorizations.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) clients: HttpClients,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<GrantStore>,
    pub(super) refused_targets: Arc<RefusedTargets>,
    /// The token requests in progress.
    pub(crate) token_requests: TaskTracker,
    /// Notifies of sign-ins.
    pub(crate) signed_in: watch::Sender<()>,
    /// Notifies when a grant got a new access token without a sign-in.
    pub(crate) refreshed: watch::Sender<()>,
    /// The callback ports of sign-ins.
    pub(crate) ports: Ports,
    /// The configured servers.
    pub(crate) servers: Arc<ConfiguredServers>,
    /// Which tokens may go to which server.
    pub(super) verdicts: Arc<Verdicts>,
    /// The scopes that servers asked for and may not have.
    pub(crate) foreign_scopes: Arc<ForeignScopes>,
    /// Checks which user's process connects to a callback port.
    pub(crate) is_other_user: IsOtherUser,
}

impl Source {
    /// Creates a source without tokens.
    pub(crate) fn new(
        clients: HttpClients,
        clock: Clock,
        store: Arc<GrantStore>,
        is_other_user: IsOtherUser,
    ) -> Self {
        Self {
            clients,
            clock,
            store,
            refused_targets: Arc::default(),
            token_requests: TaskTracker::new(),
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
    pub(crate) fn in_memory(clients: HttpClients) -> Self {
        let clock = model::ManualClock::new(std::time::SystemTime::UNIX_EPOCH);
        let store = GrantStore::new(crate::vault::Vault::memory());
        Self::new(clients, clock.clock(), Arc::new(store), |_, _| false)
    }

    /// Returns the authorization for `target`.
    pub(crate) async fn authorization(
        &self,
        target: &Target,
    ) -> Result<Authorization, AuthorizationError> {
        self.authorization_at(target, target.url()).await
    }

    /// Returns the authorization for `server`, which takes the tokens of `target`: the target
    /// itself, or an endpoint of its authorization server.
    pub(crate) async fn authorization_at(
        &self,
        target: &Target,
        server: &EndpointUrl,
    ) -> Result<Authorization, AuthorizationError> {
        self.store.load().await?;
        let authorization = match self.store.grant_for(target.key()) {
            Some(entry) => {
                let issuer = entry.issuer();
                let found = self.fresh(entry, server).await;
                found.map_err(|error| error.for_server(target, &issuer))?
            }
            None => self.derive_grant(target).await?,
        };
        let issuer = authorization.account.issuer.clone();
        let checked = self.checked(target, authorization);
        checked.map_err(|error| error.for_server(target, &issuer))
    }

    /// Returns the issuers that are known, for a sign-in to `target`.
    pub(crate) fn known_issuers(&self, target: &Target) -> KnownIssuers {
        let (authorities, mut issuers) = self.servers.issuers();
        issuers.extend(self.store.issuers());
        KnownIssuers::new(authorities, issuers, target)
    }

    /// Stores the user's approval.
    pub(crate) async fn approve(&self, approval: &Approval) -> Result<(), VaultError> {
        self.store.open().await?;
        let (source, approval) = (self.clone(), approval.clone());
        let keeping = async move {
            let kept = source
                .store
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
        let kept = self.run_to_completion(keeping).await;
        kept.unwrap_or_else(|error| {
            Err(VaultError::Absent {
                reason: error.to_string(),
            })
        })
    }

    /// Runs `work` to completion in a task of its own. A caller that is dropped must not cancel
    /// it, because a response may contain the only valid tokens.
    ///
    /// # Errors
    ///
    /// If the task panicked.
    pub(crate) async fn run_to_completion<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.token_requests.spawn(work).await
    }

    /// Records that `server`, which takes the tokens of `target`, answered 401 to `used`. Ignores
    /// it if there is a newer token.
    pub(crate) fn refused(
        &self,
        target: &Target,
        server: &EndpointUrl,
        used: &Authorization,
        claims: Option<String>,
    ) {
        if let Some(entry) = self.store.grant_for(target.key()) {
            entry.refused(server, used.serial, self.clock.unix(), claims);
        }
    }

    /// Returns the token for this server. If there is a usable one, the first poll returns it,
    /// even if it should be refreshed.
    pub(super) async fn fresh(
        &self,
        entry: Arc<GrantEntry>,
        server: &EndpointUrl,
    ) -> Result<Authorization, GrantError> {
        match entry.status(server, self.clock.unix()) {
            TokenStatus::Fresh(authorization) => Ok(authorization),
            TokenStatus::Expiring(authorization) => {
                self.refresh_in_background(entry);
                Ok(authorization)
            }
            TokenStatus::Failed(error) => Err(error),
            TokenStatus::Stale { attempts } => {
                let (source, server) = (self.clone(), server.clone());
                let refresh =
                    async move { source.refresh_or_wait(&entry, &server, attempts).await };
                self.run_to_completion(refresh).await?
            }
        }
    }

    /// Refreshes in a task of its own, unless a request to the token endpoint is in progress.
    fn refresh_in_background(&self, entry: Arc<GrantEntry>) {
        let Ok(refresh_lock) = Arc::clone(&entry.refresh_lock).try_lock_owned() else {
            return;
        };
        let source = self.clone();
        self.token_requests.spawn(async move {
            let _refreshing = refresh_lock;
            if let Some(refresh) = entry.refresh_in_background(source.clock.unix()) {
                source.refresh(&entry, &refresh).await;
            }
        });
    }

    /// Refreshes one at a time per grant. A caller that waited takes the outcome of the previous
    /// refresh.
    async fn refresh_or_wait(
        &self,
        entry: &GrantEntry,
        server: &EndpointUrl,
        seen: u64,
    ) -> Result<Authorization, GrantError> {
        let _refreshing = entry.refresh_lock.lock().await;
        match entry.status_after(server, self.clock.unix(), seen) {
            TokenStatus::Fresh(authorization) | TokenStatus::Expiring(authorization) => {
                return Ok(authorization);
            }
            TokenStatus::Failed(error) => return Err(error),
            TokenStatus::Stale { .. } => {}
        }
        self.refresh(entry, &entry.refresh_for(server)).await;
        match entry.status_after(server, self.clock.unix(), seen) {
            TokenStatus::Fresh(authorization) | TokenStatus::Expiring(authorization) => {
                Ok(authorization)
            }
            TokenStatus::Failed(error) => Err(error),
            TokenStatus::Stale { .. } => Err(GrantError::Misconfigured {
                reason: text!(TokensExpireAtOnce),
                explanation: None,
            }),
        }
    }

    /// Sends the refresh and stores its outcome. The caller holds the grant's `refresh_lock`.
    async fn refresh(&self, entry: &GrantEntry, refresh: &Refresh) {
        let outcome = self.ask(entry, refresh).await;
        self.record(entry, outcome).await;
    }

    async fn ask(&self, entry: &GrantEntry, asked: &Refresh) -> RefreshOutcome {
        let grant = entry.grant();
        let Some(refresh) = &grant.tokens.refresh else {
            return RefreshOutcome::Unchanged;
        };
        let claims = grant.claims_parameter(asked.claims());
        let endpoint = TokenEndpoint {
            http: self.clients.client_for(grant.endpoints.zone),
            url: &grant.endpoints.token,
            client: &grant.client,
            resource: grant.resource.as_ref(),
            scopes: &grant.repeated,
            claims: claims.as_deref(),
        };
        let outcome = endpoint.refresh(refresh, self.clock.unix()).await;
        if let Err(error) = &outcome {
            tracing::info!(issuer = %grant.key.issuer, ?error, "tokens were not refreshed");
        }
        entry.finish_refresh(asked, outcome, self.clock.unix())
    }

    /// Tokens that cannot be written stay in memory and are written later.
    async fn record(&self, entry: &GrantEntry, outcome: RefreshOutcome) {
        if outcome == RefreshOutcome::Refreshed {
            self.refreshed.send_replace(());
        }
        let kept = match outcome {
            RefreshOutcome::Refreshed | RefreshOutcome::Revoked => {
                self.store.save(entry, self.clock.unix()).await
            }
            RefreshOutcome::RegistrationLost => {
                let key = entry.with_grant(|grant| grant.key.clone());
                self.store
                    .forget_registration(&key.issuer, &key.client_id)
                    .await
            }
            RefreshOutcome::Unchanged => Ok(()),
        };
        if let Err(error) = kept {
            tracing::error!(%error, "the refreshed tokens could not be stored for now");
        }
    }
}
