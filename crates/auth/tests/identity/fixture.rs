//! Somebody's desk: an identity, a clock that a test moves, and a browser that follows links.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::http::Clients;
use auth::{
    Account, Authorization, AuthorizationError, ConfiguredServer, Identity, IdentityOptions,
    Program, SignInError, SignInFlow, SignInReason, Target, Vault, Whom,
};
use model::config::{ClientMetadataUrl, ServerAuth};
use model::{Issuer, ManualClock, Resource};

use super::START;
use super::authority::{Authority, TENANT};
use super::connections;

pub(crate) struct Desk {
    pub(crate) authority: Arc<Authority>,
    pub(crate) identity: Identity,
    pub(crate) clock: ManualClock,
    pub(crate) vault: Vault,
    http: Clients,
}

/// What the browser shows in the end.
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Desk {
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

    /// As a program whose client ID metadata document is at `url`.
    pub(crate) async fn described_at(url: &str) -> Self {
        let desk = Self::new().await;
        let metadata = Some(url.parse().unwrap());
        Self {
            identity: described_at(metadata, &desk.http, &desk.vault, &desk.clock),
            ..desk
        }
    }

    /// A process that starts later with the same vault.
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
        Target {
            url: url.parse().unwrap(),
            auth,
        }
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

    /// Another server that takes the same tokens: usual behind API Management.
    pub(crate) fn beside(&self, target: &Target) -> Target {
        let url = format!("{}/beside/mcp", self.authority.origin);
        Target {
            url: url.parse().unwrap(),
            auth: target.auth.clone(),
        }
    }

    pub(crate) fn entra_usual(&self) -> Target {
        self.entra(TENANT, &["mcp.read"])
    }

    /// A server at Entra that is discovered, with a client that was registered beforehand, beside
    /// one whose configuration names the authority.
    pub(crate) fn discovered_entra(&self, scopes: &[&str]) -> Target {
        let configured = Target {
            url: format!("{}/configured", self.authority.origin)
                .parse()
                .unwrap(),
            ..self.entra(TENANT, &[])
        };
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

    /// Begins a sign-in of whoever signed in before.
    pub(crate) async fn begin(&self, target: &Target) -> Result<SignInFlow, SignInError> {
        let identity = &self.identity;
        identity.start_sign_in(target, None, Whom::Same).await
    }

    /// Signs in, in the browser too.
    pub(crate) async fn sign_in(&self, target: &Target) -> Result<Account, SignInError> {
        let flow = self.begin(target).await?;
        let url = flow.url().clone();
        let (account, _) = tokio::join!(flow.finish(), browse(&url));
        account
    }

    /// What is sent once no refresh is under way any more; `now` is what is sent meanwhile.
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

/// The header's value, for comparing.
pub(crate) fn shown(authorization: &Authorization) -> String {
    authorization.header.to_str().unwrap().to_owned()
}

/// What identities send their requests by.
pub(crate) fn clients() -> Clients {
    Clients::new([], &model::config::Proxy::None).unwrap()
}

/// An identity as it is after a start.
pub(crate) fn identity(http: &Clients, vault: &Vault, clock: &ManualClock) -> Identity {
    described_at(None, http, vault, clock)
}

fn described_at(
    metadata: Option<ClientMetadataUrl>,
    http: &Clients,
    vault: &Vault,
    clock: &ManualClock,
) -> Identity {
    Identity::new(IdentityOptions {
        http: http.clone(),
        vault: vault.clone(),
        clock: clock.clock(),
        program: Program {
            name: "Postern".to_owned(),
            metadata,
        },
        is_other_user: connections::is_other_user,
    })
}

pub(crate) fn client() -> reqwest::Client {
    auth::http::client([], &model::config::Proxy::None).unwrap()
}

/// Follows redirects, and submits the form where there is one.
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

/// Where the browser ends, without ever getting there.
pub(crate) async fn end_of(page: &url::Url) -> url::Url {
    let response = client().get(page.clone()).send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap();
    location.parse().unwrap()
}

/// Where the browser is to come back to from this page.
pub(crate) fn redirect_uri(url: &url::Url) -> url::Url {
    let pair = url.query_pairs().find(|(name, _)| name == "redirect_uri");
    pair.unwrap().1.parse().unwrap()
}
