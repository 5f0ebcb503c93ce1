//! Where and for what the client requests its token.

use model::config::{ClientCredentials, TokenIssuer};
use model::{EndpointUrl, Issuer, Resource};

use texts::{Describe, Text, text};

use super::authentication::{ClientAuthMethod, ClientAuthentication};
use super::state::{ClientCredentialsError, not_granted};
use crate::account::{Account, AccountKey};
use crate::discovery::{AuthorizationServer, Challenge, Discovered, Discovery};
use crate::entra;
use crate::error::SignInError;
use crate::explanation::Explanation;
use crate::http::NetworkZone;
use crate::target::Target;
use crate::token::Tokens;
use crate::token::endpoint::{EndpointError, Token, Unavailable, issued};
use crate::token::form::{form_request, send_json};
use crate::token::source::Source;

/// The result of discovery.
pub(super) struct Plan {
    issuer: Issuer,
    token_endpoint: EndpointUrl,
    auth_method: ClientAuthMethod,
    resource: Option<Resource>,
    scopes: Vec<String>,
    consents_endpoint: Option<EndpointUrl>,
    zone: NetworkZone,
}

impl Plan {
    /// Discovers the authorization server and chooses the request.
    pub(super) async fn make(
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) -> Result<Self, ClientCredentialsError> {
        if target.url().is_exposed() {
            return Err(not_granted(
                "its URL is not https, so a token could be read in transit",
            ));
        }
        let (issuer, found) = discover_issuer(source, target, config)
            .await
            .map_err(discovery_error)?;
        let issuers = source.known_issuers(target);
        match &config.issuer {
            TokenIssuer::Entra { resource, .. } => {
                let server = found.authorization_server;
                Ok(Self::entra(server, issuer, resource, config))
            }
            TokenIssuer::Discovered { resource } => {
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
            auth_method: ClientAuthMethod::Entra,
            scopes: entra::without_sign_in_scopes(&config.scopes, resource),
            resource: None,
            consents_endpoint: server.consents_endpoint,
            zone: server.zone,
            token_endpoint: server.token_endpoint,
        }
    }

    fn discovered(
        issuer: Issuer,
        found: Discovered,
        resource: Option<Resource>,
        config: &ClientCredentials,
        is_entra: bool,
    ) -> Result<Self, ClientCredentialsError> {
        let server = found.authorization_server;
        if is_entra {
            // Only the scope determines the audience, and there is no user to approve it.
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
            auth_method: ClientAuthMethod::choose(&server, &config.proof)
                .map_err(|what| not_granted(&what))?,
            scopes: scopes.to_vec(),
            consents_endpoint: server.consents_endpoint,
            zone: server.zone,
            token_endpoint: server.token_endpoint,
            resource,
            issuer,
        })
    }

    /// Requests a token.
    pub(super) async fn request(
        &self,
        source: &Source,
        config: &ClientCredentials,
    ) -> Result<Tokens, ClientCredentialsError> {
        let audience = match &self.auth_method {
            ClientAuthMethod::Entra => self.token_endpoint.url().as_str(),
            ClientAuthMethod::Secret(_) | ClientAuthMethod::Assertion { .. } => {
                self.issuer.as_str()
            }
        };
        let now = source.clock.unix();
        let authentication =
            ClientAuthentication::new(source, config, &self.auth_method, audience, now).await?;
        let scope = self.scopes.join(" ");
        let mut form = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            form.push(("scope", &*scope));
        }
        if let Some(resource) = &self.resource {
            form.push(("resource", resource.as_str()));
        }
        form.extend(authentication.parameters());
        let http = source.clients.client_for(self.zone);
        let request = form_request(http, &self.token_endpoint, &authentication.client, form);
        let refused = |error| self.refused(error, config);
        let token: Token = send_json(request).await.map_err(refused)?;
        Ok(issued(&token, now).map_err(refused)?.tokens)
    }

    fn refused(&self, error: EndpointError, config: &ClientCredentials) -> ClientCredentialsError {
        match error.oauth_error() {
            Ok(oauth_error) => {
                let explanation =
                    Explanation::from_error(&oauth_error, &self.issuer, Some(&config.client_id));
                let is_known =
                    explanation.number.is_some() || explanation.error != "invalid_client";
                ClientCredentialsError::NotGranted {
                    reason: match is_known {
                        true => explanation.text(),
                        false => text!(ClientCredentialsRejected {
                            reason: explanation.text()
                        }),
                    },
                    explanation: Some(explanation),
                }
            }
            Err(Unavailable {
                reason,
                retry_after,
            }) => ClientCredentialsError::Unreachable {
                issuer: self.issuer.to_string(),
                reason,
                retry_after,
            },
        }
    }

    /// Returns the consents endpoint and the zone of the server that names it.
    pub(super) fn consents_endpoint(&self) -> Option<(EndpointUrl, NetworkZone)> {
        Some((self.consents_endpoint.clone()?, self.zone))
    }

    /// Returns the client as an account of the authorization server.
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

/// Discovers the issuer of the tokens: the one in the configuration, else the one that the server
/// names.
pub(crate) async fn discover_issuer(
    source: &Source,
    target: &Target,
    config: &ClientCredentials,
) -> Result<(Issuer, Discovered), SignInError> {
    let discovery = Discovery {
        http: &source.clients,
        server: target.url(),
        issuers: source.known_issuers(target),
    };
    match &config.issuer {
        TokenIssuer::Entra { authority, .. } => {
            let found = Discovered {
                authorization_server: discovery.fetch_entra_metadata(authority).await?,
                resource: None,
                challenge: Challenge::default(),
            };
            Ok((authority.clone(), found))
        }
        TokenIssuer::Discovered { .. } => {
            let found = discovery.discover(None, |_| true).await?;
            Ok((found.authorization_server.issuer.issuer(), found))
        }
    }
}

fn unnamed_resource(issuer: &Issuer) -> ClientCredentialsError {
    ClientCredentialsError::NotGranted {
        reason: text!(ClientCredentialsWithoutResource {
            issuer: issuer.as_str()
        }),
        explanation: None,
    }
}

fn unreachable(issuer: String, reason: Text) -> ClientCredentialsError {
    ClientCredentialsError::Unreachable {
        issuer,
        reason,
        retry_after: None,
    }
}

fn discovery_error(error: SignInError) -> ClientCredentialsError {
    match error {
        SignInError::Unreachable { server, reason } => unreachable(server, reason),
        SignInError::Untrusted { server, flaw } => unreachable(server, flaw.text()),
        SignInError::UnknownName { server, name } => unreachable(server, name.text()),
        SignInError::Vault(error) => ClientCredentialsError::Vault(error),
        other => not_granted(other.text()),
    }
}
