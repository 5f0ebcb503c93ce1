//! The fixture of these tests: an identity, a clock that a test advances, and a browser that
//! follows links.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::http::HttpClients;
use auth::{
    Account, AccountSelection, Authorization, AuthorizationError, ClientMetadata, ConfiguredServer,
    Identity, IdentityOptions, SignInError, SignInFlow, SignInReason, Target, Vault,
};
use model::config::{ClientMetadataUrl, ServerAuth};
use model::{Issuer, ManualClock, Resource};

use super::START;
use super::authority::{Authority, TENANT};
use super::connections;

pub(crate) struct Fixture {
    pub(crate) authority: Arc<Authority>,
    pub(crate) identity: Identity,
    pub(crate) clock: ManualClock,
    pub(crate) vault: Vault,
    http: HttpClients,
}

/// The last page in the browser.
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with_vault(Vault::memory()).await
    }

    pub(crate) async fn with_vault(vault: Vault) -> Self {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(START));
        let http = clients();
        Self {
            authority: Authority::start().await,
            identity: identity(&http, &vault, &clock),
            clock,
            vault,
            http,
        }
    }

    /// Creates a fixture with a client ID metadata document at `url`.
    pub(crate) async fn with_client_metadata(url: &str) -> Self {
        let fixture = Self::new().await;
        let metadata = Some(url.parse().unwrap());
        Self {
            identity: with_client_metadata(metadata, &fixture.http, &fixture.vault, &fixture.clock),
            ..fixture
        }
    }

    /// Returns the identity of a later process with the same vault.
    pub(crate) fn restarted(&self) -> Identity {
        identity(&self.http, &self.vault, &self.clock)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn target(&self) -> Target {
        self.target_with(ServerAuth::Discover)
    }

    pub(crate) fn target_with(&self, auth: ServerAuth) -> Target {
        let url = format!("{}/mcp", self.authority.origin);
        Target::new(url.parse().unwrap(), auth)
    }

    pub(crate) fn entra(&self, tenant: &str, scopes: &[&str]) -> Target {
        self.target_with(ServerAuth::Entra {
            authority: Issuer::new(format!("{}/{tenant}/v2.0", self.authority.origin)),
            client_id: "the-app".to_owned(),
            resource: Resource::new("api://the-api"),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            redirect_port: 0,
        })
    }

    /// Returns another server that takes the same tokens, which is common behind API Management.
    pub(crate) fn beside(&self, target: &Target) -> Target {
        let url = format!("{}/beside/mcp", self.authority.origin);
        Target::new(url.parse().unwrap(), target.auth().clone())
    }

    pub(crate) fn entra_usual(&self) -> Target {
        self.entra(TENANT, &["mcp.read"])
    }

    /// Returns a discovered server at Entra with a preregistered client, besides one whose
    /// configuration names the authority.
    pub(crate) fn discovered_entra(&self, scopes: &[&str]) -> Target {
        let configured = Target::new(
            format!("{}/configured", self.authority.origin)
                .parse()
                .unwrap(),
            self.entra(TENANT, &[]).auth().clone(),
        );
        let target = self.target_with(ServerAuth::Client {
            client_id: "the-app".to_owned(),
            client_secret: None,
            issuer: None,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            redirect_port: 0,
        });
        let issuer = format!("{}/{TENANT}/v2.0", self.authority.origin);
        self.authority.set(|b| {
            b.issuer = None;
            b.resource["authorization_servers"] = serde_json::json!([issuer]);
        });
        let server = |name: &str, target: &Target| ConfiguredServer {
            name: name.to_owned(),
            target: target.clone(),
        };
        self.identity
            .set_servers(vec![server("files", &configured), server("notes", &target)]);
        target
    }

    /// Starts a sign-in with the previous account.
    pub(crate) async fn begin(&self, target: &Target) -> Result<SignInFlow, SignInError> {
        let identity = &self.identity;
        identity
            .start_sign_in(target, None, AccountSelection::Last)
            .await
    }

    /// Signs in, with the browser's part.
    pub(crate) async fn sign_in(&self, target: &Target) -> Result<Account, SignInError> {
        let flow = self.begin(target).await?;
        let url = flow.url().clone();
        let (account, _) = tokio::join!(flow.finish(), browse(&url));
        account
    }

    /// Returns the header after the refresh. `now` is the expected header during it.
    pub(crate) async fn header_after_refresh(&self, target: &Target, now: &str) -> String {
        assert_eq!(self.header(target).await, now);
        self.identity.settled().await;
        self.header(target).await
    }

    pub(crate) async fn header(&self, target: &Target) -> String {
        shown(&self.identity.authorization(target).await.unwrap().unwrap())
    }
}

/// Returns why a target has no authorization but needs a sign-in.
pub(crate) async fn reason(identity: &Identity, target: &Target) -> SignInReason {
    match identity.authorization(target).await {
        Err(AuthorizationError::SignInNeeded { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Returns the header's value.
pub(crate) fn shown(authorization: &Authorization) -> String {
    authorization.header.to_str().unwrap().to_owned()
}

/// Returns the HTTP clients of identities.
pub(crate) fn clients() -> HttpClients {
    HttpClients::new([], &model::config::Proxy::None).unwrap()
}

/// Returns an identity as it is after a start.
pub(crate) fn identity(http: &HttpClients, vault: &Vault, clock: &ManualClock) -> Identity {
    with_client_metadata(None, http, vault, clock)
}

fn with_client_metadata(
    metadata: Option<ClientMetadataUrl>,
    http: &HttpClients,
    vault: &Vault,
    clock: &ManualClock,
) -> Identity {
    Identity::new(IdentityOptions {
        http: http.clone(),
        vault: vault.clone(),
        clock: clock.clock(),
        client: ClientMetadata {
            name: "Postern".to_owned(),
            document_url: metadata,
        },
        is_other_user: connections::is_other_user,
    })
}

pub(crate) fn client() -> reqwest::Client {
    auth::http::client([], &model::config::Proxy::None).unwrap()
}

/// Follows redirects, and submits a form.
pub(crate) async fn browse(url: &url::Url) -> Shown {
    let client = client();
    let mut response = client.get(url.clone()).send().await.unwrap();
    while let Some(location) = response.headers().get("location") {
        let next = url.join(location.to_str().unwrap()).unwrap();
        response = client.get(next).send().await.unwrap();
    }
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let Some(form) = text.strip_prefix("POST ") else {
        return Shown { status, text };
    };
    let (action, body) = form.split_once(' ').unwrap();
    let request = client
        .post(action)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.to_owned());
    let response = request.send().await.unwrap();
    Shown {
        status: response.status().as_u16(),
        text: response.text().await.unwrap(),
    }
}

/// Returns where the browser ends, without the last request.
pub(crate) async fn end_of(page: &url::Url) -> url::Url {
    let response = client().get(page.clone()).send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap();
    location.parse().unwrap()
}

/// Returns the redirect URI of an authorization request.
pub(crate) fn redirect_uri(url: &url::Url) -> url::Url {
    let pair = url.query_pairs().find(|(name, _)| name == "redirect_uri");
    pair.unwrap().1.parse().unwrap()
}
