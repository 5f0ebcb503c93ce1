//! How the gateway authenticates to the identity provider (G7), and the rotation of its own keys.

use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::json;

use super::browser::Browser;
use super::identity_provider::pem;
use super::world::World;

const SECRET: &str = "client_secret = \"{{entra}}\"";

/// Signs in and refreshes with another credential in place of the secret.
async fn works_with(credential: &str, secrets: &str) -> World {
    let world = World::start_with(|text| text.replace(SECRET, credential) + secrets).await;
    let client = world.client().await;
    let tokens = client.sign_in(&Browser::new()).await;
    world.advance(3590);
    assert_eq!(client.refresh(&tokens.refresh, &[]).await.0, StatusCode::OK);
    assert_eq!(world.provider.requests().len(), 2);
    world
}

#[tokio::test]
async fn g7_certificate_signs_assertion() {
    let certificate = STANDARD.encode("certificate");
    let secrets = format!(
        "\n[secrets.certificate]\nvalue = '''\n-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n'''\n\
         [secrets.key]\nvalue = '''\n{}'''\n",
        pem(true),
    );
    let credential =
        "certificate = { certificate = \"{{certificate}}\", private_key = \"{{key}}\" }";
    works_with(credential, &secrets).await;
}

#[tokio::test]
async fn g7_federated_token_file_is_read_for_each_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "federated-1\n").unwrap();
    let world = works_with(&format!("federated_token_file = {path:?}"), "").await;
    std::fs::write(&path, "federated-2").unwrap();
    world.session().await;
    let used: Vec<_> = world
        .provider
        .requests()
        .iter()
        .map(|form| form["client_assertion"].clone())
        .collect();
    assert_eq!(used, ["federated-1", "federated-1", "federated-2"]);
}

#[tokio::test]
async fn g7_federated_token_file_path_is_relative_to_config() {
    let world =
        World::start_with(|text| text.replace(SECRET, "federated_token_file = \"token\"")).await;
    std::fs::write(world.data_dir().join("token"), "federated-1").unwrap();
    world.session().await;
}

#[tokio::test]
async fn g7_managed_identity_gets_token_from_imds() {
    let life = |seconds: u64| 1_800_000_000 + seconds;
    for (extra, header, value, version, expires_on, times) in [
        (
            "",
            "metadata",
            "true",
            "2018-02-01",
            json!(life(3600).to_string()),
            2,
        ),
        ("", "metadata", "true", "2018-02-01", json!(life(86_400)), 1),
        (
            ", header = \"{{identity-header}}\"",
            "x-identity-header",
            "of-app-service",
            "2019-08-01",
            json!(null),
            2,
        ),
    ] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let answer = move |request: Request| {
            let header = request
                .headers()
                .get(header)
                .map(|value| value.to_str().unwrap().to_owned());
            noted
                .lock()
                .unwrap()
                .push((request.uri().query().unwrap().to_owned(), header));
            let mut token = json!({"access_token": "federated-identity"});
            token["expires_on"] = expires_on.clone();
            std::future::ready(axum::Json(token))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/token", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/token", get(answer));
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        let credential = format!(
            "managed_identity = {{ client_id = \"mi\", endpoint = \"{endpoint}\"{extra} }}"
        );
        works_with(
            &credential,
            "\n[secrets.identity-header]\nvalue = \"of-app-service\"\n",
        )
        .await;
        let query =
            format!("api-version={version}&resource=api%3A%2F%2FAzureADTokenExchange&client_id=mi");
        assert_eq!(
            *asked.lock().unwrap(),
            vec![(query, Some(value.to_owned())); times]
        );
    }
}

#[tokio::test]
async fn t78_added_key_keeps_sessions_and_removed_key_ends_them() {
    let line = |id: &str, seed: &str| format!("{id} {}\n", STANDARD.encode(format!("{seed:x<32}")));
    let (old, new) = (line("old", "1"), line("new", "2"));
    let keys = |text: &str| format!("[secrets.keys]\nvalue = '''\n{text}'''\n");
    let mut world = World::start_with(|text| {
        text.replace("root_server", "session_keys = \"{{keys}}\"\nroot_server") + &keys(&old)
    })
    .await;
    let tokens = world.session().await.1;
    assert!(tokens.access.starts_with("v1.old."));
    world
        .restart_with(|text| text.replace(&old, &format!("{new}{old}")))
        .await;
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    assert!(world.session().await.1.access.starts_with("v1.new."));
    world
        .restart_with(|text| text.replace(&format!("{new}{old}"), &new))
        .await;
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::UNAUTHORIZED
    );
}
