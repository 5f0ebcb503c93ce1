//! The program, and its setup through the administrator's API.

use std::{path::Path, process::Stdio};

use reqwest::{Method, Response, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::folder::prepare_folder;
use crate::harness::{until, wire, within};

/// The password of all users except the administrator.
pub(super) const PASSWORD: &str = "any password";

const PROGRAM: &str = "/usr/bin/glewlwyd";

/// The options of one start.
pub(super) struct Options<'a> {
    pub(super) port: u16,
    /// The lifetime of an access token, in seconds.
    pub(super) token_lifetime: u32,
    /// Whether the device grant is enabled.
    pub(super) devices: bool,
    /// The resource that tokens may be for.
    pub(super) resource: &'a str,
}

/// The authorization server. It stops when it is dropped and deletes its data.
pub(super) struct Glewlwyd {
    address: String,
    http: reqwest::Client,
    /// The administrator's session cookie.
    session: String,
    _process: Child,
    _folder: TempDir,
}

/// The counts of a user's refresh tokens.
#[derive(Debug)]
pub(super) struct RefreshTokens {
    pub(super) enabled: usize,
    pub(super) disabled: usize,
}

/// Returns true if the program is installed. Panics if it is missing although a package of it
/// exists.
pub(super) fn is_installed() -> bool {
    let is_installed = Path::new(PROGRAM).exists();
    assert!(
        is_installed || !Path::new("/usr/bin/apt-get").exists(),
        "no {PROGRAM}; hint: `cargo xtask tools` installs it"
    );
    is_installed
}

pub(super) fn issuer(port: u16) -> String {
    format!("http://127.0.0.1:{port}/api/oidc")
}

impl Glewlwyd {
    pub(super) async fn start(setting: &Options<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        prepare_folder(folder.path(), setting.port).await;
        let process = Command::new(PROGRAM)
            .arg("--config-file")
            .arg(folder.path().join("glewlwyd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("glewlwyd starts");
        let address = format!("http://127.0.0.1:{}", setting.port);
        let http = wire::client();
        // The user and password of a new database.
        let session = until("glewlwyd", async || {
            log_in(&http, &address, "admin", "password").await
        })
        .await;
        let authority = Self {
            address,
            http,
            session,
            _process: process,
            _folder: folder,
        };
        authority.set_up(setting).await;
        authority
    }

    async fn set_up(&self, setting: &Options<'_>) {
        self.add("mod/plugin", &plugin(setting)).await;
        for scope in ["mcp.read", "looks-into-tokens"] {
            self.add("scope", &json!({ "name": scope })).await;
        }
        let resource_server = json!({
            "client_id": "resource-server",
            "confidential": true,
            "client_secret": "looks-into-tokens",
            "token_endpoint_auth_method": ["client_secret_basic"],
            "authorization_type": ["client_credentials"],
            "scope": ["looks-into-tokens"],
        });
        self.add("client", &resource_server).await;
    }

    pub(super) async fn add_user(&self, name: &str) {
        let person = json!({
            "username": name,
            "email": format!("{name}@example.test"),
            "password": PASSWORD,
            "scope": ["openid", "mcp.read"],
        });
        self.add("user", &person).await;
    }

    /// Adds a public client that uses no browser.
    pub(super) async fn add_device(&self, client_id: &str) {
        let device = json!({
            "client_id": client_id,
            "confidential": false,
            "token_endpoint_auth_method": ["none"],
            "authorization_type": ["device_authorization", "refresh_token"],
            "scope": [],
        });
        self.add("client", &device).await;
    }

    /// Returns the counts of a user's refresh tokens. Only the user can list them.
    pub(super) async fn refresh_tokens(&self, of: &str) -> RefreshTokens {
        let session = log_in(&self.http, &self.address, of, PASSWORD).await;
        let session = session.expect("their session");
        let answer = self
            .send_request(Method::GET, "oidc/token/", &session, None)
            .await;
        let told: Vec<Value> = answer.json().await.expect("a list");
        let (enabled, disabled): (Vec<_>, Vec<_>) =
            told.iter().partition(|token| token["enabled"] == true);
        RefreshTokens {
            enabled: enabled.len(),
            disabled: disabled.len(),
        }
    }

    /// Adds an object as the administrator.
    async fn add(&self, what: &str, with: &Value) {
        let path = format!("{what}/");
        self.send_request(Method::POST, &path, &self.session, Some(with))
            .await;
    }

    async fn send_request(
        &self,
        method: Method,
        path: &str,
        session: &str,
        body: Option<&Value>,
    ) -> Response {
        let mut request = self
            .http
            .request(method, format!("{}/api/{path}", self.address))
            .header(header::COOKIE, session);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = within(path, request.send()).await.expect("an answer");
        if answer.status() != 200 {
            let status = answer.status();
            panic!("{path}: {status} {}", answer.text().await.expect("text"));
        }
        answer
    }
}

/// Returns the cookie of a new session, or `None` while the server does not respond.
async fn log_in(
    http: &reqwest::Client,
    address: &str,
    name: &str,
    password: &str,
) -> Option<String> {
    let who = json!({ "username": name, "password": password });
    let request = http.post(format!("{address}/api/auth/")).json(&who);
    let answer = request.send().await.ok()?;
    let cookie = answer.headers()[header::SET_COOKIE].to_str();
    let cookie = cookie.expect("a cookie").split(';').next();
    cookie.map(str::to_owned)
}

/// Returns the OpenID Connect plugin's configuration, as strict as MCP requires: PKCE for all
/// clients, the resource as the audience, and refresh tokens that are used once.
fn plugin(setting: &Options<'_>) -> Value {
    json!({
        "module": "oidc",
        "name": "oidc",
        "display_name": "OpenID Connect",
        "parameters": {
            "iss": issuer(setting.port),
            "oauth-as-iss-id": true,
            "jwt-type": "sha",
            "jwt-key-size": "256",
            "key": "only for tests",
            "allowed-scope": ["openid", "mcp.read"],
            "subject-type": "public",
            "claims": [{
                "name": "preferred_username",
                "user-property": "email",
                "type": "string",
                "mandatory": true,
            }],
            "access-token-duration": setting.token_lifetime,
            "refresh-token-duration": 3600,
            "refresh-token-one-use": "always",
            "code-duration": 60,
            "allow-non-oidc": true,
            "auth-type-code-enabled": true,
            "auth-type-client-enabled": true,
            "auth-type-refresh-enabled": true,
            "auth-type-device-enabled": setting.devices,
            "device-authorization-interval": 1,
            "pkce-allowed": true,
            "pkce-required": true,
            "resource-allowed": true,
            "resource-scope": { "mcp.read": [setting.resource] },
            "register-client-allowed": true,
            "introspection-revocation-allowed": true,
            "introspection-revocation-allow-target-client": true,
            "introspection-revocation-auth-scope": ["looks-into-tokens"],
        },
    })
}
