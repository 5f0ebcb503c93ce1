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
async fn d13_d14_t42_invalid_registration_is_rejected() {
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

/// Hosts register at each sign-in, with their current port.
#[tokio::test]
async fn equal_metadata_returns_same_client_for_any_port() {
    let world = World::start().await;
    let register = async |name: &str, port: u16| {
        let uris = [
            format!("http://127.0.0.1:{port}/cb"),
            "https://tool.example/cb".to_owned(),
        ];
        let metadata = json!({"client_name": name, "redirect_uris": uris});
        let (status, client) = world.post_json("/register", &metadata).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(client["redirect_uris"], json!(uris));
        client["client_id"].as_str().unwrap().to_owned()
    };
    let first = register("Tool", 49_152).await;
    assert_eq!(register("Tool", 49_153).await, first);
    assert_ne!(register("Other tool", 49_153).await, first);
}

#[tokio::test]
async fn registration_flood_from_one_address_is_rejected() {
    let world = World::start_with(|text| {
        "trusted_proxies = [\"127.0.0.1\"]\ntrusted_networks = [\"203.0.113.0/24\"]\n".to_owned()
            + &text
    })
    .await;
    let (url, http) = (world.url("/register"), world.http.clone());
    let register = move |address: &str, number: u32| {
        let metadata = json!({
            "client_name": format!("{address} {number}"),
            "redirect_uris": ["https://c.example/"],
        });
        let request = http.post(&url).json(&metadata);
        let answer = request.header("x-forwarded-for", address).send();
        async { answer.await.unwrap() }
    };
    let mut flooders = tokio::task::JoinSet::new();
    for flooder in 0..8 {
        let register = register.clone();
        flooders.spawn(async move {
            for number in (flooder..6_000).step_by(8) {
                let answer = register("192.0.2.1", number).await;
                assert_eq!(answer.status(), StatusCode::CREATED);
            }
        });
    }
    while let Some(done) = flooders.join_next().await {
        done.unwrap();
    }
    // The rate limit has admitted a few more meanwhile.
    let mut refused = None;
    for number in 6_000..7_000 {
        let answer = register("192.0.2.1", number).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("there is no limit");
    assert!(refused.headers().contains_key("retry-after"));
    let again = register("192.0.2.1", 0).await;
    assert_eq!(
        again.status(),
        StatusCode::CREATED,
        "a client that is known"
    );
    for other in ["192.0.2.2", "198.51.100.1", "203.0.113.1"] {
        let answer = register(other, 0).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "{other}");
    }
    let (status, _) = world
        .post_json(
            "/register",
            &json!({"redirect_uris": ["https://c.example/"]}),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "of the proxy itself");
}
