//! `/oauth-callback` is accepted only in the right browser, once, and only from Entra.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::browser::Browser;
use super::client::STATE;
use super::identity_provider::Behaviour;
use super::world::World;

#[tokio::test]
async fn d1_t1_t2_sign_in_finishes_only_in_approving_browser() {
    let world = World::start().await;
    let client = world.client().await;
    // The attacker approves in their own browser and keeps the URL that leads to Entra.
    let attacker = Browser::new();
    let page = attacker.open(&client.authorize_url(&[])).await;
    let to_entra = attacker.submit(&page, "allow").await.location();
    assert!(to_entra.starts_with(&world.provider.origin));
    // Victims open it: one without cookies, one with a page open, one with a sign-in of their own.
    let fresh = Browser::new();
    let with_page = Browser::new();
    with_page.open(&client.authorize_url(&[])).await;
    let signed_in = Browser::new();
    world.client().await.sign_in(&signed_in).await;
    for victim in [fresh, with_page, signed_in] {
        let end = victim.follow_link(&to_entra).await;
        assert_eq!(end.status, StatusCode::FORBIDDEN, "{end:#?}");
        assert!(end.headers.get("location").is_none());
    }
    assert!(attacker.open(&to_entra).await.parameter("code").is_some());
}

#[tokio::test]
async fn t1_only_approval_sets_cookie_for_callback() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    assert!(!browser.has_cookie("sign-in"));
    browser.submit(&page, "allow").await;
    assert!(browser.has_cookie("sign-in"));
}

#[tokio::test]
async fn t3_t18_t24_altered_repeated_or_late_callback_is_rejected() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let to_callback = async || {
        let page = browser
            .open(&client.authorize_url(&[("prompt", "consent")]))
            .await;
        let to_entra = browser.submit(&page, "allow").await.location();
        let state = url::Url::parse(&to_entra).unwrap();
        let state = state
            .query_pairs()
            .find(|(name, _)| name == "state")
            .unwrap()
            .1
            .into_owned();
        assert!(state.len() >= 43 && state != STATE);
        browser.get(&to_entra, "cross-site").await.location()
    };
    let url = to_callback().await;
    let without = browser.clone_with_cookie("sign-in", "v1.x.y.z");
    assert_eq!(without.open(&url).await.status, StatusCode::FORBIDDEN);
    for altered in [format!("{url}x"), url.replace("state=", "state=x")] {
        assert_eq!(
            browser.open(&altered).await.status,
            StatusCode::FORBIDDEN,
            "{altered}"
        );
    }
    for malformed in [
        format!("{url}&state=x"),
        format!("{url}&code=x"),
        world.url("/oauth-callback"),
        world.url("/oauth-callback?code=x"),
    ] {
        assert_eq!(
            browser.open(&malformed).await.status,
            StatusCode::BAD_REQUEST,
            "{malformed}"
        );
    }
    assert!(browser.open(&url).await.parameter("code").is_some());
    assert_eq!(
        browser.open(&url).await.status,
        StatusCode::FORBIDDEN,
        "a second time"
    );
    let late = to_callback().await;
    world.advance(10 * 60);
    assert_eq!(
        browser.open(&late).await.status,
        StatusCode::FORBIDDEN,
        "too late"
    );
}

#[tokio::test]
async fn concurrent_sign_ins_in_one_browser_finish() {
    let world = World::start().await;
    let (one, two) = (world.client().await, world.client().await);
    let browser = Browser::new();
    let page_one = browser.open(&one.authorize_url(&[])).await;
    let page_two = browser.open(&two.authorize_url(&[])).await;
    let to_one = browser.submit(&page_one, "allow").await.location();
    let to_two = browser.submit(&page_two, "allow").await.location();
    assert!(browser.open(&to_two).await.parameter("code").is_some());
    assert!(browser.open(&to_one).await.parameter("code").is_some());
}

#[tokio::test]
async fn d20_t23_provider_error_reaches_client_without_its_text() {
    let world = World::start().await;
    let client = world.client().await;
    for (error, relayed) in [
        ("access_denied", "access_denied"),
        ("invalid_target", "server_error"),
    ] {
        world.provider.behave(Behaviour {
            callback: Some(vec![
                ("error", error),
                (
                    "error_description",
                    "AADSTS65004: ada@contoso.example declined <script>",
                ),
            ]),
            ..Behaviour::default()
        });
        let back = client.approve(&Browser::new()).await;
        assert!(back.location().starts_with(&client.redirect));
        assert_eq!(back.parameter("error").as_deref(), Some(relayed));
        assert_eq!(back.parameter("state").as_deref(), Some(STATE));
        assert_eq!(back.parameter("iss").as_deref(), Some(&*world.origin));
        let description = back.parameter("error_description").unwrap();
        assert!(description.ends_with("(AADSTS65004)") && !description.contains("contoso"));
    }
}

#[tokio::test]
async fn t21_id_token_for_other_application_is_rejected() {
    let world = World::start().await;
    let client = world.client().await;
    let now = world.clock.clock().unix();
    let claims = |claims| Behaviour {
        claims: Some(claims),
        ..Behaviour::default()
    };
    for (behaviour, error) in [
        (claims(json!({"aud": "another-app"})), "server_error"),
        (
            claims(json!({"iss": "https://evil.example/v2.0"})),
            "server_error",
        ),
        (claims(json!({"tid": "another-tenant"})), "server_error"),
        (claims(json!({"nonce": "another"})), "server_error"),
        (claims(json!({"exp": now - 600})), "server_error"),
        (claims(json!({"nbf": now + 600})), "server_error"),
        (
            Behaviour {
                foreign_key: true,
                ..Behaviour::default()
            },
            "server_error",
        ),
        (
            Behaviour {
                token_error: Some((
                    400,
                    json!({"error": "invalid_grant", "error_codes": [53003]}),
                )),
                ..Behaviour::default()
            },
            "access_denied",
        ),
        (
            Behaviour {
                token_error: Some((
                    401,
                    json!({"error": "invalid_client", "error_codes": [7_000_215]}),
                )),
                ..Behaviour::default()
            },
            "server_error",
        ),
        (
            Behaviour {
                token_error: Some((503, json!({}))),
                ..Behaviour::default()
            },
            "temporarily_unavailable",
        ),
        (
            Behaviour {
                token_error: Some((200, json!({"nonsense": 1}))),
                ..Behaviour::default()
            },
            "server_error",
        ),
    ] {
        let described = format!("{:?} {:?}", behaviour.claims, behaviour.token_error);
        world.provider.behave(behaviour);
        let back = client.approve(&Browser::new()).await;
        assert_eq!(
            back.parameter("error").as_deref(),
            Some(error),
            "{described}"
        );
        assert_eq!(back.parameter("code"), None, "{described}");
    }
    world.provider.behave(Behaviour::default());
    client.sign_in(&Browser::new()).await;
}

/// A page of any site can request this URL, and must not use up the limit of the network's users.
#[tokio::test]
async fn callback_with_unknown_state_is_not_rate_limited() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    let to_entra = browser.submit(&page, "allow").await.location();
    let stranger = Browser::new();
    for number in 0..7_000 {
        let url = world.url(&format!("/oauth-callback?state=made-up-{number}&code=x"));
        let answer = stranger.get(&url, "cross-site").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    assert!(browser.open(&to_entra).await.parameter("code").is_some());
}

/// A browser that keeps its cookie cannot make the gateway ask Entra repeatedly.
#[tokio::test]
async fn replayed_state_sends_no_request_to_entra() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    let to_entra = browser.submit(&page, "allow").await.location();
    let to_callback = browser.get(&to_entra, "cross-site").await.location();
    let kept = browser.copied();
    world.provider.behave(Behaviour {
        token_error: Some((400, json!({"error": "invalid_grant"}))),
        ..Behaviour::default()
    });
    let denied = browser.get(&to_callback, "cross-site").await;
    assert!(denied.parameter("error").is_some());
    assert_eq!(world.provider.redemptions(), 1);
    let again = kept.get(&to_callback, "cross-site").await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    assert_eq!(world.provider.redemptions(), 1);
}

#[tokio::test]
async fn tenant_is_checked_again_at_callback() {
    let mut world = World::start().await;
    let client = world.client().await;
    let (url, browser) = (client.authorize_url(&[]), Browser::new());
    let page = browser.open(&url).await;
    let to_entra = browser.submit(&page, "allow").await.location();
    let other = "allowed_tenants = [\"8f1c6e4e-0000-4000-8000-0000000000ff\"]\nroot_server";
    world
        .restart_with(|text| text.replace("root_server", other))
        .await;
    let back = browser.open(&to_entra).await;
    assert_eq!(back.parameter("error").as_deref(), Some("access_denied"));
    assert!(!browser.has_cookie("sign-in"));
}

#[tokio::test]
async fn d29_only_allowed_tenants_sign_in() {
    let other = |text: String| {
        text.replace(
            "root_server",
            "allowed_tenants = [\"8f1c6e4e-0000-4000-8000-0000000000ff\"]\nroot_server",
        )
    };
    let world = World::start_with(other).await;
    let back = world.client().await.approve(&Browser::new()).await;
    assert_eq!(back.parameter("error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn unknown_provider_key_is_fetched_at_limited_rate() {
    let world = World::start().await;
    let client = world.client().await;
    client.sign_in(&Browser::new()).await;
    world.provider.behave(Behaviour {
        key_id: Some("key-2"),
        ..Behaviour::default()
    });
    let back = client.approve(&Browser::new()).await;
    assert_eq!(
        back.parameter("error").as_deref(),
        Some("server_error"),
        "fetched a moment ago"
    );
    world.clock.advance(Duration::from_secs(5 * 60));
    client.sign_in(&Browser::new()).await;
}

#[tokio::test]
async fn unreachable_provider_gets_one_request_per_pause() {
    let world = World::start().await;
    let client = world.client().await;
    world.provider.behave(Behaviour {
        no_metadata: true,
        ..Behaviour::default()
    });
    for _ in 0..3 {
        let back = client.approve(&Browser::new()).await;
        let error = back.parameter("error");
        assert_eq!(error.as_deref(), Some("temporarily_unavailable"));
    }
    assert_eq!(world.provider.discoveries(), 1);
    world.provider.behave(Behaviour::default());
    world.advance(10);
    client.sign_in(&Browser::new()).await;
    assert_eq!(world.provider.discoveries(), 2);
}
