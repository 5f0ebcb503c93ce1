//! One sign-in for several servers of one Entra client.
//!
//! Entra's refresh tokens belong to a person and a client and serve every resource that the
//! client may use; so a server that nobody signed in to yet is opened with the sign-in to
//! another one. The old refresh token stays valid beside the new one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::config::ServerAuth;
use model::{EndpointUrl, Issuer};
use tokio::sync::Mutex;

use super::endpoint::{Away, EndpointError, TokenEndpoint};
use super::grant::{Grant, GrantKey};
use super::grant_entry::{Failure, Slot};
use super::pause::AFTER_REFUSAL;
use super::source::Source;
use crate::account::AccountKey;
use crate::entra;
use crate::error::{AuthorizationError, SignInReason};
use crate::identity::{Authorization, Target};
use crate::vault::VaultError;

/// The targets for which an attempt was refused, and until when it is not repeated. Held during
/// an attempt, so that there is one at a time.
pub(super) type Branches = Mutex<HashMap<String, u64>>;

/// What is asked of another server's sign-in.
struct Wish {
    target: String,
    server: EndpointUrl,
    issuer: Issuer,
    client_id: String,
    scopes: Vec<String>,
}

impl Source {
    /// What to send to a target that has no grant of its own.
    pub(super) async fn branch_off(
        &self,
        target: &Target,
    ) -> Result<Authorization, AuthorizationError> {
        let wish = Wish::of(target).filter(|wish| self.sibling(wish, None).is_some());
        let Some(wish) = wish else {
            return Err(AuthorizationError::SignInNeeded {
                server: target.url.shown().to_owned(),
                reason: self.why_not_signed_in(),
                explanation: None,
            });
        };
        let (source, issuer) = (self.clone(), wish.issuer.clone());
        let attempt = async move { source.attempt(wish).await };
        let attempted = self.to_its_end(attempt).await.map_err(Failure::from);
        let attempted = attempted.flatten();
        attempted.map_err(|failure| failure.about(target, &issuer))
    }

    async fn attempt(&self, wish: Wish) -> Result<Authorization, Failure> {
        let mut refused = self.branches.lock().await;
        let now = self.clock.unix();
        if let Some(slot) = self.ledger.grant_for(&wish.target) {
            return self.fresh(slot, &wish.server).await;
        }
        let held = refused.get(&wish.target).is_some_and(|until| now < *until);
        let Some(sibling) = self.sibling(&wish, None).filter(|_| !held) else {
            return Err(self.not_signed_in());
        };
        match self.grant_like(&sibling, &wish, now).await {
            Ok(_) if !self.ledger.has(&sibling) => Err(self.not_signed_in()),
            Ok(grant) => {
                let kept = self.ledger.keep_derived(grant).await;
                self.taken(&kept, &wish).await
            }
            Err(error) => {
                if let EndpointError::Refused(_) = error {
                    refused.insert(wish.target, now + AFTER_REFUSAL);
                }
                Err(failure(error))
            }
        }
    }

    /// Has another account open the target, if that takes no browser.
    pub(crate) async fn switch_account(
        &self,
        target: &Target,
        account: &AccountKey,
    ) -> Result<bool, AuthorizationError> {
        self.ledger.load().await?;
        let slot = self.ledger.grant_for(&target.name());
        let is_theirs = |slot: Arc<Slot>| slot.with_grant(|grant| grant.account.key == *account);
        if slot.is_some_and(is_theirs) {
            return match self.authorization(target).await {
                Ok(_) => Ok(true),
                Err(AuthorizationError::SignInNeeded { .. }) => Ok(false),
                Err(error) => Err(error),
            };
        }
        let Some(wish) = Wish::of(target) else {
            return Ok(false);
        };
        let (source, account, issuer) = (self.clone(), account.clone(), wish.issuer.clone());
        let attempt = async move {
            let _one = source.branches.lock().await;
            let Some(sibling) = source.sibling(&wish, Some(&account)) else {
                return Ok(false);
            };
            let now = source.clock.unix();
            match source.grant_like(&sibling, &wish, now).await {
                // Whoever signed out meanwhile stays so.
                Ok(_) if !source.ledger.has(&sibling) => Ok(false),
                Ok(grant) => {
                    // It takes the place of another account's, which must not come back.
                    let kept = source.ledger.keep(grant).await;
                    source.taken(&kept, &wish).await.map(|_| true)
                }
                Err(EndpointError::Refused(_)) => Ok(false),
                Err(error) => Err(failure(error)),
            }
        };
        let switched = self.to_its_end(attempt).await.map_err(Failure::from);
        let switched = switched.flatten();
        switched.map_err(|failure| failure.about(target, &issuer))
    }

    async fn grant_like(
        &self,
        sibling: &Slot,
        wish: &Wish,
        now: u64,
    ) -> Result<Grant, EndpointError> {
        let grant = sibling.grant();
        let claims = grant.claims_parameter(None);
        let endpoint = TokenEndpoint {
            http: self.clients.named_from(grant.endpoints.side),
            url: &grant.endpoints.token,
            client: &grant.client,
            resource: None,
            scopes: &wish.scopes,
            claims: claims.as_deref(),
        };
        let Some(refresh) = &grant.tokens.refresh else {
            return Err(EndpointError::Refused(Box::default()));
        };
        let tokens = endpoint.refresh(refresh, now).await?;
        Ok(Grant {
            key: GrantKey {
                audience: wish.scopes.join(" "),
                ..grant.key
            },
            targets: BTreeSet::from([wish.target.clone()]),
            asked: wish.scopes.clone(),
            repeated: wish.scopes.clone(),
            tokens,
            ..grant
        })
    }

    /// Returns what to send after an attempt to keep a grant.
    async fn taken(
        &self,
        kept: &Result<(), VaultError>,
        wish: &Wish,
    ) -> Result<Authorization, Failure> {
        if let Err(error) = kept {
            tracing::error!(%error, "a sign-in could not be kept");
        }
        self.refreshed.send_replace(());
        match self.ledger.grant_for(&wish.target) {
            Some(slot) => self.fresh(slot, &wish.server).await,
            None => Err(self.not_signed_in()),
        }
    }

    /// Another grant of the same client at the same authority that can be renewed: of `account`,
    /// or of the only account that there is. Between several only a person can choose.
    fn sibling(&self, wish: &Wish, account: Option<&AccountKey>) -> Option<Arc<Slot>> {
        let is_sibling = |slot: &Arc<Slot>| {
            slot.with_grant(|grant| {
                grant.key.issuer == wish.issuer
                    && grant.key.client_id == wish.client_id
                    && account.is_none_or(|account| grant.account.key == *account)
                    && !grant.repeated.is_empty()
                    && grant.tokens.refresh.is_some()
            })
        };
        let mut siblings = self.ledger.grants().into_iter().filter(is_sibling);
        let first = siblings.next()?;
        let whose = first.with_grant(|grant| grant.account.key.clone());
        siblings
            .all(|other| other.with_grant(|grant| grant.account.key == whose))
            .then_some(first)
    }

    fn not_signed_in(&self) -> Failure {
        Failure::SignInNeeded(self.why_not_signed_in(), None)
    }

    fn why_not_signed_in(&self) -> SignInReason {
        match self.ledger.is_damaged() {
            true => SignInReason::Damaged,
            false => SignInReason::NotSignedIn,
        }
    }
}

impl Wish {
    fn of(target: &Target) -> Option<Self> {
        let ServerAuth::Entra {
            authority,
            client_id,
            resource,
            scopes,
            redirect_port: _,
        } = &target.auth
        else {
            return None;
        };
        let scopes = entra::qualified(scopes, resource);
        Some(Self {
            target: target.name(),
            server: target.url.clone(),
            issuer: authority.clone(),
            client_id: client_id.clone(),
            scopes,
        })
    }
}

/// A refusal here says nothing of the sibling: the person has to be asked about this resource.
fn failure(error: EndpointError) -> Failure {
    match error.refusal() {
        Ok(_) => Failure::SignInNeeded(SignInReason::NotSignedIn, None),
        Err(Away {
            reason,
            retry_after,
        }) => Failure::Unreachable {
            reason,
            retry_after,
        },
    }
}
