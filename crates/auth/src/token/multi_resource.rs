//! One sign-in for several servers of one Entra client.
//!
//! An Entra refresh token belongs to a user and a client, and serves every resource that the
//! client may use. So a server without a sign-in gets tokens from the grant of another server. The
//! old refresh token stays valid beside the new one.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::config::ServerAuth;
use model::{EndpointUrl, Issuer};

use super::endpoint::{EndpointError, TokenEndpoint, Unavailable};
use super::grant::{Grant, GrantKey};
use super::grant_entry::GrantEntry;
use super::grant_error::GrantError;
use super::pause::AFTER_REFUSAL;
use super::source::Source;
use crate::account::AccountKey;
use crate::entra;
use crate::error::{AuthorizationError, SignInReason};
use crate::target::{Authorization, Target, TargetKey};
use crate::vault::VaultError;

/// A request for tokens with another server's grant.
struct ResourceRequest {
    target: TargetKey,
    server: EndpointUrl,
    issuer: Issuer,
    client_id: String,
    scopes: Vec<String>,
}

impl Source {
    /// Returns the authorization for a target without a grant of its own.
    pub(super) async fn derive_grant(
        &self,
        target: &Target,
    ) -> Result<Authorization, AuthorizationError> {
        let request = ResourceRequest::from_target(target)
            .filter(|request| self.related_grant(request, None).is_some());
        let Some(request) = request else {
            return Err(AuthorizationError::SignInNeeded {
                server: target.url().shown().to_owned(),
                reason: self.why_not_signed_in(),
                explanation: None,
            });
        };
        let (source, issuer) = (self.clone(), request.issuer.clone());
        let attempt = async move { source.attempt(request).await };
        let attempted = self
            .run_to_completion(attempt)
            .await
            .map_err(GrantError::from);
        let attempted = attempted.flatten();
        attempted.map_err(|error| error.for_server(target, &issuer))
    }

    async fn attempt(&self, request: ResourceRequest) -> Result<Authorization, GrantError> {
        let mut refused = self.refused_targets.lock().await;
        let now = self.clock.unix();
        if let Some(entry) = self.store.grant_for(&request.target) {
            return self.fresh(entry, &request.server).await;
        }
        let is_backing_off = refused
            .get(&request.target)
            .is_some_and(|until| now < *until);
        let Some(related_grant) = self
            .related_grant(&request, None)
            .filter(|_| !is_backing_off)
        else {
            return Err(self.not_signed_in());
        };
        match self.request_grant(&related_grant, &request, now).await {
            Ok(_) if !self.store.has(&related_grant) => Err(self.not_signed_in()),
            Ok(grant) => {
                let kept = self.store.keep_derived(grant).await;
                self.use_grant(&kept, &request).await
            }
            Err(error) => {
                if let EndpointError::Refused(_) = error {
                    refused.insert(request.target, now + AFTER_REFUSAL);
                }
                Err(grant_error(error))
            }
        }
    }

    /// Switches the target to another account, if that needs no browser.
    pub(crate) async fn switch_account(
        &self,
        target: &Target,
        account: &AccountKey,
    ) -> Result<bool, AuthorizationError> {
        self.store.load().await?;
        let entry = self.store.grant_for(target.key());
        let is_of_account =
            |entry: Arc<GrantEntry>| entry.with_grant(|grant| grant.account.key == *account);
        if entry.is_some_and(is_of_account) {
            return match self.authorization(target).await {
                Ok(_) => Ok(true),
                Err(AuthorizationError::SignInNeeded { .. }) => Ok(false),
                Err(error) => Err(error),
            };
        }
        let Some(request) = ResourceRequest::from_target(target) else {
            return Ok(false);
        };
        let (source, account, issuer) = (self.clone(), account.clone(), request.issuer.clone());
        let attempt = async move {
            let _one = source.refused_targets.lock().await;
            let Some(related_grant) = source.related_grant(&request, Some(&account)) else {
                return Ok(false);
            };
            let now = source.clock.unix();
            match source.request_grant(&related_grant, &request, now).await {
                // An account that signed out meanwhile stays signed out.
                Ok(_) if !source.store.has(&related_grant) => Ok(false),
                Ok(grant) => {
                    // It replaces the grant of another account, which must not be used again.
                    let kept = source.store.keep(grant).await;
                    source.use_grant(&kept, &request).await.map(|_| true)
                }
                Err(EndpointError::Refused(_)) => Ok(false),
                Err(error) => Err(grant_error(error)),
            }
        };
        let switched = self
            .run_to_completion(attempt)
            .await
            .map_err(GrantError::from);
        let switched = switched.flatten();
        switched.map_err(|error| error.for_server(target, &issuer))
    }

    async fn request_grant(
        &self,
        related_grant: &GrantEntry,
        request: &ResourceRequest,
        now: u64,
    ) -> Result<Grant, EndpointError> {
        let grant = related_grant.grant();
        let claims = grant.claims_parameter(None);
        let endpoint = TokenEndpoint {
            http: self.clients.client_for(grant.endpoints.zone),
            url: &grant.endpoints.token,
            client: &grant.client,
            resource: None,
            scopes: &request.scopes,
            claims: claims.as_deref(),
        };
        let Some(refresh) = &grant.tokens.refresh else {
            return Err(EndpointError::Refused(Box::default()));
        };
        let tokens = endpoint.refresh(refresh, now).await?;
        Ok(Grant {
            key: GrantKey {
                audience: request.scopes.join(" "),
                ..grant.key
            },
            targets: BTreeSet::from([request.target.clone()]),
            asked: request.scopes.clone(),
            repeated: request.scopes.clone(),
            tokens,
            ..grant
        })
    }

    /// Returns the authorization after an attempt to store a grant.
    async fn use_grant(
        &self,
        kept: &Result<(), VaultError>,
        request: &ResourceRequest,
    ) -> Result<Authorization, GrantError> {
        if let Err(error) = kept {
            tracing::error!(%error, "a derived grant could not be stored");
        }
        self.refreshed.send_replace(());
        match self.store.grant_for(&request.target) {
            Some(entry) => self.fresh(entry, &request.server).await,
            None => Err(self.not_signed_in()),
        }
    }

    /// Returns another grant of the same client at the same authority that can be refreshed: of
    /// `account`, or of the only account that there is. If there are several accounts, the user
    /// must choose.
    fn related_grant(
        &self,
        request: &ResourceRequest,
        account: Option<&AccountKey>,
    ) -> Option<Arc<GrantEntry>> {
        let is_related = |entry: &Arc<GrantEntry>| {
            entry.with_grant(|grant| {
                grant.key.issuer == request.issuer
                    && grant.key.client_id == request.client_id
                    && account.is_none_or(|account| grant.account.key == *account)
                    && !grant.repeated.is_empty()
                    && grant.tokens.refresh.is_some()
            })
        };
        let mut related = self.store.grants().into_iter().filter(is_related);
        let first = related.next()?;
        let account_key = first.with_grant(|grant| grant.account.key.clone());
        related
            .all(|other| other.with_grant(|grant| grant.account.key == account_key))
            .then_some(first)
    }

    fn not_signed_in(&self) -> GrantError {
        GrantError::SignInNeeded(self.why_not_signed_in(), None)
    }

    fn why_not_signed_in(&self) -> SignInReason {
        match self.store.is_damaged() {
            true => SignInReason::Damaged,
            false => SignInReason::NotSignedIn,
        }
    }
}

impl ResourceRequest {
    fn from_target(target: &Target) -> Option<Self> {
        let ServerAuth::Entra {
            authority,
            client_id,
            resource,
            scopes,
            redirect_port: _,
        } = target.auth()
        else {
            return None;
        };
        let scopes = entra::with_sign_in_scopes(scopes, resource);
        Some(Self {
            target: target.key().clone(),
            server: target.url().clone(),
            issuer: authority.clone(),
            client_id: client_id.clone(),
            scopes,
        })
    }
}

/// The refusal does not concern the related grant. The user must sign in for this resource.
fn grant_error(error: EndpointError) -> GrantError {
    match error.oauth_error() {
        Ok(_) => GrantError::SignInNeeded(SignInReason::NotSignedIn, None),
        Err(Unavailable {
            reason,
            retry_after,
        }) => GrantError::Unreachable {
            reason,
            retry_after,
        },
    }
}
