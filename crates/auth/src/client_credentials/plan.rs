//! Where a program asks for its token, and for what.

use model::config::{ClientCredentials, MachineIssuer};
use model::{EndpointUrl, Issuer, Resource};

use super::authentication::{Manner, Proof};
use super::state::Failure;
use crate::account::{Account, AccountKey};
use crate::discovery::{AuthorizationServer, Challenge, Discovered, Discovery, KnownIssuers};
use crate::entra;
use crate::error::SignInError;
use crate::explanation::Explanation;
use crate::http::Side;
use crate::identity::Target;
use crate::token::Tokens;
use crate::token::endpoint::{Away, EndpointError, Token, issued};
use crate::token::form::{ask, proven};
use crate::token::source::Source;

/// What to do if the configuration is what is wrong.
const CHECK: &str = "check the client id, the proof, the scopes and the resource of this server, and what the authorization server knows of them";

/// What was found out.
pub(super) struct Plan {
    issuer: Issuer,
    token_endpoint: EndpointUrl,
    manner: Manner,
    resource: Option<Resource>,
    scopes: Vec<String>,
    consents_endpoint: Option<EndpointUrl>,
    side: Side,
}

impl Plan {
    /// Finds out and decides.
    pub(super) async fn make(
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) -> Result<Self, Failure> {
        if target.url.is_exposed() {
            return Err(not_granted("a token could be read on its way there"));
        }
        let (issuer, found) = find_out(source, target, config).await.map_err(found_out)?;
        let issuers = KnownIssuers::new(source, target);
        match &config.issuer {
            MachineIssuer::Entra { resource, .. } => {
                let server = found.authorization_server;
                Ok(Self::entra(server, issuer, resource, config))
            }
            MachineIssuer::Discovered { resource } => {
                let is_entra = issuers.is_entra(&issuer);
                Self::discovered(issuer, found, resource.clone(), config, is_entra)
            }
        }
    }

    fn entra(
        server: AuthorizationServer,
        issuer: Issuer,
        resource: &Resource,
        config: &ClientCredentials,
    ) -> Self {
        Self {
            issuer,
            manner: Manner::Entra,
            scopes: entra::for_program(&config.scopes, resource),
            resource: None,
            consents_endpoint: server.consents_endpoint,
            side: server.side,
            token_endpoint: server.token_endpoint,
        }
    }

    fn discovered(
        issuer: Issuer,
        found: Discovered,
        resource: Option<Resource>,
        config: &ClientCredentials,
        is_entra: bool,
    ) -> Result<Self, Failure> {
        let server = found.authorization_server;
        if is_entra {
            // The scope alone says what the token opens, and there is no user to approve it.
            let resource = resource.ok_or_else(|| unnamed_resource(&issuer))?;
            return Ok(Self::entra(server, issuer, &resource, config));
        }
        let described = found.resource;
        let listed = described.as_ref().map_or(&[][..], |known| &known.scopes);
        let scopes = [&config.scopes[..], &found.challenge.scopes, listed]
            .into_iter()
            .find(|scopes| !scopes.is_empty())
            .unwrap_or_default();
        let resource = resource.or_else(|| described.as_ref().map(|known| known.resource.clone()));
        Ok(Self {
            manner: Manner::of(&server, &config.proof).map_err(|what| not_granted(&what))?,
            scopes: scopes.to_vec(),
            consents_endpoint: server.consents_endpoint,
            side: server.side,
            token_endpoint: server.token_endpoint,
            resource,
            issuer,
        })
    }

    /// Asks for a token.
    pub(super) async fn ask(
        &self,
        source: &Source,
        config: &ClientCredentials,
    ) -> Result<Tokens, Failure> {
        let audience = match &self.manner {
            Manner::Entra => self.token_endpoint.url().as_str(),
            Manner::Secret(_) | Manner::Assertion { .. } => self.issuer.as_str(),
        };
        let now = source.clock.unix();
        let proof = Proof::of(source, config, &self.manner, audience, now).await?;
        let scope = self.scopes.join(" ");
        let mut form = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            form.push(("scope", &*scope));
        }
        if let Some(resource) = &self.resource {
            form.push(("resource", resource.as_str()));
        }
        form.extend(proof.parameters());
        let http = source.clients.named_from(self.side);
        let request = proven(http, &self.token_endpoint, &proof.client, form);
        let refused = |error| self.refused(error, config);
        let token: Token = ask(request).await.map_err(refused)?;
        Ok(issued(&token, now).map_err(refused)?.tokens)
    }

    fn refused(&self, error: EndpointError, config: &ClientCredentials) -> Failure {
        match error.refusal() {
            Ok(refusal) => {
                let explanation = Explanation::of(&refusal, &self.issuer, &config.client_id);
                let is_known =
                    explanation.number.is_some() || explanation.error != "invalid_client";
                Failure::NotGranted {
                    reason: explanation.what.to_string(),
                    hint: if is_known { explanation.todo } else { CHECK },
                    explanation: Some(explanation),
                }
            }
            Err(Away {
                reason,
                retry_after,
            }) => Failure::Unreachable {
                issuer: self.issuer.to_string(),
                reason,
                retry_after,
            },
        }
    }

    /// Where consents are listed, and who names that.
    pub(super) fn consents_endpoint(&self) -> Option<(EndpointUrl, Side)> {
        Some((self.consents_endpoint.clone()?, self.side))
    }

    /// The program, as the authorization server knows it.
    pub(super) fn account(&self, config: &ClientCredentials) -> Account {
        Account {
            key: AccountKey {
                issuer: self.issuer.clone(),
                subject: config.client_id.clone(),
            },
            name: None,
            username: None,
            tenant: None,
            object_id: None,
        }
    }
}

/// Who issues the tokens: whom the configuration names, else whom the server does.
pub(crate) async fn find_out(
    source: &Source,
    target: &Target,
    config: &ClientCredentials,
) -> Result<(Issuer, Discovered), SignInError> {
    let discovery = Discovery {
        http: &source.clients,
        server: &target.url,
        issuers: KnownIssuers::new(source, target),
    };
    match &config.issuer {
        MachineIssuer::Entra { authority, .. } => {
            let found = Discovered {
                authorization_server: discovery.of_entra(authority).await?,
                resource: None,
                challenge: Challenge::default(),
            };
            Ok((authority.clone(), found))
        }
        MachineIssuer::Discovered { .. } => {
            let found = discovery.of_server(None, |_| true).await?;
            Ok((found.authorization_server.issuer.issuer(), found))
        }
    }
}

pub(super) fn not_granted(reason: &str) -> Failure {
    Failure::NotGranted {
        reason: reason.to_owned(),
        hint: CHECK,
        explanation: None,
    }
}

fn unnamed_resource(issuer: &Issuer) -> Failure {
    Failure::NotGranted {
        reason: format!("{issuer} grants by scope, and the configuration names no resource"),
        hint: "add `authority` and `resource` to the `auth` of this server in config.toml",
        explanation: None,
    }
}

fn unreachable(issuer: String, reason: String) -> Failure {
    Failure::Unreachable {
        issuer,
        reason,
        retry_after: None,
    }
}

fn found_out(error: SignInError) -> Failure {
    match error {
        SignInError::Unreachable { server, reason } => unreachable(server, reason),
        SignInError::Untrusted { server, flaw } => unreachable(server, flaw.to_string()),
        SignInError::UnknownName { server, name } => unreachable(server, name.to_string()),
        SignInError::Vault(error) => Failure::Vault(error),
        other => {
            let text = other.to_string();
            let reason = text.split("; hint: ").next().unwrap_or_default();
            not_granted(reason)
        }
    }
}
