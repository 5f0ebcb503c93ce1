//! `/token` and `/revoke`: single use, and only for the client that the token was issued to.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::browser::Browser;
use super::client::{Client, Tokens, VERIFIER};
use super::identity_provider::Behaviour;
use super::world::World;

#[track_caller]
fn refused(answer: &(StatusCode, Value), error: &str) {
    assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{}", answer.1);
    assert_eq!(answer.1["error"], error, "{}", answer.1);
}

#[tokio::test]
async fn d5_t26_code_replay_is_rejected_and_ends_session() {
    let world = World::start().await;
    let client = world.client().await;
    let code = client.code(&Browser::new()).await;
    let (_, answer) = client.redeem(&code, &[]).await;
    let tokens = Tokens::of(&answer);
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    refused(&client.redeem(&code, &[]).await, "invalid_grant");
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::UNAUTHORIZED
    );
    refused(&client.refresh(&tokens.refresh, &[]).await, "invalid_grant");
}

#[tokio::test]
async fn t26_concurrent_redemptions_of_code_succeed_once() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    for round in 0..25 {
        let code = client.code(&browser).await;
        let redeem = || client.redeem(&code, &[]);
        let (a, b, c, d) = tokio::join!(redeem(), redeem(), redeem(), redeem());
        let won = [a, b, c, d]
            .iter()
            .filter(|answer| answer.0 == StatusCode::OK)
            .count();
        assert_eq!(won, 1, "round {round}");
    }
}

#[tokio::test]
async fn d5_t27_t28_code_is_bound_to_its_request_and_expires() {
    let world =
        World::start_with(|text| text + "\n[servers.other]\nurl = \"{backend}/mcp\"\n").await;
    let client = world.client().await;
    let stranger = world.client().await;
    let browser = Browser::new();
    let other = world.url("/other/mcp");
    for (changes, error) in [
        (&[("client_id", &*stranger.id)][..], "invalid_grant"),
        (
            &[("redirect_uri", "http://127.0.0.1:7778/cb")],
            "invalid_grant",
        ),
        (&[("code_verifier", &"x".repeat(43))], "invalid_grant"),
        (&[("code_verifier", "short")], "invalid_grant"),
        (&[("resource", &*other)], "invalid_target"),
    ] {
        let code = client.code(&browser).await;
        refused(&client.redeem(&code, changes).await, error);
        refused(&client.redeem(&code, &[]).await, "invalid_grant");
    }
    let code = client.code(&browser).await;
    world.advance(60);
    refused(&client.redeem(&code, &[]).await, "invalid_grant");
    let code = client.code(&browser).await;
    world.advance(59);
    assert_eq!(
        client
            .redeem(&code, &[("resource", &world.url("/mcp"))])
            .await
            .0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn d7_d13_t29_t30_invalid_request_is_rejected_and_keeps_code() {
    let world = World::start().await;
    let client = world.client().await;
    let code = client.code(&Browser::new()).await;
    for (changes, error) in [
        (&[("grant_type", "")][..], "invalid_request"),
        (&[("grant_type", "password")], "unsupported_grant_type"),
        (
            &[("grant_type", "client_credentials")],
            "unsupported_grant_type",
        ),
        (&[("client_id", "")], "invalid_request"),
        (&[("code_verifier", "")], "invalid_request"),
        (&[("code", "")], "invalid_request"),
        (&[("code", "made-up")], "invalid_grant"),
        (&[("resource", "https://evil.example")], "invalid_target"),
    ] {
        refused(&client.redeem(&code, changes).await, error);
    }
    refused(&client.refresh("made-up", &[]).await, "invalid_grant");
    let json = world
        .post_json("/token", &json!({"grant_type": "authorization_code"}))
        .await;
    refused(&json, "invalid_request");
    assert_eq!(client.redeem(&code, &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn code_without_redirect_uri_is_redeemed() {
    let world = World::start().await;
    let client = world.client().await;
    let code = client.code(&Browser::new()).await;
    let without = [("redirect_uri", "")];
    assert_eq!(client.redeem(&code, &without).await.0, StatusCode::OK);
}

#[tokio::test]
async fn t82_revocation_finishes_when_client_hangs_up() {
    let world = World::start().await;
    let browser = Browser::new();
    let client = world.client().await;
    for how in ["consent", "code", "refresh token", "revocation"] {
        let code = client.code(&browser).await;
        let (_, answer) = client.redeem(&code, &[]).await;
        let tokens = Tokens::of(&answer);
        let form = |fields: &[(&str, &str)]| {
            url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish()
        };
        let request = match how {
            "consent" => {
                let (_, list) = world.get_as("/account/consents", &tokens.access).await;
                let id = list["consents"][0]["id"].as_str().unwrap();
                let line = format!("DELETE /account/consents/{id}");
                world.raw(&line, &tokens.access, "")
            }
            "code" => {
                let fields = [
                    ("grant_type", "authorization_code"),
                    ("code", &*code),
                    ("client_id", &*client.id),
                    ("code_verifier", VERIFIER),
                ];
                world.raw("POST /token", "", &form(&fields))
            }
            "refresh token" => {
                assert_eq!(client.refresh(&tokens.refresh, &[]).await.0, StatusCode::OK);
                world.advance(31);
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("refresh_token", &*tokens.refresh),
                    ("client_id", &*client.id),
                ];
                world.raw("POST /token", "", &form(&fields))
            }
            _ => world.raw("POST /revoke", "", &form(&[("token", &*tokens.refresh)])),
        };
        assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
        let database = world.lock_store();
        world.send_and_leave(&request).await;
        database.execute_batch("COMMIT").unwrap();
        let status = async || world.get_as("/userinfo", &tokens.access).await.0;
        let ended = async { while status().await == StatusCode::OK {} };
        let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
        assert!(ended.is_ok(), "{how}");
    }
}

#[tokio::test]
async fn d25_t31_t32_refresh_rotates_token_and_forbids_caching() {
    let world = World::start().await;
    let (client, first) = world.session().await;
    world.advance(600);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*first.refresh),
        ("client_id", &*client.id),
    ];
    let response = world
        .http
        .post(world.url("/token"))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["pragma"], "no-cache");
    let second = Tokens::of(&response.json().await.unwrap());
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(world.mcp_status(&second.access).await, StatusCode::OK);
    world.advance(600);
    assert_eq!(client.refresh(&second.refresh, &[]).await.0, StatusCode::OK);
    world.advance(91 * 24 * 3600);
    refused(&client.refresh(&second.refresh, &[]).await, "invalid_grant");
}

#[tokio::test]
async fn t32_refresh_token_reuse_after_grace_ends_session() {
    let world = World::start().await;
    let (client, first) = world.session().await;
    let refresh = || client.refresh(&first.refresh, &[]);
    let (a, b) = tokio::join!(refresh(), refresh());
    assert_eq!((a.0, b.0), (StatusCode::OK, StatusCode::OK));
    assert_eq!(
        a.1["refresh_token"], b.1["refresh_token"],
        "the same successor"
    );
    world.advance(30);
    let (status, third) = refresh().await;
    assert_eq!(
        (status, &third["refresh_token"]),
        (StatusCode::OK, &a.1["refresh_token"])
    );
    let second = Tokens::of(&a.1);
    world.advance(1);
    refused(&refresh().await, "invalid_grant");
    refused(&client.refresh(&second.refresh, &[]).await, "invalid_grant");
    assert_eq!(
        world.mcp_status(&second.access).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn t32_refresh_token_reuse_after_successor_ends_session() {
    let world = World::start().await;
    let (client, first) = world.session().await;
    let (_, answer) = client.refresh(&first.refresh, &[]).await;
    let second = Tokens::of(&answer);
    let (_, answer) = client.refresh(&second.refresh, &[]).await;
    refused(&client.refresh(&first.refresh, &[]).await, "invalid_grant");
    assert_eq!(
        world.mcp_status(&Tokens::of(&answer).access).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn t33_refresh_cannot_change_scope_resource_or_client() {
    let world = World::start_with(|text| {
        let text = text.replace("title = \"Snippets\"", "scopes = [\"read\", \"write\"]");
        text + "\n[servers.other]\nurl = \"{backend}/mcp\"\n"
    })
    .await;
    let client = world.client().await;
    let stranger = world.client().await;
    let browser = Browser::new();
    let page = browser
        .open(&client.authorize_url(&[("scope", "read")]))
        .await;
    let back = browser.press(&page, "allow").await;
    let (_, answer) = client.redeem(&back.parameter("code").unwrap(), &[]).await;
    assert_eq!(answer["scope"], "read");
    let token = Tokens::of(&answer).refresh;
    refused(
        &client.refresh(&token, &[("scope", "read write")]).await,
        "invalid_scope",
    );
    refused(
        &client
            .refresh(&token, &[("resource", &world.url("/other/mcp"))])
            .await,
        "invalid_target",
    );
    refused(
        &client.refresh(&token, &[("client_id", &stranger.id)]).await,
        "invalid_grant",
    );
    let (status, answer) = client
        .refresh(&token, &[("scope", "read offline_access")])
        .await;
    assert_eq!(
        (status, &answer["scope"]),
        (StatusCode::OK, &json!("read")),
        "none of that spent it"
    );
}

#[tokio::test]
async fn d27_t34_concurrent_requests_refresh_entra_tokens_once() {
    let world = World::start().await;
    let life = |seconds| Behaviour {
        life: Some(seconds),
        ..Behaviour::default()
    };
    world.provider.behave(life(1000));
    let (client, tokens) = world.session().await;
    world.advance(699);
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    assert_eq!(client.refresh(&tokens.refresh, &[]).await.0, StatusCode::OK);
    assert_eq!(
        world.provider.refreshes(),
        0,
        "more than five minutes are left"
    );
    world.advance(301);
    world.provider.behave(life(2000));
    let ask = || world.mcp_status(&tokens.access);
    let all = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask(), ask(), ask());
    assert_eq!(<[StatusCode; 8]>::from(all), [StatusCode::OK; 8]);
    assert_eq!(world.provider.refreshes(), 1, "they all waited for one");
}

#[tokio::test]
async fn short_lived_provider_token_is_not_refreshed_per_request() {
    let world = World::start().await;
    let life = |seconds| Behaviour {
        life: Some(seconds),
        ..Behaviour::default()
    };
    world.provider.behave(life(300));
    let (client, mut tokens) = world.session().await;
    for _ in 0..5 {
        world.advance(40);
        assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
        let (status, answer) = client.refresh(&tokens.refresh, &[]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        tokens = Tokens::of(&answer);
    }
    assert_eq!(world.provider.refreshes(), 0);
    world.advance(45);
    let (status, _) = client.refresh(&tokens.refresh, &[]).await;
    assert_eq!((status, world.provider.refreshes()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn provider_token_is_refreshed_before_expiry() {
    let world = World::start().await;
    let (client, tokens) = world.session().await;
    world.advance(3590);
    assert_eq!(client.refresh(&tokens.refresh, &[]).await.0, StatusCode::OK);
    assert_eq!(world.provider.refreshes(), 1);
    world.provider.behave(Behaviour {
        token_error: Some((503, json!({}))),
        ..Behaviour::default()
    });
    world.advance(9);
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::OK,
        "nothing is left to ask"
    );
    assert_eq!(world.provider.refreshes(), 1);
}

#[tokio::test]
async fn t35_session_ends_when_entra_ends_it() {
    let world = World::start().await;
    let (client, tokens) = world.session().await;
    let gone = json!({"error": "invalid_grant", "suberror": "bad_token", "error_codes": [50173]});
    world.provider.behave(Behaviour {
        token_error: Some((400, gone)),
        ..Behaviour::default()
    });
    world.advance(3590);
    refused(&client.refresh(&tokens.refresh, &[]).await, "invalid_grant");
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn unreachable_provider_does_not_end_session() {
    let world = World::start_with(|text| text).await;
    world.provider.behave(Behaviour {
        life: Some(1000),
        ..Behaviour::default()
    });
    let (client, tokens) = world.session().await;
    world.provider.behave(Behaviour {
        token_error: Some((503, json!({}))),
        ..Behaviour::default()
    });
    world.advance(990);
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::OK,
        "they still hold"
    );
    world.advance(10);
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let (status, answer) = client.refresh(&tokens.refresh, &[]).await;
    assert_eq!(
        (status, &answer["error"]),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &json!("temporarily_unavailable")
        )
    );
    world.provider.behave(Behaviour::default());
    world.advance(10);
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    assert_eq!(
        client.refresh(&tokens.refresh, &[]).await.0,
        StatusCode::OK,
        "the token was not spent"
    );
}

#[tokio::test]
async fn d15_d27_revocation_of_either_token_ends_session() {
    let world = World::start().await;
    let stranger = world.client().await;
    for pick in [
        |tokens: &Tokens| tokens.access.clone(),
        |tokens: &Tokens| tokens.refresh.clone(),
    ] {
        let (client, tokens) = world.session().await;
        assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
        let token = pick(&tokens);
        let by = |client: &Client<'_>| {
            let form = [("token", token.clone()), ("client_id", client.id.clone())];
            world.http.post(world.url("/revoke")).form(&form)
        };
        refused(&super::world::json(by(&stranger)).await, "invalid_client");
        assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
        for _ in 0..2 {
            assert_eq!(by(&client).send().await.unwrap().status(), StatusCode::OK);
            assert_eq!(
                world.mcp_status(&tokens.access).await,
                StatusCode::UNAUTHORIZED
            );
        }
        refused(&client.refresh(&tokens.refresh, &[]).await, "invalid_grant");
    }
    assert_eq!(
        world.post_form("/revoke", &[("token", "made-up")]).await.0,
        StatusCode::OK
    );
    refused(&world.post_form("/revoke", &[]).await, "invalid_request");
}

#[tokio::test]
async fn t82_sessions_and_spent_codes_survive_restart() {
    let mut world = World::start().await;
    let (id, tokens, code) = {
        let client = world.client().await;
        let code = client.code(&Browser::new()).await;
        let (_, answer) = client.redeem(&code, &[]).await;
        (client.id.clone(), Tokens::of(&answer), code)
    };
    world.restart().await;
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    let client = Client {
        id,
        ..world.client().await
    };
    let (_, answer) = client.refresh(&tokens.refresh, &[]).await;
    assert_eq!(
        world.mcp_status(&Tokens::of(&answer).access).await,
        StatusCode::OK
    );
    refused(&client.redeem(&code, &[]).await, "invalid_grant");
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn session_ends_when_its_tenant_is_disallowed() {
    let mut world = World::start().await;
    let (client, first) = {
        let (client, tokens) = world.session().await;
        (client.id.clone(), tokens)
    };
    let second = world.session().await.1;
    let other = |text: String| {
        text.replace(
            "root_server",
            "allowed_tenants = [\"8f1c6e4e-0000-4000-8000-0000000000ff\"]\nroot_server",
        )
    };
    world.restart_with(other).await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", first.refresh.as_str()),
        ("client_id", client.as_str()),
    ];
    let (status, answer) = world.post_form("/token", &form).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"], "invalid_grant");
    for tokens in [&first, &second] {
        let answer = world.mcp("/mcp", &tokens.access).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    // The sessions have ended for good.
    world
        .restart_with(|text| text.replace("0000000000ff", "000000000001"))
        .await;
    let answer = world.mcp("/mcp", &first.access).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn t38_wrong_codes_are_limited_and_valid_code_is_not() {
    let world = World::start().await;
    let client = world.client().await;
    let code = client.code(&Browser::new()).await;
    let mut last = StatusCode::OK;
    for number in 0..320 {
        let (status, answer) = client.redeem(&format!("guess-{number}"), &[]).await;
        last = status;
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert!(number >= 300, "{number}");
            assert_eq!(answer["error"], "temporarily_unavailable");
            break;
        }
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_grant"))
        );
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let (status, _) = client.redeem(&code, &[]).await;
    assert_eq!(status, StatusCode::OK, "others may have the same address");
}
