//! App registrations: clients, and the APIs they ask tokens for.

use secrecy::SecretString;
use uuid::Uuid;

use crate::credential::{Certificate, FederatedCredential};

/// An app registration: a client, an API, or both.
#[derive(Clone, Debug)]
pub struct App {
    /// The application (client) id.
    pub client_id: Uuid,
    /// The name people see when they consent.
    pub name: String,
    /// Whose people may use it.
    pub sign_in_audience: SignInAudience,
    /// How the client proves who it is, and where its redirects may lead.
    pub platform: Platform,
    /// The registered redirect URIs, all of the one platform.
    pub redirect_uris: Vec<String>,
    /// The Application ID URIs, compared character for character.
    pub app_id_uris: Vec<String>,
    /// The names of the delegated permissions that this API exposes.
    pub scopes: Vec<String>,
    /// The permissions of applications that this API exposes.
    pub app_roles: Vec<AppRole>,
    /// Which tokens this API takes, `requestedAccessTokenVersion`.
    pub access_token_version: AccessTokenVersion,
    /// What the client may sign assertions with; for the Web platform.
    pub certificates: Vec<Certificate>,
    /// Whose tokens the client may show in place of a secret; for the Web platform.
    pub federated_credentials: Vec<FederatedCredential>,
}

/// A permission that an administrator grants to applications.
#[derive(Clone, Debug)]
pub struct AppRole {
    /// As it stands in `roles` of tokens.
    pub value: String,
    /// The client ids of the applications that have it.
    pub granted_to: Vec<Uuid>,
}

/// The version of an API's access tokens, whatever endpoint issues them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTokenVersion {
    /// What manifests have as `null` or `1`.
    V1,
    /// What MCP servers with an https URI have to ask for.
    V2,
}

/// Whose people may use an app, as its manifest says it in `signInAudience`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInAudience {
    /// `AzureADMyOrg`: the people of its own tenant.
    MyOrg,
    /// `AzureADMultipleOrgs`: the people of every organisation.
    MultipleOrgs,
    /// `AzureADandPersonalMicrosoftAccount`: those, and personal accounts.
    OrgsAndPersonal,
    /// `PersonalMicrosoftAccount`: personal accounts alone.
    Personal,
}

/// The platform of an app's redirect URIs.
#[derive(Clone, Debug)]
pub enum Platform {
    /// "Mobile and desktop applications": a public client, no secret.
    MobileDesktop,
    /// "Web": a confidential client.
    Web {
        /// The client secret.
        secret: SecretString,
    },
    /// "Single-page application": a public client that redeems codes across origins.
    Spa,
}

impl App {
    /// An app of one tenant that takes v2 tokens, exposes nothing yet and has no redirect URI.
    #[must_use]
    pub fn new(client_id: Uuid, name: &str, platform: Platform) -> Self {
        Self {
            client_id,
            name: name.to_owned(),
            sign_in_audience: SignInAudience::MyOrg,
            platform,
            redirect_uris: Vec::new(),
            app_id_uris: Vec::new(),
            scopes: Vec::new(),
            app_roles: Vec::new(),
            access_token_version: AccessTokenVersion::V2,
            certificates: Vec::new(),
            federated_credentials: Vec::new(),
        }
    }
}

impl App {
    /// Whether `audience` is that of tokens for it: its client id, or one of its URIs.
    pub(crate) fn takes(&self, audience: &str) -> bool {
        audience.parse() == Ok(self.client_id) || self.app_id_uris.iter().any(|uri| uri == audience)
    }
}

impl SignInAudience {
    /// As portals show it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MyOrg => "This organisation only",
            Self::MultipleOrgs => "Any organisation",
            Self::OrgsAndPersonal => "Any organisation, and personal accounts",
            Self::Personal => "Personal accounts only",
        }
    }
}

impl Platform {
    /// The name that portals show.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::MobileDesktop => "Mobile and desktop applications",
            Self::Web { .. } => "Web",
            Self::Spa => "Single-page application",
        }
    }
}
