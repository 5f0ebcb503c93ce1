//! The tenants of the demo. All ids and names are fixed, so that callers need not repeat them.

use secrecy::SecretString;
use uuid::{Uuid, uuid};

use crate::app::{AccessTokenVersion, App, AppRole, Platform, SignInAudience};
use crate::credential::{Certificate, FederatedCredential};
use crate::tenant::{CONSUMERS, ManagedIdentity, Tenant, User};

/// The tenant id.
pub const TENANT_ID: Uuid = uuid!("8c1f0a52-6d0e-4b7a-9f3c-2f5b7f1f6a10");
/// The name of the tenant.
pub const TENANT_NAME: &str = "Contoso";
/// The user name of Adele Vance.
pub const ADELE: &str = "adele@contoso.example";
/// The object id of Adele Vance.
pub const ADELE_OBJECT_ID: Uuid = uuid!("3b1e7d64-52c7-4c0f-8a55-6f4f0a1c2d01");
/// The user name of Grady Archie.
pub const GRADY: &str = "grady@contoso.example";
/// The object id of Grady Archie.
pub const GRADY_OBJECT_ID: Uuid = uuid!("a4c95b7e-0f3d-4d2b-b1a6-9d7c5e2f3b02");
/// The client id of "Postern bridge", a public client that redirects to `http://localhost`.
pub const BRIDGE_CLIENT_ID: Uuid = uuid!("5e0c2c1a-7b64-4f1d-9c58-1d2a3b4c5d01");
/// The client id of "Postern gateway", a Web app and an API.
pub const GATEWAY_CLIENT_ID: Uuid = uuid!("c7a9d3f0-1e52-4a86-8d1b-6e7f8091a202");
/// The secret of "Postern gateway". It protects only the demo.
pub const GATEWAY_SECRET: &str = "demo~gateway.secret-that-protects-nothing";
/// The permission that "Postern gateway" exposes as an API.
pub const GATEWAY_SCOPE: &str = "mcp.access";

/// The client id of "Contoso reports", an API that takes v1 tokens.
pub const REPORTS_CLIENT_ID: Uuid = uuid!("b8e05f4d-2c93-4a61-8f7e-d4a1906c3e04");
/// The delegated permission that "Contoso reports" exposes.
pub const REPORTS_SCOPE: &str = "Reports.Read";
/// The application permission that "Contoso reports" exposes. "Postern gateway" has it.
pub const REPORTS_ROLE: &str = "Reports.Read.All";
/// The client id of "Postern host", a managed identity that "Postern gateway" trusts.
pub const HOST_CLIENT_ID: Uuid = uuid!("61c7a2f5-9e04-4b38-a6d1-f08b3c5e7205");
/// The object id of "Postern host".
pub const HOST_OBJECT_ID: Uuid = uuid!("7a50d9c4-3f68-4e12-9b07-1c6e82d4af06");

/// The tenant id of the second organisation, Fabrikam.
pub const FABRIKAM_TENANT_ID: Uuid = uuid!("2f9e4b6c-8a17-4d35-b0c2-7e61d5a4f320");
/// The user name of Megan Bowen of Fabrikam.
pub const MEGAN: &str = "megan@fabrikam.example";
/// The object id of Megan Bowen.
pub const MEGAN_OBJECT_ID: Uuid = uuid!("d20f7c83-41b9-4e6a-95d7-0c3e8b1a4d03");
/// The user name of Lee Gu, who has a personal account.
pub const LEE: &str = "lee@outlook.example";
/// The object id of Lee Gu. Object ids of personal accounts begin with zeros.
pub const LEE_OBJECT_ID: Uuid = uuid!("00000000-0000-0000-3c7a-91e5d2f6b804");
/// The client id of "Fabrikam notes", a public client for all accounts that redirects to
/// `http://localhost`.
pub const NOTES_CLIENT_ID: Uuid = uuid!("94d1b7e2-6c05-4f8a-a3b9-52e7c0d8f103");

/// Returns the Application ID URI of "Postern gateway".
#[must_use]
pub fn gateway_app_id_uri() -> String {
    format!("api://{GATEWAY_CLIENT_ID}")
}

/// Returns the full scope name of [`GATEWAY_SCOPE`], with the resource in front.
#[must_use]
pub fn gateway_scope() -> String {
    format!("{}/{GATEWAY_SCOPE}", gateway_app_id_uri())
}

impl Tenant {
    /// Returns the demo tenant. `gateway_callback` is the redirect URI of the gateway, for example
    /// `http://localhost:8080/oauth-callback`.
    #[must_use]
    pub fn demo(gateway_callback: &str) -> Self {
        Self {
            id: TENANT_ID,
            name: TENANT_NAME.to_owned(),
            users: vec![
                user(ADELE_OBJECT_ID, ADELE, "Adele Vance"),
                user(GRADY_OBJECT_ID, GRADY, "Grady Archie"),
            ],
            apps: vec![bridge(), gateway(gateway_callback), reports()],
            managed_identities: vec![host()],
        }
    }
}

/// Registers a certificate of "Postern gateway" in the demo tenant.
pub fn trust_certificate(tenant: &mut Tenant, certificate: &Certificate) {
    for app in &mut tenant.apps {
        if app.client_id == GATEWAY_CLIENT_ID {
            app.certificates.push(certificate.clone());
        }
    }
}

/// Returns the other tenants of the demo: a second organisation, and personal accounts.
#[must_use]
pub fn others() -> Vec<Tenant> {
    vec![
        Tenant {
            id: FABRIKAM_TENANT_ID,
            name: "Fabrikam".to_owned(),
            users: vec![user(MEGAN_OBJECT_ID, MEGAN, "Megan Bowen")],
            apps: vec![notes()],
            managed_identities: Vec::new(),
        },
        Tenant {
            id: CONSUMERS,
            name: "Personal accounts".to_owned(),
            users: vec![user(LEE_OBJECT_ID, LEE, "Lee Gu")],
            apps: Vec::new(),
            managed_identities: Vec::new(),
        },
    ]
}

fn user(object_id: Uuid, username: &str, name: &str) -> User {
    User {
        object_id,
        username: username.to_owned(),
        name: name.to_owned(),
    }
}

fn bridge() -> App {
    App {
        redirect_uris: vec!["http://localhost".to_owned()],
        ..App::new(BRIDGE_CLIENT_ID, "Postern bridge", Platform::MobileDesktop)
    }
}

fn notes() -> App {
    App {
        sign_in_audience: SignInAudience::OrgsAndPersonal,
        redirect_uris: vec!["http://localhost".to_owned()],
        ..App::new(NOTES_CLIENT_ID, "Fabrikam notes", Platform::MobileDesktop)
    }
}

/// An API with the default settings of a new registration.
fn reports() -> App {
    let platform = Platform::Web {
        secret: SecretString::from("demo~reports.secret-that-protects-nothing"),
    };
    App {
        app_id_uris: vec![format!("api://{REPORTS_CLIENT_ID}")],
        scopes: vec![REPORTS_SCOPE.to_owned()],
        app_roles: vec![AppRole {
            value: REPORTS_ROLE.to_owned(),
            granted_to: vec![GATEWAY_CLIENT_ID],
        }],
        access_token_version: AccessTokenVersion::V1,
        ..App::new(REPORTS_CLIENT_ID, "Contoso reports", platform)
    }
}

fn host() -> ManagedIdentity {
    ManagedIdentity {
        object_id: HOST_OBJECT_ID,
        client_id: HOST_CLIENT_ID,
        name: "Postern host".to_owned(),
    }
}

fn gateway(callback: &str) -> App {
    let platform = Platform::Web {
        secret: SecretString::from(GATEWAY_SECRET),
    };
    App {
        redirect_uris: vec![callback.to_owned()],
        app_id_uris: vec![gateway_app_id_uri()],
        scopes: vec![GATEWAY_SCOPE.to_owned()],
        federated_credentials: vec![FederatedCredential {
            issuer: TENANT_ID,
            subject: HOST_OBJECT_ID.to_string(),
            audience: FederatedCredential::AUDIENCE.to_owned(),
        }],
        ..App::new(GATEWAY_CLIENT_ID, "Postern gateway", platform)
    }
}
