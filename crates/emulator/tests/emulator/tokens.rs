//! The claims of tokens, who can verify them, and what survives a restart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use emulator::demo;
use serde_json::{Value, json};

use crate::harness::{Browser, GATEWAY_CALLBACK, Harness, http};

pub(crate) fn claims(token: &Value) -> Value {
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn access_token_is_verifiable_for_one_api() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let token = tokens["access_token"].as_str().unwrap();
    let claims = harness
        .verify(token, demo::GATEWAY_CLIENT_ID)
        .await
        .unwrap();
    assert!(
        harness
            .verify(token, demo::BRIDGE_CLIENT_ID)
            .await
            .is_none()
    );
    for (name, value) in [
        ("tid", json!(demo::TENANT_ID)),
        ("oid", json!(demo::ADELE_OBJECT_ID)),
        ("scp", json!("mcp.access")),
        ("azp", json!(demo::BRIDGE_CLIENT_ID)),
        ("azpacr", json!("0")),
        ("name", json!("Adele Vance")),
        ("preferred_username", json!(demo::ADELE)),
        ("ver", json!("2.0")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(claims["iat"], claims["nbf"]);
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(life, tokens["expires_in"].as_u64().unwrap() + 300);
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert!(header.kid.is_some() && header.x5t.is_none());
    let (rest, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{rest}.{}", "A".repeat(342));
    assert!(
        harness
            .verify(&forged, demo::GATEWAY_CLIENT_ID)
            .await
            .is_none()
    );
}

#[tokio::test]
async fn id_token_has_client_audience_and_nonce() {
    let harness = Harness::start().await;
    let code = harness
        .code(&[("nonce", "n-1"), ("scope", "openid profile email")])
        .await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let token = tokens["id_token"].as_str().unwrap();
    let claims = harness.verify(token, demo::BRIDGE_CLIENT_ID).await.unwrap();
    assert_eq!(claims["nonce"], "n-1");
    assert_eq!(claims["email"], demo::ADELE);
    assert_eq!(claims["oid"], json!(demo::ADELE_OBJECT_ID));

    let code = harness.code(&[("scope", "openid")]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let bare = self::claims(&tokens["id_token"]);
    for absent in ["nonce", "email", "oid", "name", "preferred_username", "scp"] {
        assert!(bare.get(absent).is_none(), "{absent}");
    }
    assert_eq!(bare["sub"], claims["sub"]);
}

#[tokio::test]
async fn subject_is_pairwise() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let (access, id) = (claims(&tokens["access_token"]), claims(&tokens["id_token"]));
    assert_ne!(access["sub"], id["sub"]);
    assert_eq!(access["oid"], id["oid"]);
    let grady = Browser::new()
        .sign_in(&harness.authorize(&[]), demo::GRADY)
        .await;
    let tokens = harness.redeem(&[("code", &grady.parameter("code"))]).await;
    let other = claims(&tokens["access_token"]);
    assert_ne!(other["sub"], access["sub"]);
    assert_eq!(other["oid"], json!(demo::GRADY_OBJECT_ID));
}

#[tokio::test]
async fn confidential_client_token_has_azpacr() {
    let harness = Harness::start().await;
    let gateway = demo::GATEWAY_CLIENT_ID.to_string();
    let scope = format!("{gateway}/.default");
    let web = [
        ("client_id", gateway.as_str()),
        ("redirect_uri", GATEWAY_CALLBACK),
        ("scope", scope.as_str()),
    ];
    let code = harness.code(&web).await;
    let secret = [
        ("code", code.as_str()),
        ("client_secret", demo::GATEWAY_SECRET),
    ];
    let tokens = harness.redeem(&[&web[..2], &secret].concat()).await;
    let token = tokens["access_token"].as_str().unwrap();
    let claims = harness
        .verify(token, demo::GATEWAY_CLIENT_ID)
        .await
        .unwrap();
    assert_eq!(
        (&claims["azpacr"], &claims["scp"]),
        (&json!("1"), &json!("mcp.access"))
    );
}

#[tokio::test]
async fn only_graph_verifies_graph_tokens() {
    let harness = Harness::start().await;
    let code = harness
        .code(&[("scope", "openid profile email User.Read")])
        .await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    assert_eq!(tokens["scope"], "User.Read openid profile email");
    let graph = tokens["access_token"].as_str().unwrap();
    let shown = claims(&tokens["access_token"]);
    assert_eq!(
        (&shown["ver"], &shown["upn"]),
        (&json!("1.0"), &json!(demo::ADELE))
    );
    let audience = shown["aud"].as_str().unwrap().parse().unwrap();
    assert!(harness.verify(graph, audience).await.is_none());

    let userinfo = format!("{}/oidc/userinfo", harness.base);
    let ask = |token: &str| http().get(&userinfo).bearer_auth(token).send();
    let userinfo: Value = ask(graph).await.unwrap().json().await.unwrap();
    assert_eq!(userinfo["sub"], claims(&tokens["id_token"])["sub"]);
    assert_eq!(
        (&userinfo["given_name"], &userinfo["email"]),
        (&json!("Adele"), &json!(demo::ADELE))
    );
    let id_token = tokens["id_token"].as_str().unwrap();
    for wrong in [id_token, "x", &graph[..graph.len() - 8]] {
        let refused = ask(wrong).await.unwrap();
        assert_eq!(refused.status(), 401);
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["error"]["code"], "InvalidAuthenticationToken");
    }
    harness
        .clock
        .advance(std::time::Duration::from_secs(2 * 60 * 60));
    assert_eq!(ask(graph).await.unwrap().status(), 401);
}

#[tokio::test]
async fn client_info_contains_user_and_tenant() {
    let harness = Harness::start().await;
    let url = harness.authorize(&[("client_info", "1")]);
    let response = Browser::new().sign_in(&url, demo::ADELE).await;
    let code = response.parameter("code");
    let tokens = harness
        .redeem(&[("code", &code), ("client_info", "1")])
        .await;
    assert_eq!(tokens["client_info"], response.parameter("client_info"));
    let info = URL_SAFE_NO_PAD
        .decode(response.parameter("client_info"))
        .unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&info).unwrap(),
        json!({ "uid": demo::ADELE_OBJECT_ID, "utid": demo::TENANT_ID })
    );
}

#[tokio::test]
async fn keys_and_refresh_tokens_survive_restart_with_data_dir() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Harness::start_in(Some(folder.path().to_owned())).await;
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    harness.stop().await;

    let kept = Harness::start_in(Some(folder.path().to_owned())).await;
    kept.redeem(&refresh).await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(refresh[1].1));
    }
    let forgetful = Harness::start_in(None).await;
    let unknown = forgetful.token(&refresh);
    forgetful
        .expect_error(unknown, 400, "invalid_grant", 9_002_313)
        .await;
}
