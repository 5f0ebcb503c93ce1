//! Decides the parameters of an authorization request: from the configuration, discovery and the
//! server's challenge.

use std::fmt;

use model::config::ServerAuth;
use model::{Issuer, Resource};

use super::entra_request::{EntraRequest, EntraServer};
use super::prior_state::PriorState;
use super::scopes::{Sources, wanted, with_sign_in_scopes};
use crate::approval::Approval;
use crate::discovery::{
    AuthorizationServer, Challenge, Discovered, Discovery, KnownIssuers, PkceSupport,
};
use crate::entra::{self, AuthProfile};
use crate::error::SignInError;
use crate::http::HttpClients;
use crate::registration::Client;
use crate::target::Target;

/// The decisions for one sign-in.
pub(super) struct Plan {
    pub(super) server: AuthorizationServer,
    /// The issuer of the grant: the configured authority, else the issuer in the metadata.
    pub(super) issuer: Issuer,
    pub(super) profile: AuthProfile,
    /// The known client, or `None` to register one.
    pub(super) client: Option<Client>,
    pub(super) scopes: Vec<String>,
    pub(super) resource: Option<Resource>,
    pub(super) audience: String,
    pub(super) claims: Option<String>,
    /// The port of the redirect URI, if it is fixed.
    pub(super) port: Option<u16>,
    /// What the user must approve before the authorization request.
    pub(super) approval: Option<Approval>,
    /// Scopes of other resources, which the server named and which are not requested.
    pub(super) foreign_scopes: Vec<String>,
    /// The resource of the scopes, at Entra.
    pub(super) entra_resource: Option<Resource>,
}

/// A redirect URI to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegisteredUri {
    /// Valid for every port.
    AnyPort(&'static str),
    /// Valid for the port in it.
    ThisPort(String),
}

impl Plan {
    /// Runs discovery and decides.
    pub(super) async fn make(
        http: &HttpClients,
        prior: PriorState<'_>,
        challenge: Option<Challenge>,
    ) -> Result<Self, SignInError> {
        let discovery = Discovery {
            http,
            server: prior.target.url(),
            issuers: prior.source.known_issuers(prior.target),
        };
        let plan = match prior.target.auth() {
            ServerAuth::None => {
                return Err(SignInError::NotProtected {
                    server: prior.server(),
                });
            }
            ServerAuth::ClientCredentials(_) => {
                return Err(SignInError::NotForPeople {
                    server: prior.server(),
                });
            }
            ServerAuth::Entra {
                authority,
                client_id,
                resource,
                scopes,
                redirect_port,
            } => {
                let server = discovery.fetch_entra_metadata(authority).await?;
                let challenge = challenge.unwrap_or_default();
                let request = EntraServer {
                    prior: &prior,
                    issuer: authority,
                    client_id: Some(client_id),
                    scopes,
                    challenge: &challenge,
                };
                let request = request.configured(resource);
                Self {
                    client: Some(Client::configured(client_id)),
                    port: fixed(*redirect_port),
                    ..Self::entra(server, authority.clone(), request, challenge)
                }
            }
            ServerAuth::Client {
                client_id,
                client_secret,
                issuer,
                scopes,
                redirect_port,
            } => {
                let (secret, issuer) = (client_secret.as_ref(), issuer.as_ref());
                let client = prior.preregistered(client_id, secret, issuer, &discovery);
                let client = client.await?;
                let fits = |server: &AuthorizationServer| client.belongs_to(server);
                let found = discovery.discover(challenge, fits).await?;
                let client = Some(client.client_at(&found.authorization_server)?);
                Self {
                    port: fixed(*redirect_port),
                    ..Self::discovered(found, client, scopes, &prior, &discovery.issuers)?
                }
            }
            ServerAuth::Discover => {
                let fits = |server: &AuthorizationServer| prior.can_register_at(server);
                let found = discovery.discover(challenge, fits).await?;
                let client = prior.metadata_document_client(&found.authorization_server);
                if let Some(client) = &client {
                    prior.check_mix_up_with_entra(client, &found, &discovery.issuers)?;
                }
                Self::discovered(found, client, &[], &prior, &discovery.issuers)?
            }
        };
        let claims = plan.claims.or(prior.challenged_claims(&plan.issuer));
        Self { claims, ..plan }.safe(prior.target)
    }

    fn entra(
        server: AuthorizationServer,
        issuer: Issuer,
        request: EntraRequest,
        challenge: Challenge,
    ) -> Self {
        Self {
            server,
            issuer,
            profile: AuthProfile::Entra,
            client: None,
            audience: request.scopes.join(" "),
            scopes: request.scopes,
            resource: None,
            claims: challenge.claims,
            port: None,
            approval: request.approval,
            foreign_scopes: request.foreign,
            entra_resource: Some(request.resource),
        }
    }

    fn discovered(
        found: Discovered,
        client: Option<Client>,
        configured: &[String],
        prior: &PriorState<'_>,
        issuers: &KnownIssuers,
    ) -> Result<Self, SignInError> {
        let Discovered {
            authorization_server: server,
            resource,
            challenge,
        } = found;
        let issuer = server.issuer.issuer();
        if let Some(resource) = &resource
            && issuers.is_entra(&issuer)
        {
            let request = EntraServer {
                prior,
                issuer: &issuer,
                client_id: client.as_ref().map(|client| &*client.id),
                scopes: configured,
                challenge: &challenge,
            };
            let request = request.discovered(resource)?;
            return Ok(Self {
                client,
                ..Self::entra(server, issuer, request, challenge)
            });
        }
        let listed = resource
            .as_ref()
            .map_or(&[][..], |resource| &resource.scopes);
        let asked = wanted(&Sources {
            configured,
            challenged: &challenge.scopes,
            listed,
            granted: prior.granted_scopes(&issuer),
            is_step_up: challenge.is_insufficient_scope(),
        });
        Ok(Self {
            profile: AuthProfile::Mcp,
            client,
            scopes: with_sign_in_scopes(asked, &server),
            audience: match &resource {
                Some(resource) => resource.resource.to_string(),
                None => issuer.to_string(),
            },
            resource: resource.map(|resource| resource.resource),
            claims: challenge.claims,
            port: None,
            issuer,
            server,
            approval: None,
            foreign_scopes: Vec::new(),
            entra_resource: None,
        })
    }

    /// Returns true if `issuer` is that of the authorization server's own accounts.
    pub(super) fn knows(&self, issuer: &Issuer) -> bool {
        *issuer == self.issuer || self.server.issuer.admits(issuer.as_str())
    }

    /// Checks that nothing is left to approve, for sign-ins without the approval page.
    ///
    /// # Errors
    ///
    /// `ApprovalNeeded`.
    pub(super) fn approved_elsewhere(&self) -> Result<(), SignInError> {
        match &self.approval {
            None => Ok(()),
            Some(approval) => Err(SignInError::ApprovalNeeded {
                approval: Box::new(approval.clone()),
            }),
        }
    }

    /// Returns the error for an authorization server without device codes, or without them for
    /// dynamically registered clients.
    pub(super) fn no_device_code(&self, target: &Target) -> SignInError {
        SignInError::NoDeviceCode {
            server: target.url().shown().to_owned(),
            issuer: self.issuer.to_string(),
        }
    }

    fn safe(self, target: &Target) -> Result<Self, SignInError> {
        match (self.profile, self.server.pkce) {
            (AuthProfile::Mcp, PkceSupport::NotAdvertised) => Err(SignInError::Insecure {
                server: target.url().shown().to_owned(),
                what: format!(
                    "its authorization server {} does not offer PKCE with S256",
                    self.issuer
                ),
            }),
            (AuthProfile::Mcp, PkceSupport::Advertised | PkceSupport::Assumed)
            | (AuthProfile::Entra, _) => Ok(self),
        }
    }

    /// Returns the redirect URI with this port.
    pub(super) fn redirect_uri(&self, port: u16) -> String {
        match self.profile {
            // The form that Entra's portal suggests. Entra ignores the port of `localhost` only.
            AuthProfile::Entra => format!("http://localhost:{port}"),
            AuthProfile::Mcp => format!("http://127.0.0.1:{port}/callback"),
        }
    }

    /// Returns the redirect URI for a preregistered client. Its port is open (RFC 8252 §7.3),
    /// unless the configuration fixes it.
    pub(super) fn registered_redirect_uri(&self) -> RegisteredUri {
        match (self.profile, self.port) {
            (AuthProfile::Entra, _) => RegisteredUri::AnyPort("http://localhost"),
            (AuthProfile::Mcp, None) => RegisteredUri::AnyPort("http://127.0.0.1/callback"),
            (AuthProfile::Mcp, Some(port)) => RegisteredUri::ThisPort(self.redirect_uri(port)),
        }
    }

    /// Returns the scopes to repeat in token requests. Entra needs them each time to determine the
    /// audience. Elsewhere omitting them means the granted ones.
    pub(super) fn repeated(&self) -> &[String] {
        match self.profile {
            AuthProfile::Entra => &self.scopes,
            AuthProfile::Mcp => &[],
        }
    }

    /// Returns the `claims` parameter.
    pub(super) fn claims_parameter(&self) -> Option<String> {
        match self.profile {
            AuthProfile::Entra => Some(entra::claims(self.claims.as_deref())),
            AuthProfile::Mcp => self.claims.clone(),
        }
    }

    /// Returns `form_post` if the server supports it, so that the code does not stay in the
    /// browser's history.
    pub(super) fn response_mode(&self) -> Option<&'static str> {
        let offered = self.server.response_modes.iter();
        let form = offered.into_iter().any(|mode| mode == "form_post");
        (self.profile == AuthProfile::Entra && form).then_some("form_post")
    }
}

/// Returns the port of the configuration, or `None` for 0.
fn fixed(port: u16) -> Option<u16> {
    (port != 0).then_some(port)
}

impl fmt::Display for RegisteredUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyPort(uri) => f.write_str(uri),
            Self::ThisPort(uri) => f.write_str(uri),
        }
    }
}
