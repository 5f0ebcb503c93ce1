//! What to ask for at an authorization server, made from the configuration, from what was
//! discovered and from what the server said when it refused.

use model::config::ServerAuth;
use model::{Issuer, Resource};

use super::entra_request::{EntraRequest, EntraServer};
use super::preview::RegisteredUri;
use super::prior_state::Known;
use crate::audience::Approval;
use crate::discovery::{
    AuthorizationServer, Challenge, Discovered, Discovery, KnownIssuers, Proof,
};
use crate::entra::{self, Dialect};
use crate::error::SignInError;
use crate::http::Clients;
use crate::identity::Target;
use crate::registration::Client;

/// One sign-in, decided.
pub(super) struct Plan {
    pub(super) server: AuthorizationServer,
    /// What the grant is filed under: the configured authority, else the server's own word.
    pub(super) issuer: Issuer,
    pub(super) dialect: Dialect,
    /// The client that is known beforehand; `None` to register.
    pub(super) client: Option<Client>,
    pub(super) scopes: Vec<String>,
    pub(super) resource: Option<Resource>,
    pub(super) audience: String,
    pub(super) claims: Option<String>,
    /// The port of the redirect URI, where it is fixed.
    pub(super) port: Option<u16>,
    /// What the user has to approve before the authorization server is asked.
    pub(super) approval: Option<Approval>,
    /// Scopes of other resources, which the server named and which are not asked for.
    pub(super) foreign_scopes: Vec<String>,
    /// The resource that the scopes carry, at Entra.
    pub(super) entra_resource: Option<Resource>,
}

/// Where scopes come from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) configured: &'a [String],
    /// Named when the server refused.
    pub(super) challenged: &'a [String],
    /// Named by the server's metadata.
    pub(super) listed: &'a [String],
    /// Of the last sign-in.
    pub(super) granted: &'a [String],
    /// Whether the server refused for want of scopes.
    pub(super) is_step_up: bool,
}

impl Plan {
    /// Finds out and decides.
    pub(super) async fn make(
        http: &Clients,
        known: Known<'_>,
        challenge: Option<Challenge>,
    ) -> Result<Self, SignInError> {
        let discovery = Discovery {
            http,
            server: &known.target.url,
            issuers: KnownIssuers::new(known.source, known.target),
        };
        let plan = match &known.target.auth {
            ServerAuth::None => {
                return Err(SignInError::NotProtected {
                    server: known.server(),
                });
            }
            ServerAuth::ClientCredentials(_) => {
                return Err(SignInError::NotForPeople {
                    server: known.server(),
                });
            }
            ServerAuth::Entra {
                authority,
                client_id,
                resource,
                scopes,
                redirect_port,
            } => {
                let server = discovery.of_entra(authority).await?;
                let challenge = challenge.unwrap_or_default();
                let request = EntraServer {
                    known: &known,
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
                let client = known.registered(client_id, secret, issuer, &discovery);
                let client = client.await?;
                let fits = |server: &AuthorizationServer| client.belongs_to(server);
                let found = discovery.of_server(challenge, fits).await?;
                let client = Some(client.shown_to(&found.authorization_server)?);
                Self {
                    port: fixed(*redirect_port),
                    ..Self::discovered(found, client, scopes, &known, &discovery.issuers)?
                }
            }
            ServerAuth::Discover => {
                let fits = |server: &AuthorizationServer| known.can_be_known_to(server);
                let found = discovery.of_server(challenge, fits).await?;
                let client = known.described_client(&found.authorization_server);
                if let Some(client) = &client {
                    known.keep_apart_from_entra(client, &found, &discovery.issuers)?;
                }
                Self::discovered(found, client, &[], &known, &discovery.issuers)?
            }
        };
        let claims = plan.claims.or(known.claims_of(&plan.issuer));
        Self { claims, ..plan }.safe(known.target)
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
            dialect: Dialect::Entra,
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
        known: &Known<'_>,
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
                known,
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
            granted: known.granted_by(&issuer),
            is_step_up: challenge.is_insufficient_scope(),
        });
        Ok(Self {
            dialect: Dialect::Mcp,
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

    /// Returns whether accounts of `issuer` are the authorization server's own.
    pub(super) fn knows(&self, issuer: &Issuer) -> bool {
        *issuer == self.issuer || self.server.issuer.admits(issuer.as_str())
    }

    /// Checks that nothing is left to approve. For sign-ins that do not show the approval page.
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

    fn safe(self, target: &Target) -> Result<Self, SignInError> {
        match (self.dialect, self.server.proof) {
            (Dialect::Mcp, Proof::NotAdvertised) => Err(SignInError::Insecure {
                server: target.url.shown().to_owned(),
                what: format!(
                    "its authorization server {} does not offer PKCE with S256",
                    self.issuer
                ),
            }),
            (Dialect::Mcp, Proof::Advertised | Proof::Assumed) | (Dialect::Entra, _) => Ok(self),
        }
    }

    /// The redirect URI on a port of this machine.
    pub(super) fn redirect_uri(&self, port: u16) -> String {
        match self.dialect {
            // The form that Entra's portal suggests; it ignores the port of `localhost` alone.
            Dialect::Entra => format!("http://localhost:{port}"),
            Dialect::Mcp => format!("http://127.0.0.1:{port}/callback"),
        }
    }

    /// The redirect URI as somebody registers it beforehand: its port is left open (RFC 8252
    /// section 7.3), unless the configuration fixes it.
    pub(super) fn registered_redirect_uri(&self) -> RegisteredUri {
        match (self.dialect, self.port) {
            (Dialect::Entra, _) => RegisteredUri::AnyPort("http://localhost"),
            (Dialect::Mcp, None) => RegisteredUri::AnyPort("http://127.0.0.1/callback"),
            (Dialect::Mcp, Some(port)) => RegisteredUri::ThisPort(self.redirect_uri(port)),
        }
    }

    /// The scopes to repeat when redeeming and renewing. Entra needs them each time to know the
    /// audience; elsewhere leaving them out means those that were granted.
    pub(super) fn repeated(&self) -> &[String] {
        match self.dialect {
            Dialect::Entra => &self.scopes,
            Dialect::Mcp => &[],
        }
    }

    /// The `claims` parameter.
    pub(super) fn claims_parameter(&self) -> Option<String> {
        match self.dialect {
            Dialect::Entra => Some(entra::claims(self.claims.as_deref())),
            Dialect::Mcp => self.claims.clone(),
        }
    }

    /// How the answer is to come back: in a form, where the server offers that, so that no code
    /// stays in the browser's history.
    pub(super) fn response_mode(&self) -> Option<&'static str> {
        let offered = self.server.response_modes.iter();
        let form = offered.into_iter().any(|mode| mode == "form_post");
        (self.dialect == Dialect::Entra && form).then_some("form_post")
    }
}

/// The port that the configuration fixes.
fn fixed(port: u16) -> Option<u16> {
    (port != 0).then_some(port)
}

/// The scopes for using the server: configured, else named in its challenge, else listed by it;
/// after `insufficient_scope`, those that were granted before as well.
pub(super) fn wanted(sources: &Sources<'_>) -> Vec<String> {
    let first = [sources.configured, sources.challenged, sources.listed]
        .into_iter()
        .find(|scopes| !scopes.is_empty());
    let mut scopes = first.unwrap_or_default().to_vec();
    if sources.is_step_up {
        for scope in sources.challenged.iter().chain(sources.granted) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
    }
    scopes
}

/// Adds what brings a refresh token and a name, where the server lists it. Not to an empty list:
/// that asks for the server's default, which an addition would turn off.
fn with_sign_in_scopes(mut scopes: Vec<String>, server: &AuthorizationServer) -> Vec<String> {
    if scopes.is_empty() {
        return scopes;
    }
    for scope in ["openid", "profile", "offline_access"] {
        if server.offers_scope(scope) && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}
