//! Which addresses the requests of a grant may reach.

use std::collections::BTreeSet;
use std::time::SystemTime;

use model::config::ServerAuth;
use model::{Clock, Issuer};

use super::{Endpoints, Grant, GrantKey, GrantStore, ObtainedBy, Tokens};
use crate::account::{Account, AccountKey};
use crate::http::NetworkZone;
use crate::http::tests::{INSIDE, Net};
use crate::identity::{Identity, IdentityOptions};
use crate::registration::Client;
use crate::secret::{AccessToken, RefreshToken};
use crate::target::{ClientMetadata, Target};
use crate::vault::Vault;

const ISSUER: &str = "https://login.example";

pub(super) fn target() -> Target {
    Target::new(
        "https://mcp.example/mcp".parse().unwrap(),
        ServerAuth::Discover,
    )
}

/// Returns a grant of an authorization server on this port, which a server in `zone` names. The
/// access token is valid and should be refreshed.
pub(super) fn grant(target: &Target, zone: NetworkZone, port: u16) -> Grant {
    let at = |path: &str| format!("{ISSUER}:{port}{path}").parse().unwrap();
    Grant {
        key: GrantKey {
            issuer: Issuer::new(ISSUER),
            client_id: "client".to_owned(),
            audience: "audience".to_owned(),
            subject: "alice".to_owned(),
        },
        targets: BTreeSet::from([target.key().clone()]),
        account: Account {
            key: AccountKey {
                issuer: Issuer::new(ISSUER),
                subject: "alice".to_owned(),
            },
            name: None,
            username: None,
            tenant: None,
            object_id: None,
        },
        client: Client::configured("client"),
        resource: None,
        asked: Vec::new(),
        repeated: Vec::new(),
        obtained_by: ObtainedBy::Browser,
        endpoints: Endpoints {
            token: at("/token"),
            revocation: Some(at("/revoke")),
            end_session: None,
            consents: Some(at("/consents")),
            zone,
        },
        tokens: Tokens {
            access: AccessToken::new("access"),
            refresh: Some(RefreshToken::new("refresh")),
            obtained_at: 0,
            expires_at: None,
            refresh_at: Some(0),
            scopes: None,
        },
    }
}

/// Returns the requests to a private network address that the name of the authorization server
/// resolves to after a restart. A server in `zone` had named it.
async fn requests_to_private_address(zone: NetworkZone) -> Vec<String> {
    let net = Net::of(&[("login.example", &[INSIDE])]);
    let private = net.serve(INSIDE);
    let target = target();
    let vault = Vault::memory();
    let store = GrantStore::new(vault.clone());
    store
        .keep(grant(&target, zone, private.port))
        .await
        .unwrap();
    let identity = Identity::new(IdentityOptions {
        http: net.clients(),
        vault,
        clock: Clock::fixed(SystemTime::UNIX_EPOCH),
        client: ClientMetadata {
            name: "Postern".to_owned(),
            document_url: None,
        },
        is_other_user: |_, _| false,
    });
    let authorization = identity.authorization(&target).await.unwrap();
    assert!(authorization.is_some(), "the old token does");
    identity.settled().await;
    identity.consents(&target).await.unwrap_err();
    identity.revoke_consent(&target, "id").await.unwrap_err();
    let account = identity.account_for(&target).unwrap();
    identity.sign_out(&account.key).await.unwrap_err();
    private.asked()
}

#[tokio::test]
async fn public_issuer_endpoint_on_private_address_gets_no_request() {
    let asked = requests_to_private_address(NetworkZone::Public).await;
    assert!(asked.is_empty(), "{asked:?}");
}

#[tokio::test]
async fn local_issuer_endpoint_on_private_address_gets_requests() {
    let asked = requests_to_private_address(NetworkZone::Local).await;
    assert_eq!(asked, ["/token", "/consents", "/consents/id", "/revoke"]);
}
