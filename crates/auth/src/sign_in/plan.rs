//! What to ask for at an authorization server, made from the configuration, from what was
//! discovered and from what the server said when it refused.

use model::config::ServerAuth;
use model::{Issuer, Resource};

use super::known::Known;
use super::outlook::RegisteredUri;
use crate::dialect::{self, Dialect};
use crate::discovery::{AuthorizationServer, Challenge, Discovered, Discovery, Proof};
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
    /// Whether anything says that the server wants a sign-in.
    pub(super) protected: bool,
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
                let asked = wanted(scopes, &[], &challenge, known.granted_by(authority));
                Self {
                    client: Some(Client::configured(client_id)),
                    port: fixed(*redirect_port),
                    ..Self::entra(server, authority.clone(), &asked, resource, challenge)
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
                Self {
                    client: Some(client.shown_to(&found.authorization_server)?),
                    port: fixed(*redirect_port),
                    ..Self::discovered(found, scopes, &known)
                }
            }
            ServerAuth::Discover => {
                let fits = |server: &AuthorizationServer| known.can_be_known_to(server);
                let found = discovery.of_server(challenge, fits).await?;
                Self {
                    client: known.described_client(&found.authorization_server),
                    ..Self::discovered(found, &[], &known)
                }
            }
        };
        let claims = plan.claims.or(known.claims_of(&plan.issuer));
        Self { claims, ..plan }.safe(known.target)
    }

    /// Scopes carry the audience; `resource` is never sent. Entra takes it only where it is one
    /// of the application's URIs to the letter, and then the scopes say the same.
    fn entra(
        server: AuthorizationServer,
        issuer: Issuer,
        asked: &[String],
        resource: &Resource,
        challenge: Challenge,
    ) -> Self {
        let scopes = dialect::qualified(asked, resource);
        Self {
            server,
            issuer,
            dialect: Dialect::Entra,
            client: None,
            audience: scopes.join(" "),
            scopes,
            resource: None,
            claims: challenge.claims,
            port: None,
            protected: true,
        }
    }

    fn discovered(found: Discovered, configured: &[String], known: &Known<'_>) -> Self {
        let Discovered {
            authorization_server: server,
            resource,
            challenge,
            protected,
        } = found;
        let issuer = server.issuer.issuer();
        let listed = resource
            .as_ref()
            .map_or(&[][..], |resource| &resource.scopes);
        let asked = wanted(configured, listed, &challenge, known.granted_by(&issuer));
        match resource {
            Some(resource) if dialect::is_entra(&issuer) => {
                Self::entra(server, issuer, &asked, &resource.resource, challenge)
            }
            resource => Self {
                dialect: Dialect::Mcp,
                client: None,
                scopes: with_sign_in_scopes(asked, &server),
                audience: match &resource {
                    Some(resource) => resource.resource.to_string(),
                    None => issuer.to_string(),
                },
                resource: resource.map(|resource| resource.resource),
                claims: challenge.claims,
                port: None,
                protected,
                issuer,
                server,
            },
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
            Dialect::Entra => Some(dialect::claims(self.claims.as_deref())),
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
fn wanted(
    configured: &[String],
    listed: &[String],
    challenge: &Challenge,
    granted: &[String],
) -> Vec<String> {
    let first = [configured, &challenge.scopes, listed]
        .into_iter()
        .find(|scopes| !scopes.is_empty());
    let mut scopes = first.unwrap_or_default().to_vec();
    if challenge.error.as_deref() == Some("insufficient_scope") {
        for scope in challenge.scopes.iter().chain(granted) {
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
