//! Where requests about a grant go, and where they do not.

use std::collections::BTreeSet;
use std::time::SystemTime;

use model::config::ServerAuth;
use model::{Clock, Issuer};

use super::{Endpoints, Grant, GrantKey, Ledger, ObtainedBy, Tokens};
use crate::account::{Account, AccountKey};
use crate::http::Side;
use crate::http::tests::{INSIDE, Net};
use crate::identity::{Identity, IdentityOptions, Program, Target};
use crate::registration::Client;
use crate::secret::{AccessToken, RefreshToken};
use crate::vault::Vault;

const ISSUER: &str = "https://login.example";

pub(super) fn target() -> Target {
    Target {
        url: "https://mcp.example/mcp".parse().unwrap(),
        auth: ServerAuth::Discover,
    }
}

/// Signed in at an authorization server on this port that is named from `side`; the access token
/// serves, and should be renewed.
pub(super) fn grant(target: &Target, side: Side, port: u16) -> Grant {
    let at = |path: &str| format!("{ISSUER}:{port}{path}").parse().unwrap();
    Grant {
        key: GrantKey {
            issuer: Issuer::new(ISSUER),
            client_id: "client".to_owned(),
            audience: "audience".to_owned(),
            subject: "alice".to_owned(),
        },
        targets: BTreeSet::from([target.name()]),
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
            side,
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

/// What a neighbour is asked who took over the name of an authorization server, which was named
/// from `side`: by a process that has read the sign-in from its vault.
async fn asked_of_a_neighbour(side: Side) -> Vec<String> {
    let net = Net::of(&[("login.example", &[INSIDE])]);
    let neighbour = net.serve(INSIDE);
    let target = target();
    let vault = Vault::memory();
    let ledger = Ledger::new(vault.clone());
    ledger
        .keep(grant(&target, side, neighbour.port))
        .await
        .unwrap();
    let identity = Identity::new(IdentityOptions {
        http: net.clients(),
        vault,
        clock: Clock::fixed(SystemTime::UNIX_EPOCH),
        program: Program {
            name: "Postern".to_owned(),
            metadata: None,
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
    neighbour.asked()
}

#[tokio::test]
async fn what_a_public_authorization_server_named_leads_to_no_neighbour_later() {
    let asked = asked_of_a_neighbour(Side::Outside).await;
    assert!(asked.is_empty(), "{asked:?}");
}

#[tokio::test]
async fn what_one_inside_named_may_be_a_neighbour() {
    let asked = asked_of_a_neighbour(Side::Inside).await;
    assert_eq!(asked, ["/token", "/consents", "/consents/id", "/revoke"]);
}
