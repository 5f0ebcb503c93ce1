//! The program, and what an administrator sets up in it through its API.

use std::{path::Path, process::Stdio};

use reqwest::{Method, Response, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::folder::furnish;
use crate::harness::{until, wire, within};

/// Everybody's but the administrator's.
pub(super) const PASSWORD: &str = "any password";

const PROGRAM: &str = "/usr/bin/glewlwyd";

/// What is particular to one start.
pub(super) struct Setting<'a> {
    pub(super) port: u16,
    /// For so many seconds an access token lives.
    pub(super) life: u32,
    /// Whether it has codes for devices.
    pub(super) devices: bool,
    /// What tokens may be for.
    pub(super) resource: &'a str,
}

/// The authorization server. It ends with this value, with all it knows.
pub(super) struct Glewlwyd {
    address: String,
    http: reqwest::Client,
    /// The administrator's.
    session: String,
    _process: Child,
    _folder: TempDir,
}

/// How many refresh tokens somebody has and had.
#[derive(Debug)]
pub(super) struct RefreshTokens {
    pub(super) alive: usize,
    pub(super) of_old: usize,
}

/// Whether this machine has it. Where a package would bring it, it has to be there.
pub(super) fn is_here() -> bool {
    let is_here = Path::new(PROGRAM).exists();
    assert!(
        is_here || !Path::new("/usr/bin/apt-get").exists(),
        "no {PROGRAM}; hint: `cargo xtask tools` installs it"
    );
    is_here
}

pub(super) fn issuer(port: u16) -> String {
    format!("http://127.0.0.1:{port}/api/oidc")
}

impl Glewlwyd {
    pub(super) async fn start(setting: &Setting<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        furnish(folder.path(), setting.port).await;
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
        // Whom a new database knows, by the word it has for that.
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

    async fn set_up(&self, setting: &Setting<'_>) {
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

    pub(super) async fn add_person(&self, name: &str) {
        let person = json!({
            "username": name,
            "email": format!("{name}@example.test"),
            "password": PASSWORD,
            "scope": ["openid", "mcp.read"],
        });
        self.add("user", &person).await;
    }

    /// A client without a secret, which never sees a browser.
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

    /// As the person sees them, who alone does.
    pub(super) async fn refresh_tokens(&self, of: &str) -> RefreshTokens {
        let session = log_in(&self.http, &self.address, of, PASSWORD).await;
        let session = session.expect("their session");
        let answer = self.ask(Method::GET, "oidc/token/", &session, None).await;
        let told: Vec<Value> = answer.json().await.expect("a list");
        let (alive, of_old): (Vec<_>, Vec<_>) =
            told.iter().partition(|token| token["enabled"] == true);
        RefreshTokens {
            alive: alive.len(),
            of_old: of_old.len(),
        }
    }

    /// As the administrator.
    async fn add(&self, what: &str, with: &Value) {
        let path = format!("{what}/");
        self.ask(Method::POST, &path, &self.session, Some(with))
            .await;
    }

    async fn ask(
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

/// The cookie of a session; `None` as long as nobody answers.
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

/// OpenID Connect, strict where MCP is: PKCE from everybody, the resource as the audience, and a
/// refresh token that is good for one renewal.
fn plugin(setting: &Setting<'_>) -> Value {
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
            "access-token-duration": setting.life,
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
