//! The tenant of the demo: everything in it is fixed, so that callers need not repeat it.

use secrecy::SecretString;
use uuid::{Uuid, uuid};

use crate::tenant::{App, Platform, Tenant, User};

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
/// The secret of "Postern gateway". It protects nothing but the demo.
pub const GATEWAY_SECRET: &str = "demo~gateway.secret-that-protects-nothing";
/// The permission that "Postern gateway" exposes as an API.
pub const GATEWAY_SCOPE: &str = "mcp.access";

/// The Application ID URI of "Postern gateway".
#[must_use]
pub fn gateway_app_id_uri() -> String {
    format!("api://{GATEWAY_CLIENT_ID}")
}

/// The scope by which a client asks for [`GATEWAY_SCOPE`], with the resource in front.
#[must_use]
pub fn gateway_scope() -> String {
    format!("{}/{GATEWAY_SCOPE}", gateway_app_id_uri())
}

impl Tenant {
    /// The demo tenant; `gateway_callback` is where the gateway takes its codes, as in
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
            apps: vec![bridge(), gateway(gateway_callback)],
        }
    }
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
        client_id: BRIDGE_CLIENT_ID,
        name: "Postern bridge".to_owned(),
        platform: Platform::MobileDesktop,
        redirect_uris: vec!["http://localhost".to_owned()],
        app_id_uris: Vec::new(),
        scopes: Vec::new(),
    }
}

fn gateway(callback: &str) -> App {
    App {
        client_id: GATEWAY_CLIENT_ID,
        name: "Postern gateway".to_owned(),
        platform: Platform::Web {
            secret: SecretString::from(GATEWAY_SECRET),
        },
        redirect_uris: vec![callback.to_owned()],
        app_id_uris: vec![gateway_app_id_uri()],
        scopes: vec![GATEWAY_SCOPE.to_owned()],
    }
}
