//! The code exchange: from the authorization response to a stored grant.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinError;
use url::Url;

use super::page::Page;
use super::plan::Plan;
use super::user_identity::{self, Expected, IdTokenError};
use super::{AccountSelection, AuthorizationRequest, AuthorizationResponseError, CodeGrant};
use crate::account::Account;
use crate::error::SignInError;
use crate::explanation::Explanation;
use crate::oauth_error::OAuthError;
use crate::registration::Client;
use crate::secret::Nonce;
use crate::target::Target;
use crate::token::endpoint::{EndpointError, Issued, TokenEndpoint};
use crate::token::source::Source;
use crate::token::{Endpoints, Grant, GrantKey, ObtainedBy};

/// The inputs of the code exchange.
pub(super) struct CodeExchange {
    pub(super) source: Source,
    pub(super) target: Target,
    pub(super) plan: Plan,
    pub(super) client: Client,
    pub(super) redirect_uri: String,
    pub(super) account: AccountSelection,
    pub(super) browser: BrowserLocation,
}

/// Where the browser runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrowserLocation {
    /// On a machine from which it reaches the callback port.
    Local,
    /// Possibly on another machine. The user pastes the address that the browser ends on, so the
    /// response must be in its query.
    Remote,
}

impl CodeExchange {
    pub(super) fn server(&self) -> String {
        self.target.url().shown().to_owned()
    }

    /// Returns the path of the redirect URI.
    pub(super) fn redirect_path(&self) -> String {
        let uri = Url::parse(&self.redirect_uri);
        uri.map_or_else(|_| "/".to_owned(), |uri| uri.path().to_owned())
    }

    /// Returns the HTTP client for the endpoints of the authorization server.
    pub(super) fn http(&self) -> &reqwest::Client {
        self.source.clients.client_for(self.plan.server.zone)
    }

    pub(super) fn authorization_request(&self) -> AuthorizationRequest<'_> {
        AuthorizationRequest {
            server: &self.plan.server,
            client_id: &self.client.id,
            redirect_uri: &self.redirect_uri,
            scopes: &self.plan.scopes,
            resource: self.plan.resource.as_ref(),
            response_mode: match self.browser {
                BrowserLocation::Local => self.plan.response_mode(),
                BrowserLocation::Remote => None,
            },
            claims: self.plan.claims_parameter(),
            account: &self.account,
        }
    }

    /// Exchanges the code of the response, and stores the tokens.
    pub(super) async fn complete(
        self: &Arc<Self>,
        response: Result<CodeGrant, AuthorizationResponseError>,
    ) -> Result<Account, SignInError> {
        let exchange = Arc::clone(self);
        let work = async move { exchange.settle(response).await };
        let settled = self.source.run_to_completion(work).await;
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
        let claims = self.plan.claims_parameter();
        let endpoint = self.endpoint(self.plan.repeated(), claims.as_deref());
        let (code, verifier) = (&grant.code, &grant.verifier);
        let issued = endpoint
            .redeem(code, verifier, &self.redirect_uri, self.now())
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
        TokenEndpoint {
            http: self.http(),
            url: &self.plan.server.token_endpoint,
            client: &self.client,
            resource: self.plan.resource.as_ref(),
            scopes,
            claims,
        }
    }

    pub(super) async fn account(
        &self,
        issued: &Issued,
        nonce: Option<&Nonce>,
    ) -> Result<Account, SignInError> {
        if let Some(token) = &issued.id_token {
            let expected = Expected {
                issuer: &self.plan.server.issuer,
                client_id: &self.client.id,
                nonce,
                now: self.now(),
            };
            return user_identity::from_id_token(token, &expected)
                .map_err(|error| self.id_token_error(&error));
        }
        let issuer = self.plan.issuer.clone();
        if let Some(endpoint) = &self.plan.server.userinfo_endpoint {
            let (http, access) = (self.http(), &issued.tokens.access);
            let account =
                user_identity::from_userinfo(http, endpoint, access, issuer.clone()).await;
            if let Some(account) = account {
                return Ok(account);
            }
        }
        Ok(user_identity::unnamed_account(issuer, &self.plan.audience))
    }

    pub(super) async fn keep(
        &self,
        account: Account,
        issued: Issued,
        obtained_by: ObtainedBy,
    ) -> Result<(), SignInError> {
        let server = &self.plan.server;
        let grant = Grant {
            key: GrantKey {
                issuer: self.plan.issuer.clone(),
                client_id: self.client.id.clone(),
                audience: self.plan.audience.clone(),
                subject: account.key.subject.clone(),
            },
            targets: BTreeSet::from([self.target.key().clone()]),
            account,
            client: self.client.clone(),
            resource: self.plan.resource.clone(),
            asked: self.plan.scopes.clone(),
            repeated: self.plan.repeated().to_vec(),
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
        self.source.store.keep(grant).await?;
        self.source.signed_in.send_replace(());
        Ok(())
    }

    pub(super) fn now(&self) -> u64 {
        self.source.clock.unix()
    }

    pub(super) fn page(&self, outcome: &Result<Account, SignInError>) -> Page {
        match outcome {
            Ok(account) => Page::SignedIn {
                server: self.server(),
                user: account.username.clone().or_else(|| account.name.clone()),
            },
            Err(error) => Page::failed(error),
        }
    }

    fn response_error(&self, error: AuthorizationResponseError) -> SignInError {
        let server = self.server();
        let insecure = |what: &str| SignInError::Insecure {
            server: server.clone(),
            what: format!("{what} {}", self.plan.issuer),
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
        let issuer = self.plan.issuer.to_string();
        match error {
            EndpointError::Refused(oauth_error) => self.refused(&oauth_error),
            EndpointError::Busy { reason, .. } => SignInError::Busy { issuer, reason },
            EndpointError::Http(error) => SignInError::from_http_error(issuer, error),
        }
    }

    pub(super) fn refused(&self, oauth_error: &OAuthError) -> SignInError {
        let server = self.server();
        let explanation = Explanation::from_error(oauth_error, &self.plan.issuer, &self.client.id);
        match oauth_error.error.as_str() {
            // Entra uses the second one for device codes.
            "access_denied" | "authorization_declined" => SignInError::Declined {
                server,
                explanation,
            },
            "invalid_client" | "unauthorized_client" if self.client.is_registered() => {
                SignInError::RegistrationLost {
                    server,
                    error: oauth_error.error.clone(),
                }
            }
            _ => SignInError::Refused {
                server,
                explanation,
            },
        }
    }

    pub(super) fn task_failed(&self, error: &JoinError) -> SignInError {
        SignInError::Unreachable {
            server: self.plan.issuer.to_string(),
            reason: error.to_string(),
        }
    }

    fn id_token_error(&self, error: &IdTokenError) -> SignInError {
        let server = self.server();
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
