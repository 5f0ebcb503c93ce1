//! What the emulated tenant holds: its users and its app registrations.

use secrecy::SecretString;
use uuid::Uuid;

/// One Entra tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The tenant id, `tid` in tokens.
    pub id: Uuid,
    /// The name people see on the sign-in page.
    pub name: String,
    /// Who can sign in; any non-empty password is right.
    pub users: Vec<User>,
    /// The app registrations: clients, and the APIs they ask tokens for.
    pub apps: Vec<App>,
}

/// A member of the tenant.
#[derive(Clone, Debug)]
pub struct User {
    /// The object id, `oid` in tokens.
    pub object_id: Uuid,
    /// The user principal name, as in `adele@contoso.example`.
    pub username: String,
    /// The display name.
    pub name: String,
}

/// An app registration: a client, an API, or both.
#[derive(Clone, Debug)]
pub struct App {
    /// The application (client) id.
    pub client_id: Uuid,
    /// The name people see when they consent.
    pub name: String,
    /// How the client proves who it is, and where its redirects may lead.
    pub platform: Platform,
    /// The registered redirect URIs, all of the one platform.
    pub redirect_uris: Vec<String>,
    /// The Application ID URIs, compared character for character.
    pub app_id_uris: Vec<String>,
    /// The names of the delegated permissions that this API exposes.
    pub scopes: Vec<String>,
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

impl Tenant {
    pub(crate) fn app(&self, client_id: Uuid) -> Option<&App> {
        self.apps.iter().find(|app| app.client_id == client_id)
    }

    pub(crate) fn user(&self, object_id: Uuid) -> Option<&User> {
        self.users.iter().find(|user| user.object_id == object_id)
    }

    /// Whom a person means who types `username`.
    pub(crate) fn user_named(&self, username: &str) -> Option<&User> {
        let wanted = username.trim();
        self.users
            .iter()
            .find(|user| user.username.eq_ignore_ascii_case(wanted))
    }

    /// Whether `name` is a verified domain: one that a user name ends with.
    pub(crate) fn has_domain(&self, name: &str) -> bool {
        self.users.iter().any(|user| {
            user.username
                .rsplit_once('@')
                .is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(name))
        })
    }
}

impl App {
    /// `azpacr` in tokens: how a client of this platform proves who it is.
    pub(crate) fn authentication_class(&self) -> &'static str {
        match self.platform {
            Platform::MobileDesktop | Platform::Spa => "0",
            Platform::Web { .. } => "1",
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
