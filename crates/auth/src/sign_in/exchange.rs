//! The code exchange: from the authorization response to a stored grant.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinError;
use url::Url;

use texts::Text;

use super::client::{PlannedSignIn, ReadySignIn};
use super::page::Page;
use super::user_identity::{self, Expected, IdTokenError};
use super::{AuthorizationResponseError, CodeGrant};
use crate::account::Account;
use crate::error::SignInError;
use crate::secret::Nonce;
use crate::token::endpoint::{EndpointError, Issued, TokenEndpoint};
use crate::token::{Endpoints, Grant, GrantKey, ObtainedBy};

impl ReadySignIn {
    /// Returns the path of the redirect URI.
    pub(super) fn redirect_path(&self) -> String {
        let uri = Url::parse(&self.planned.redirect_uri);
        uri.map_or_else(|_| "/".to_owned(), |uri| uri.path().to_owned())
    }

    /// Exchanges the code of the response, and stores the tokens.
    pub(super) async fn complete(
        self: &Arc<Self>,
        response: Result<CodeGrant, AuthorizationResponseError>,
    ) -> Result<Account, SignInError> {
        let sign_in = Arc::clone(self);
        let work = async move { sign_in.settle(response).await };
        let settled = self.planned.source.run_to_completion(work).await;
        settled.map_err(|error| self.task_failed(&error))?
    }

    async fn settle(
        &self,
        response: Result<CodeGrant, AuthorizationResponseError>,
    ) -> Result<Account, SignInError> {
        let redeemed = match response {
            Ok(grant) => self.redeem(&grant).await,
            Err(error) => Err(self.response_error(error)),
        };
        if let Err(SignInError::RegistrationLost { .. }) = redeemed {
            self.drop_registration().await?;
        }
        let (account, issued) = redeemed?;
        self.keep(account.clone(), issued, ObtainedBy::Browser)
            .await?;
        Ok(account)
    }

    async fn redeem(&self, grant: &CodeGrant) -> Result<(Account, Issued), SignInError> {
        let PlannedSignIn {
            plan, redirect_uri, ..
        } = &self.planned;
        let claims = plan.claims_parameter();
        let endpoint = self.endpoint(plan.repeated(), claims.as_deref());
        let (code, verifier) = (&grant.code, &grant.verifier);
        let issued = endpoint
            .redeem(code, verifier, redirect_uri, self.planned.now())
            .await
            .map_err(|error| self.exchange_error(error))?;
        let account = self.account(&issued, grant.nonce.as_ref()).await?;
        Ok((account, issued))
    }

    pub(super) fn endpoint<'a>(
        &'a self,
        scopes: &'a [String],
        claims: Option<&'a str>,
    ) -> TokenEndpoint<'a> {
        let plan = &self.planned.plan;
        TokenEndpoint {
            http: self.planned.http(),
            url: &plan.server.token_endpoint,
            client: self.client(),
            resource: plan.resource.as_ref(),
            scopes,
            claims,
        }
    }

    pub(super) async fn account(
        &self,
        issued: &Issued,
        nonce: Option<&Nonce>,
    ) -> Result<Account, SignInError> {
        let plan = &self.planned.plan;
        if let Some(token) = &issued.id_token {
            let expected = Expected {
                issuer: &plan.server.issuer,
                client_id: &self.client().id,
                nonce,
                now: self.planned.now(),
            };
            return user_identity::from_id_token(token, &expected)
                .map_err(|error| self.id_token_error(&error));
        }
        let issuer = plan.issuer.clone();
        if let Some(endpoint) = &plan.server.userinfo_endpoint {
            let (http, access) = (self.planned.http(), &issued.tokens.access);
            let account =
                user_identity::from_userinfo(http, endpoint, access, issuer.clone()).await;
            if let Some(account) = account {
                return Ok(account);
            }
        }
        Ok(user_identity::unnamed_account(issuer, &plan.audience))
    }

    pub(super) async fn keep(
        &self,
        account: Account,
        issued: Issued,
        obtained_by: ObtainedBy,
    ) -> Result<(), SignInError> {
        let PlannedSignIn {
            source,
            target,
            plan,
            ..
        } = &self.planned;
        let server = &plan.server;
        let grant = Grant {
            key: GrantKey {
                issuer: plan.issuer.clone(),
                client_id: self.client().id.clone(),
                audience: plan.audience.clone(),
                subject: account.key.subject.clone(),
            },
            targets: BTreeSet::from([target.key().clone()]),
            account,
            client: self.client().clone(),
            resource: plan.resource.clone(),
            asked: plan.scopes.clone(),
            repeated: plan.repeated().to_vec(),
            endpoints: Endpoints {
                token: server.token_endpoint.clone(),
                revocation: server.revocation_endpoint.clone(),
                end_session: server.end_session_endpoint.clone(),
                consents: server.consents_endpoint.clone(),
                zone: server.zone,
            },
            tokens: issued.tokens,
            obtained_by,
        };
        source.store.keep(grant).await?;
        source.signed_in.send_replace(());
        Ok(())
    }

    pub(super) fn page(&self, outcome: &Result<Account, SignInError>) -> Page {
        match outcome {
            Ok(account) => Page::SignedIn {
                server: self.planned.server(),
                user: account.username.clone().or_else(|| account.name.clone()),
            },
            Err(error) => Page::failed(error),
        }
    }

    fn response_error(&self, error: AuthorizationResponseError) -> SignInError {
        let server = self.planned.server();
        let insecure = |what: &str| SignInError::Insecure {
            server: server.clone(),
            what: format!("{what} {}", self.planned.plan.issuer),
        };
        match error {
            AuthorizationResponseError::IssuerMissing => {
                insecure("the authorization response has no `iss` and may not come from")
            }
            AuthorizationResponseError::IssuerDiffers => {
                insecure("the authorization response comes from another authorization server than")
            }
            AuthorizationResponseError::Refused(oauth_error) => self.refused(&oauth_error),
            AuthorizationResponseError::Foreign | AuthorizationResponseError::Empty => {
                SignInError::Malformed {
                    server,
                    what: "the authorization response has neither a code nor an error".to_owned(),
                }
            }
        }
    }

    pub(super) fn exchange_error(&self, error: EndpointError) -> SignInError {
        let issuer = self.planned.plan.issuer.to_string();
        match error {
            EndpointError::Refused(oauth_error) => self.refused(&oauth_error),
            EndpointError::Busy { reason, .. } => SignInError::Busy { issuer, reason },
            EndpointError::Http(error) => SignInError::from_http_error(issuer, error),
        }
    }

    pub(super) fn task_failed(&self, error: &JoinError) -> SignInError {
        SignInError::Unreachable {
            server: self.planned.plan.issuer.to_string(),
            reason: Text::verbatim(error),
        }
    }

    fn id_token_error(&self, error: &IdTokenError) -> SignInError {
        let server = self.planned.server();
        match error {
            IdTokenError::Clock { off_by, behind } => SignInError::ClockWrong {
                server,
                off_by: *off_by,
                behind: *behind,
            },
            IdTokenError::Wrong(what) => SignInError::Malformed {
                server,
                what: format!("its ID token is not acceptable: {what}"),
            },
        }
    }
}
