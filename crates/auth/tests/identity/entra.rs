//! Signing in to Entra directly.

use auth::{SignInError, Whom};
use axum::http::StatusCode;
use model::Issuer;
use model::config::ServerAuth;
use serde_json::json;

use super::START;
use super::authority::{Authority, Rotation, TENANT, Trouble};
use super::fixture::{Desk, browse, shown};

/// As a real one: it neither promises nor sends `iss`, and leaves used refresh tokens alive.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.authority.set(|b| {
        b.issuer = None;
        b.rotation = Rotation::Lenient;
    });
    desk
}

#[tokio::test]
async fn scopes_carry_the_audience_and_resource_is_never_sent() {
    let desk = desk().await;
    let target = desk.entra_usual();
    let account = desk.sign_in(&target).await.unwrap();
    let issuer = format!("{}/{TENANT}/v2.0", desk.authority.origin);
    assert_eq!(account.key.issuer.as_str(), issuer);
    assert_eq!(account.tenant.as_deref(), Some(TENANT));
    assert_eq!(account.object_id.as_deref(), Some("object of alice"));
    assert_eq!(account.username.as_deref(), Some("alice@contoso.example"));
    desk.advance(3600);
    assert_eq!(desk.header(&target).await, "Bearer access-2");

    let authorize = &desk.authority.asked("authorize")[0];
    let port = authorize["redirect_uri"]
        .strip_prefix("http://localhost:")
        .unwrap();
    assert!(port.parse::<u16>().is_ok(), "{port}");
    assert_eq!(authorize["response_mode"], "form_post");
    assert_eq!(
        authorize["prompt"], "login",
        "what the endpoint came with stays"
    );
    let requests = desk.authority.asked("token");
    assert_eq!(requests.len(), 2);
    for request in requests.iter().chain([authorize]) {
        assert_eq!(
            request["scope"],
            "api://the-api/mcp.read openid profile offline_access"
        );
        assert!(!request.contains_key("resource"));
        assert!(!request.contains_key("client_secret"));
        assert_eq!(request["client_id"], "the-app");
    }
    assert!(desk.authority.asked("register").is_empty());
}

#[tokio::test]
async fn scopes_stay_qualified_after_a_restart_and_on_every_renewal() {
    let desk = desk().await;
    let target = desk.entra_usual();
    desk.sign_in(&target).await.unwrap();
    let later = desk.restarted();
    for number in 2..4 {
        desk.advance(3600);
        let authorization = later.authorization(&target).await.unwrap().unwrap();
        assert_eq!(shown(&authorization), format!("Bearer access-{number}"));
    }
    let challenge = r#"Bearer error="invalid_token""#;
    let again = later
        .start_sign_in(&target, Some(challenge), Whom::Same)
        .await
        .unwrap();
    let mut query = again.url().query_pairs();
    let (_, asked_again) = query.find(|(name, _)| name == "scope").unwrap();
    let renewals = desk.authority.grants("refresh_token");
    assert_eq!(renewals.len(), 2);
    let scopes = renewals.iter().map(|renewal| renewal["scope"].as_str());
    for scope in scopes.chain([&*asked_again]) {
        assert_eq!(
            scope,
            "api://the-api/mcp.read openid profile offline_access"
        );
    }
}

#[tokio::test]
async fn sign_ins_under_way_at_once_redeem_with_their_own_verifiers() {
    let desk = desk().await;
    let target = desk.entra_usual();
    let first = desk.begin(&target).await.unwrap();
    let second = desk.begin(&target).await.unwrap();
    let pages = [second.url().clone(), first.url().clone()];
    let in_the_other_order = async {
        for page in &pages {
            browse(page).await;
        }
    };
    let (first, second, ()) = tokio::join!(first.finish(), second.finish(), in_the_other_order);
    // The authority compares each verifier with the challenge that its code was asked for with.
    assert_eq!(first.unwrap().key, second.unwrap().key);
    let codes = desk.authority.grants("authorization_code");
    let [one, other] = &codes[..] else {
        panic!("{codes:?}");
    };
    assert_ne!(one["code_verifier"], other["code_verifier"]);
}

#[tokio::test]
async fn the_redirect_uri_is_localhost_at_the_root_whatever_port_is_free() {
    let desk = desk().await;
    let target = desk.entra_usual();
    let mut ports = Vec::new();
    let mut flows = Vec::new();
    for _ in 0..2 {
        let flow = desk.begin(&target).await.unwrap();
        let mut query = flow.url().query_pairs();
        let (_, uri) = query.find(|(name, _)| name == "redirect_uri").unwrap();
        let port = uri.strip_prefix("http://localhost:").unwrap();
        ports.push(port.parse::<u16>().unwrap());
        flows.push(flow);
    }
    assert_ne!(ports[0], ports[1]);
}

#[tokio::test]
async fn a_server_without_metadata_or_with_wrong_metadata_is_signed_in_to_as_configured() {
    let wrong = json!({
        "resource": "https://other.example/mcp",
        "authorization_servers": ["https://other.example"],
        "scopes_supported": ["other"],
    });
    for told in [json!(null), wrong] {
        let desk = desk().await;
        desk.authority.set(|b| {
            b.resource = told;
            b.metadata = json!(null);
        });
        let target = desk.entra_usual();
        desk.sign_in(&target).await.unwrap();
        assert_eq!(desk.header(&target).await, "Bearer access-1");
        assert!(desk.authority.asked("register").is_empty());
        let scope = &desk.authority.asked("authorize")[0]["scope"];
        assert!(scope.starts_with("api://the-api/mcp.read "), "{scope}");
    }
}

#[tokio::test]
async fn an_authority_for_all_tenants_has_a_template_for_an_issuer() {
    let desk = desk().await;
    let template = format!("{}/{{tenantid}}/v2.0", desk.authority.origin);
    desk.authority.set(|b| b.entra["issuer"] = json!(template));
    let account = desk.sign_in(&desk.entra("common", &[])).await.unwrap();
    assert!(account.key.issuer.as_str().contains(TENANT));
    let scope = &desk.authority.asked("authorize")[0]["scope"];
    assert_eq!(
        scope,
        "api://the-api/.default openid profile offline_access"
    );
}

#[tokio::test]
async fn metadata_of_another_tenant_is_refused() {
    let desk = desk().await;
    let other = "00000000-9f0e-4b53-8f4e-0e3b5f3d2a11";
    let outcome = desk.sign_in(&desk.entra(other, &[])).await;
    assert!(matches!(outcome, Err(SignInError::Malformed { .. })));
}

#[tokio::test]
async fn a_wrong_clock_is_named() {
    for (offset, behind) in [(1000, true), (-10_000, false)] {
        let desk = desk().await;
        desk.authority
            .set(|b| b.now = START.checked_add_signed(offset).unwrap());
        let outcome = desk.sign_in(&desk.entra_usual()).await;
        let Err(SignInError::ClockWrong { behind: said, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(said, behind);
        assert!(desk.identity.accounts().await.is_empty());
    }
}

#[tokio::test]
async fn a_fixed_port_that_is_taken_is_said() {
    let desk = desk().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let ServerAuth::Entra {
        authority,
        client_id,
        resource,
        scopes,
        ..
    } = desk.entra_usual().auth
    else {
        panic!("not Entra");
    };
    let target = desk.target_with(ServerAuth::Entra {
        authority,
        client_id,
        resource,
        scopes,
        redirect_port: port,
    });
    let outcome = desk.begin(&target).await;
    assert!(
        matches!(outcome.err(), Some(SignInError::PortTaken { port: said, .. }) if said == port)
    );
    drop(taken);
    let flow = desk.begin(&target).await.unwrap();
    let outcome = desk.begin(&target).await;
    assert!(
        matches!(
            outcome.err(),
            Some(SignInError::PortAwaited { port: said, other, .. })
                if said == port && other == target.url.as_str()
        ),
        "it is not another program's"
    );
    drop(flow);
    desk.sign_in(&target).await.unwrap();
    let redirect = &desk.authority.asked("authorize")[0]["redirect_uri"];
    assert_eq!(*redirect, format!("http://localhost:{port}"));
}

#[tokio::test]
async fn a_claims_challenge_is_passed_on() {
    let desk = desk().await;
    let target = desk.entra_usual();
    // {"access_token":{"nbf":{"essential":true}}}
    let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#;
    let flow = desk
        .identity
        .start_sign_in(&target, Some(challenge), Whom::Same)
        .await
        .unwrap();
    let claims = flow.url().query_pairs().find(|(name, _)| name == "claims");
    assert_eq!(
        claims.unwrap().1,
        r#"{"access_token":{"nbf":{"essential":true},"xms_cc":{"values":["cp1"]}}}"#
    );
}

#[tokio::test]
async fn one_sign_in_opens_the_other_servers_of_the_client() {
    let desk = desk().await;
    desk.sign_in(&desk.entra_usual()).await.unwrap();
    let other = desk.entra(TENANT, &["api://other-api/files.read"]);
    assert_eq!(desk.header(&other).await, "Bearer access-2");
    assert_eq!(desk.header(&other).await, "Bearer access-2");
    let renewal = desk.authority.grants("refresh_token").pop().unwrap();
    assert_eq!(
        renewal["scope"],
        "api://other-api/files.read openid profile offline_access"
    );
    assert_eq!(desk.header(&desk.entra_usual()).await, "Bearer access-1");
    assert_eq!(desk.identity.accounts().await.len(), 1);
    assert_eq!(desk.authority.asked("authorize").len(), 1);

    // A resource that the person has to be asked about first.
    let body = json!({ "error": "invalid_grant", "suberror": "consent_required" });
    desk.authority
        .set(|b| b.trouble = Some(Trouble::Refusal(StatusCode::BAD_REQUEST, body)));
    let third = desk.entra(TENANT, &["api://third-api/x"]);
    for _ in 0..2 {
        desk.identity.authorization(&third).await.unwrap_err();
        assert_eq!(desk.authority.grants("refresh_token").len(), 2);
    }
    desk.authority.set(|b| b.trouble = None);
    desk.advance(3600);
    assert_eq!(
        desk.header(&desk.entra_usual()).await,
        "Bearer access-3",
        "nothing was lost"
    );
    assert_eq!(desk.header(&third).await, "Bearer access-4");
    let account = desk.identity.account_for(&third).unwrap();
    desk.identity.sign_out(&account.key).await.unwrap();
    assert!(desk.restarted().accounts().await.is_empty());
    desk.identity.authorization(&other).await.unwrap_err();
}

#[tokio::test]
async fn an_authority_that_is_not_there_is_unreachable() {
    let desk = desk().await;
    let gone = Authority::start().await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    drop(gone);
    let ServerAuth::Entra {
        client_id,
        resource,
        scopes,
        redirect_port,
        ..
    } = desk.entra_usual().auth
    else {
        panic!("not Entra");
    };
    let target = desk.target_with(ServerAuth::Entra {
        authority: Issuer::new(format!("http://{closed}/{TENANT}/v2.0")),
        client_id,
        resource,
        scopes,
        redirect_port,
    });
    let error = desk.sign_in(&target).await.unwrap_err();
    assert!(matches!(error, SignInError::Unreachable { .. }));
    assert!(error.to_string().contains("; hint: "));
}

#[tokio::test]
async fn two_people_have_different_servers_of_one_client() {
    let desk = desk().await;
    let (one, other) = (
        desk.entra_usual(),
        desk.entra(TENANT, &["api://other-api/files.read"]),
    );
    let ada = desk.sign_in(&one).await.unwrap();
    desk.authority.set(|b| b.person = "grace");
    let grace = desk.sign_in(&other).await.unwrap();
    assert_ne!(ada.key, grace.key);
    assert_eq!(desk.identity.accounts().await.len(), 2);
    assert_eq!(desk.identity.account_for(&one).unwrap().key, ada.key);
    assert_eq!(desk.identity.account_for(&other).unwrap().key, grace.key);

    // Between two, only a person can choose.
    let third = desk.entra(TENANT, &["api://third-api/x"]);
    desk.identity.authorization(&third).await.unwrap_err();
    let adas = desk.identity.switch_account(&third, &ada.key);
    assert!(adas.await.unwrap(), "without a browser");
    assert_eq!(desk.identity.account_for(&third).unwrap().key, ada.key);
    assert_eq!(desk.authority.asked("authorize").len(), 2);

    // A server changes hands, and nobody else loses theirs.
    assert!(
        desk.identity
            .switch_account(&one, &grace.key)
            .await
            .unwrap()
    );
    assert_eq!(desk.identity.account_for(&one).unwrap().key, grace.key);
    assert_eq!(desk.identity.account_for(&third).unwrap().key, ada.key);
    desk.identity.sign_out(&ada.key).await.unwrap();
    let restarted = desk.restarted();
    assert_eq!(restarted.accounts().await.len(), 1);
    assert_eq!(restarted.account_for(&one).unwrap().key, grace.key);
}

#[tokio::test]
async fn missing_scopes_are_compared_with_their_resource() {
    let desk = desk().await;
    let target = desk.entra_usual();
    let missing = |scopes: &str| {
        let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scopes}""#);
        desk.identity.missing_scopes(&target, &challenge).join(" ")
    };
    assert_eq!(missing("mcp.read"), "api://the-api/mcp.read");
    desk.sign_in(&target).await.unwrap();
    assert_eq!(missing("mcp.read openid api://the-api/.default"), "");
    assert_eq!(missing("api://the-api/mcp.read"), "");
    assert_eq!(missing("mcp.write"), "api://the-api/mcp.write");
}

#[tokio::test]
async fn whoever_signed_in_before_is_proposed_again() {
    let desk = desk().await;
    let target = desk.entra_usual();
    let account = desk.sign_in(&target).await.unwrap();
    let flow = desk.begin(&target).await.unwrap();
    let hint = flow
        .url()
        .query_pairs()
        .find(|(name, _)| name == "login_hint");
    assert_eq!(hint.map(|(_, value)| value.into_owned()), account.username);
    drop(flow);
    let end = desk.identity.end_session_url(&account.key).await.unwrap();
    assert!(end.path().ends_with("/logout"), "{end}");
    let who = end.query_pairs().find(|(name, _)| name == "logout_hint");
    assert_eq!(who.map(|(_, value)| value.into_owned()), account.username);
}
