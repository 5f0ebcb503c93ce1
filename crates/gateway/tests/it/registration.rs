//! `/register`.

use http::StatusCode;
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn d14_t41_registration_follows_rfc_7591() {
    let mut world = World::start().await;
    let metadata = json!({
        "redirect_uris": ["http://127.0.0.1/cb"], "client_name": "Tool",
        "token_endpoint_auth_method": "client_secret_post", "scope": "anything",
        "logo_uri": "http://169.254.169.254/latest/meta-data",
    });
    let response = world
        .http
        .post(world.url("/register"))
        .json(&metadata)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let client: serde_json::Value = response.json().await.unwrap();
    assert_eq!(client["token_endpoint_auth_method"], "none");
    assert!(
        client.get("client_secret").is_none() && client.get("client_secret_expires_at").is_none()
    );
    assert!(client.get("logo_uri").is_none());
    world.restart().await;
    let url = format!(
        "/authorize?client_id={}",
        client["client_id"].as_str().unwrap()
    );
    let (_, known) = world.get_json(&url).await;
    assert_eq!(
        known["error"], "invalid_request",
        "G2: still known, only the redirect is missing"
    );
}

#[tokio::test]
async fn d13_d14_t42_bad_registrations_are_refused() {
    let world = World::start().await;
    let post = |body: Vec<u8>| {
        let request = world
            .http
            .post(world.url("/register"))
            .header("content-type", "application/json");
        request.body(body).send()
    };
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"redirect_uris\": 1}",
        "\u{feff}{}",
    ] {
        let response = post(body.as_bytes().to_vec()).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(
            response.json::<serde_json::Value>().await.unwrap()["error"],
            "invalid_client_metadata"
        );
    }
    let deep = "[".repeat(60_000).into_bytes();
    assert_eq!(post(deep).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        post(vec![0xff; 100]).await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        post(vec![b' '; 1 << 20]).await.unwrap().status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let (status, error) = world
        .post_json(
            "/register",
            &json!({"redirect_uris": ["javascript:alert(1)"]}),
        )
        .await;
    assert_eq!(
        (status, error["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_redirect_uri"))
    );
    let form = world
        .http
        .post(world.url("/register"))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(form.status(), StatusCode::BAD_REQUEST);
}
