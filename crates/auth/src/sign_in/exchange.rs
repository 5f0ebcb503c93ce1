//! The second half of a sign-in: from the browser's answer to a grant that is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinError;
use url::Url;

use super::page::Page;
use super::plan::Plan;
use super::user_identity::{self, Expected, IdTokenError};
use super::{AnswerError, Redeemable, SignIn, Whom};
use crate::account::Account;
use crate::error::SignInError;
use crate::explanation::Explanation;
use crate::identity::Target;
use crate::registration::Client;
use crate::secret::Nonce;
use crate::token::endpoint::{EndpointError, Issued, TokenEndpoint};
use crate::token::source::Source;
use crate::token::{Endpoints, Grant, GrantKey, ObtainedBy, Refusal};

/// All that the second half takes.
pub(super) struct Exchange {
    pub(super) source: Source,
    pub(super) target: Target,
    pub(super) plan: Plan,
    pub(super) client: Client,
    pub(super) redirect_uri: String,
    pub(super) whom: Whom,
    pub(super) return_to: ReturnTo,
}

/// Where the browser is that the answer comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnTo {
    /// It reaches this machine.
    Here,
    /// It may not, and the address that it ends on is brought by hand: then the answer has to
    /// stand in there.
    Elsewhere,
}

impl Exchange {
    pub(super) fn server(&self) -> String {
        self.target.url.shown().to_owned()
    }

    /// Returns the path on which the response comes.
    pub(super) fn redirect_path(&self) -> String {
        let uri = Url::parse(&self.redirect_uri);
        uri.map_or_else(|_| "/".to_owned(), |uri| uri.path().to_owned())
    }

    /// The client for what the authorization server names.
    pub(super) fn http(&self) -> &reqwest::Client {
        self.source.clients.named_from(self.plan.server.side)
    }

    pub(super) fn sign_in(&self) -> SignIn<'_> {
        SignIn {
            server: &self.plan.server,
            client_id: &self.client.id,
            redirect_uri: &self.redirect_uri,
            scopes: &self.plan.scopes,
            resource: self.plan.resource.as_ref(),
            response_mode: match self.return_to {
                ReturnTo::Here => self.plan.response_mode(),
                ReturnTo::Elsewhere => None,
            },
            claims: self.plan.claims_parameter(),
            whom: &self.whom,
        }
    }

    /// Redeems what the browser brought, and keeps the tokens.
    pub(super) async fn complete(
        self: &Arc<Self>,
        answered: Result<Redeemable, AnswerError>,
    ) -> Result<Account, SignInError> {
        let exchange = Arc::clone(self);
        let work = async move { exchange.settle(answered).await };
        let settled = self.source.to_its_end(work).await;
        settled.map_err(|error| self.broken_off(&error))?
    }

    async fn settle(
        &self,
        answered: Result<Redeemable, AnswerError>,
    ) -> Result<Account, SignInError> {
        let redeemed = match answered {
            Ok(redeemable) => self.redeem(&redeemable).await,
            Err(error) => Err(self.not_answered(error)),
        };
        if let Err(SignInError::RegistrationLost { .. }) = redeemed {
            self.drop_registration().await?;
        }
        let (account, issued) = redeemed?;
        self.keep(account.clone(), issued, ObtainedBy::Browser)
            .await?;
        Ok(account)
    }

    async fn redeem(&self, redeemable: &Redeemable) -> Result<(Account, Issued), SignInError> {
        let claims = self.plan.claims_parameter();
        let endpoint = self.endpoint(self.plan.repeated(), claims.as_deref());
        let (code, verifier) = (&redeemable.code, &redeemable.verifier);
        let issued = endpoint
            .redeem(code, verifier, &self.redirect_uri, self.now())
            .await
            .map_err(|error| self.not_redeemed(error))?;
        let account = self.account(&issued, redeemable.nonce.as_ref()).await?;
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
            return user_identity::of_id_token(token, &expected)
                .map_err(|error| self.unbelieved(&error));
        }
        let issuer = self.plan.issuer.clone();
        if let Some(endpoint) = &self.plan.server.userinfo_endpoint {
            let (http, access) = (self.http(), &issued.tokens.access);
            let told = user_identity::of_userinfo(http, endpoint, access, issuer.clone()).await;
            if let Some(account) = told {
                return Ok(account);
            }
        }
        Ok(user_identity::nameless(issuer, &self.plan.audience))
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
            targets: BTreeSet::from([self.target.name()]),
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
                side: server.side,
            },
            tokens: issued.tokens,
            obtained_by,
        };
        self.source.ledger.keep(grant).await?;
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
                person: account.username.clone().or_else(|| account.name.clone()),
            },
            Err(error) => Page::failed(error),
        }
    }

    fn not_answered(&self, error: AnswerError) -> SignInError {
        let server = self.server();
        let insecure = |what: &str| SignInError::Insecure {
            server: server.clone(),
            what: format!("{what} {}", self.plan.issuer),
        };
        match error {
            AnswerError::IssuerMissing => insecure("the answer does not say that it comes from"),
            AnswerError::IssuerDiffers => {
                insecure("the answer comes from another authorization server than")
            }
            AnswerError::Refused(refusal) => self.refused(&refusal),
            AnswerError::Foreign | AnswerError::Empty => SignInError::Malformed {
                server,
                what: "the answer brings neither a code nor an error".to_owned(),
            },
        }
    }

    pub(super) fn not_redeemed(&self, error: EndpointError) -> SignInError {
        let issuer = self.plan.issuer.to_string();
        match error {
            EndpointError::Refused(refusal) => self.refused(&refusal),
            EndpointError::Busy { reason, .. } => SignInError::Busy { issuer, reason },
            EndpointError::Fault(fault) => SignInError::from_fault(issuer, fault),
        }
    }

    pub(super) fn refused(&self, refusal: &Refusal) -> SignInError {
        let server = self.server();
        let explanation = Explanation::of(refusal, &self.plan.issuer, &self.client.id);
        match refusal.error.as_str() {
            // The second is Entra's word in answer to a device code.
            "access_denied" | "authorization_declined" => SignInError::Declined {
                server,
                explanation,
            },
            "invalid_client" | "unauthorized_client" if self.client.is_registered() => {
                SignInError::RegistrationLost {
                    server,
                    error: refusal.error.clone(),
                }
            }
            _ => SignInError::Refused {
                server,
                explanation,
            },
        }
    }

    pub(super) fn broken_off(&self, error: &JoinError) -> SignInError {
        SignInError::Unreachable {
            server: self.plan.issuer.to_string(),
            reason: error.to_string(),
        }
    }

    fn unbelieved(&self, error: &IdTokenError) -> SignInError {
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
