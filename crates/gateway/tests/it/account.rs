//! `/userinfo` and `/account/consents`.

use http::{Method, StatusCode};
use serde_json::json;

use super::browser::Browser;
use super::client::Client;
use super::identity_provider::TENANT;
use super::world::World;

#[tokio::test]
async fn userinfo_returns_signed_in_user() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let (status, who) = world.get_as("/userinfo", &tokens.access).await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "sub": format!("{TENANT}.oid-ada"), "name": "ada", "tid": TENANT, "oid": "oid-ada",
        "preferred_username": "ada@contoso.example",
    });
    assert_eq!(who, expected);
    assert_eq!(
        world.get_as("/userinfo", "v1.a.b.c").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        world.get_json("/userinfo").await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn d17_consent_is_listed_and_can_be_revoked() {
    let world =
        World::start_with(|text| text + "\n[servers.other]\nurl = \"{backend}/mcp\"\n").await;
    let browser = Browser::new();
    let client = world.client().await;
    let tokens = client.sign_in(&browser).await;
    let other = Client {
        resource: Some(world.url("/other/mcp")),
        ..client.clone()
    };
    let others = other.sign_in(&browser).await;
    let (status, list) = world.get_as("/account/consents", &tokens.access).await;
    assert_eq!(status, StatusCode::OK);
    let consents = list["consents"].as_array().unwrap();
    assert_eq!(consents.len(), 2);
    let snippets = consents
        .iter()
        .find(|consent| consent["server"] == "snippets")
        .unwrap();
    let name = snippets["client_name"].as_str().unwrap();
    assert!(name.starts_with("Test client"), "{name}");
    assert_eq!(snippets["client_id"], client.id);
    assert_eq!(snippets["scopes"], json!(["mcp"]));
    assert_eq!(snippets["granted_at"], 1_800_000_000);
    let revoke = |id: &str, token: &str| {
        let url = world.url(&format!("/account/consents/{id}"));
        world
            .http
            .request(Method::DELETE, url)
            .bearer_auth(token)
            .send()
    };
    let id = snippets["id"].as_str().unwrap();
    assert_eq!(
        revoke(id, &others.access).await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        client.refresh(&tokens.refresh, &[]).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        world.get_as("/userinfo", &others.access).await.0,
        StatusCode::OK
    );
    assert_eq!(
        revoke(id, &others.access).await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    assert!(
        browser.open(&client.authorize_url(&[])).await.is_consent(),
        "it has to be asked for again"
    );
}

#[tokio::test]
async fn t57_consents_of_other_users_are_hidden() {
    let world = World::start().await;
    let (_, ada) = world.session().await;
    let client = world.client().await;
    let adas_other_client = client.sign_in(&Browser::new()).await;
    world.provider.sign_in_as("bob");
    let bob = client.sign_in(&Browser::new()).await;
    let (_, list) = world.get_as("/account/consents", &ada.access).await;
    let id = list["consents"][0]["id"].as_str().unwrap().to_owned();
    for token in [&adas_other_client.access, &bob.access] {
        let (_, list) = world.get_as("/account/consents", token).await;
        assert_eq!(list["consents"].as_array().unwrap().len(), 1);
        assert_ne!(list["consents"][0]["id"], id);
        let url = world.url(&format!("/account/consents/{id}"));
        let status = world
            .http
            .request(Method::DELETE, url)
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.mcp_status(&ada.access).await, StatusCode::OK);
}
