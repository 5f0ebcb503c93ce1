//! App registrations: clients, and the APIs that they request tokens for.

use secrecy::SecretString;
use uuid::Uuid;

use crate::credential::{Certificate, FederatedCredential};

/// An app registration: a client, an API, or both.
#[derive(Clone, Debug)]
pub struct App {
    /// The application (client) id.
    pub client_id: Uuid,
    /// The name on the consent page.
    pub name: String,
    /// Which accounts may use the app.
    pub sign_in_audience: SignInAudience,
    /// How the client authenticates, and which redirects are allowed.
    pub platform: Platform,
    /// The registered redirect URIs, all of the same platform.
    pub redirect_uris: Vec<String>,
    /// The Application ID URIs, compared character for character.
    pub app_id_uris: Vec<String>,
    /// The delegated permissions that this API exposes.
    pub scopes: Vec<String>,
    /// The application permissions that this API exposes.
    pub app_roles: Vec<AppRole>,
    /// The version of access tokens for this API, `requestedAccessTokenVersion`.
    pub access_token_version: AccessTokenVersion,
    /// The certificates for client assertions. Web platform only.
    pub certificates: Vec<Certificate>,
    /// The issuers whose tokens replace a client secret. Web platform only.
    pub federated_credentials: Vec<FederatedCredential>,
}

/// A permission that an administrator grants to applications.
#[derive(Clone, Debug)]
pub struct AppRole {
    /// The value in the `roles` claim.
    pub value: String,
    /// The client ids of the applications that were granted the permission.
    pub granted_to: Vec<Uuid>,
}

/// The version of an API's access tokens. It does not depend on the endpoint that issues them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTokenVersion {
    /// `null` or `1` in the manifest.
    V1,
    /// Required for MCP servers with an https App ID URI.
    V2,
}

/// Which accounts may use an app: `signInAudience` in its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInAudience {
    /// `AzureADMyOrg`: accounts of its own tenant.
    MyOrg,
    /// `AzureADMultipleOrgs`: accounts of any organisation.
    MultipleOrgs,
    /// `AzureADandPersonalMicrosoftAccount`: accounts of any organisation, and personal accounts.
    OrgsAndPersonal,
    /// `PersonalMicrosoftAccount`: personal accounts only.
    Personal,
}

/// The platform of an app's redirect URIs.
#[derive(Clone, Debug)]
pub enum Platform {
    /// "Mobile and desktop applications": a public client without a secret.
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
    /// Creates a single-tenant app with v2 tokens. It exposes no permissions and has no redirect
    /// URI.
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
    /// Returns whether `audience` is the client id or an Application ID URI of this app.
    pub(crate) fn takes(&self, audience: &str) -> bool {
        audience.parse() == Ok(self.client_id) || self.app_id_uris.iter().any(|uri| uri == audience)
    }
}

impl SignInAudience {
    /// Returns the name in the Azure portal.
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
    /// Returns the name in the Azure portal.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::MobileDesktop => "Mobile and desktop applications",
            Self::Web { .. } => "Web",
            Self::Spa => "Single-page application",
        }
    }
}
