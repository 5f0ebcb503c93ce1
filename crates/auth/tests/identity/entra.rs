//! Sign-in at Entra directly.

use auth::{AccountSelection, SignInError};
use axum::http::StatusCode;
use model::Issuer;
use model::config::ServerAuth;
use serde_json::json;

use super::START;
use super::authority::{Authority, Rotation, TENANT, Trouble};
use super::fixture::{Fixture, browse, shown};

/// Like Entra, it neither promises nor sends `iss`, and keeps used refresh tokens valid.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        b.issuer = None;
        b.rotation = Rotation::Lenient;
    });
    fixture
}

#[tokio::test]
async fn entra_request_has_audience_in_scopes_only() {
    let fixture = fixture().await;
    let target = fixture.entra_usual();
    let account = fixture.sign_in(&target).await.unwrap();
    let issuer = format!("{}/{TENANT}/v2.0", fixture.authority.origin);
    assert_eq!(account.key.issuer.as_str(), issuer);
    assert_eq!(account.tenant.as_deref(), Some(TENANT));
    assert_eq!(account.object_id.as_deref(), Some("object of alice"));
    assert_eq!(account.username.as_deref(), Some("alice@contoso.example"));
    fixture.advance(3600);
    assert_eq!(fixture.header(&target).await, "Bearer access-2");

    let authorize = &fixture.authority.asked("authorize")[0];
    let port = authorize["redirect_uri"]
        .strip_prefix("http://localhost:")
        .unwrap();
    assert!(port.parse::<u16>().is_ok(), "{port}");
    assert_eq!(authorize["response_mode"], "form_post");
    assert_eq!(
        authorize["prompt"], "login",
        "what the endpoint came with stays"
    );
    let requests = fixture.authority.asked("token");
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
    assert!(fixture.authority.asked("register").is_empty());
}

#[tokio::test]
async fn refresh_repeats_qualified_scopes_after_restart() {
    let fixture = fixture().await;
    let target = fixture.entra_usual();
    fixture.sign_in(&target).await.unwrap();
    let later = fixture.restarted();
    for number in 2..4 {
        fixture.advance(3600);
        let authorization = later.authorization(&target).await.unwrap().unwrap();
        assert_eq!(shown(&authorization), format!("Bearer access-{number}"));
    }
    let challenge = r#"Bearer error="invalid_token""#;
    let again = later
        .start_sign_in(&target, Some(challenge), AccountSelection::Last)
        .await
        .unwrap();
    let mut query = again.url().query_pairs();
    let (_, asked_again) = query.find(|(name, _)| name == "scope").unwrap();
    let renewals = fixture.authority.grants("refresh_token");
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
async fn concurrent_sign_ins_use_own_verifiers() {
    let fixture = fixture().await;
    let target = fixture.entra_usual();
    let first = fixture.begin(&target).await.unwrap();
    let second = fixture.begin(&target).await.unwrap();
    let pages = [second.url().clone(), first.url().clone()];
    let in_the_other_order = async {
        for page in &pages {
            browse(page).await;
        }
    };
    let (first, second, ()) = tokio::join!(first.finish(), second.finish(), in_the_other_order);
    // The authority compares each verifier with the challenge of its code.
    assert_eq!(first.unwrap().key, second.unwrap().key);
    let codes = fixture.authority.grants("authorization_code");
    let [one, other] = &codes[..] else {
        panic!("{codes:?}");
    };
    assert_ne!(one["code_verifier"], other["code_verifier"]);
}

#[tokio::test]
async fn entra_redirect_uri_is_localhost_root() {
    let fixture = fixture().await;
    let target = fixture.entra_usual();
    let mut ports = Vec::new();
    let mut flows = Vec::new();
    for _ in 0..2 {
        let flow = fixture.begin(&target).await.unwrap();
        let mut query = flow.url().query_pairs();
        let (_, uri) = query.find(|(name, _)| name == "redirect_uri").unwrap();
        let port = uri.strip_prefix("http://localhost:").unwrap();
        ports.push(port.parse::<u16>().unwrap());
        flows.push(flow);
    }
    assert_ne!(ports[0], ports[1]);
}

#[tokio::test]
async fn entra_configuration_overrides_server_metadata() {
    let wrong = json!({
        "resource": "https://other.example/mcp",
        "authorization_servers": ["https://other.example"],
        "scopes_supported": ["other"],
    });
    for told in [json!(null), wrong] {
        let fixture = fixture().await;
        fixture.authority.set(|b| {
            b.resource = told;
            b.metadata = json!(null);
        });
        let target = fixture.entra_usual();
        fixture.sign_in(&target).await.unwrap();
        assert_eq!(fixture.header(&target).await, "Bearer access-1");
        assert!(fixture.authority.asked("register").is_empty());
        let scope = &fixture.authority.asked("authorize")[0]["scope"];
        assert!(scope.starts_with("api://the-api/mcp.read "), "{scope}");
    }
}

#[tokio::test]
async fn multi_tenant_authority_has_issuer_template() {
    let fixture = fixture().await;
    let template = format!("{}/{{tenantid}}/v2.0", fixture.authority.origin);
    fixture
        .authority
        .set(|b| b.entra["issuer"] = json!(template));
    let account = fixture
        .sign_in(&fixture.entra("common", &[]))
        .await
        .unwrap();
    assert!(account.key.issuer.as_str().contains(TENANT));
    let scope = &fixture.authority.asked("authorize")[0]["scope"];
    assert_eq!(
        scope,
        "api://the-api/.default openid profile offline_access"
    );
}

#[tokio::test]
async fn metadata_of_another_tenant_is_rejected() {
    let fixture = fixture().await;
    let other = "00000000-9f0e-4b53-8f4e-0e3b5f3d2a11";
    let outcome = fixture.sign_in(&fixture.entra(other, &[])).await;
    assert!(matches!(outcome, Err(SignInError::Malformed { .. })));
}

#[tokio::test]
async fn sign_in_with_wrong_clock_reports_clock() {
    for (offset, behind) in [(1000, true), (-10_000, false)] {
        let fixture = fixture().await;
        fixture
            .authority
            .set(|b| b.now = START.checked_add_signed(offset).unwrap());
        let outcome = fixture.sign_in(&fixture.entra_usual()).await;
        let Err(SignInError::ClockWrong { behind: said, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(said, behind);
        assert!(fixture.identity.accounts().await.is_empty());
    }
}

#[tokio::test]
async fn fixed_port_in_use_is_reported() {
    let fixture = fixture().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let ServerAuth::Entra {
        authority,
        client_id,
        resource,
        scopes,
        ..
    } = fixture.entra_usual().auth().clone()
    else {
        panic!("not Entra");
    };
    let target = fixture.target_with(ServerAuth::Entra {
        authority,
        client_id,
        resource,
        scopes,
        redirect_port: port,
    });
    let outcome = fixture.begin(&target).await;
    assert!(
        matches!(outcome.err(), Some(SignInError::PortTaken { port: said, .. }) if said == port)
    );
    drop(taken);
    let flow = fixture.begin(&target).await.unwrap();
    let outcome = fixture.begin(&target).await;
    assert!(
        matches!(
            outcome.err(),
            Some(SignInError::PortAwaited { port: said, other, .. })
                if said == port && other == target.url().as_str()
        ),
        "it is not another program's"
    );
    drop(flow);
    fixture.sign_in(&target).await.unwrap();
    let redirect = &fixture.authority.asked("authorize")[0]["redirect_uri"];
    assert_eq!(*redirect, format!("http://localhost:{port}"));
}

#[tokio::test]
async fn claims_challenge_reaches_sign_in() {
    let fixture = fixture().await;
    let target = fixture.entra_usual();
    // {"access_token":{"nbf":{"essential":true}}}
    let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#;
    let flow = fixture
        .identity
        .start_sign_in(&target, Some(challenge), AccountSelection::Last)
        .await
        .unwrap();
    let claims = flow.url().query_pairs().find(|(name, _)| name == "claims");
    assert_eq!(
        claims.unwrap().1,
        r#"{"access_token":{"nbf":{"essential":true},"xms_cc":{"values":["cp1"]}}}"#
    );
}

#[tokio::test]
async fn one_sign_in_serves_all_servers_of_client() {
    let fixture = fixture().await;
    fixture.sign_in(&fixture.entra_usual()).await.unwrap();
    let other = fixture.entra(TENANT, &["api://other-api/files.read"]);
    assert_eq!(fixture.header(&other).await, "Bearer access-2");
    assert_eq!(fixture.header(&other).await, "Bearer access-2");
    let renewal = fixture.authority.grants("refresh_token").pop().unwrap();
    assert_eq!(
        renewal["scope"],
        "api://other-api/files.read openid profile offline_access"
    );
    assert_eq!(
        fixture.header(&fixture.entra_usual()).await,
        "Bearer access-1"
    );
    assert_eq!(fixture.identity.accounts().await.len(), 1);
    assert_eq!(fixture.authority.asked("authorize").len(), 1);

    // The user must sign in for this resource first.
    let body = json!({ "error": "invalid_grant", "suberror": "consent_required" });
    fixture
        .authority
        .set(|b| b.trouble = Some(Trouble::Refusal(StatusCode::BAD_REQUEST, body)));
    let third = fixture.entra(TENANT, &["api://third-api/x"]);
    for _ in 0..2 {
        fixture.identity.authorization(&third).await.unwrap_err();
        assert_eq!(fixture.authority.grants("refresh_token").len(), 2);
    }
    fixture.authority.set(|b| b.trouble = None);
    fixture.advance(3600);
    assert_eq!(
        fixture.header(&fixture.entra_usual()).await,
        "Bearer access-3",
        "nothing was lost"
    );
    assert_eq!(fixture.header(&third).await, "Bearer access-4");
    let account = fixture.identity.account_for(&third).unwrap();
    fixture.identity.sign_out(&account.key).await.unwrap();
    assert!(fixture.restarted().accounts().await.is_empty());
    fixture.identity.authorization(&other).await.unwrap_err();
}

#[tokio::test]
async fn missing_authority_is_unreachable() {
    let fixture = fixture().await;
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
    } = fixture.entra_usual().auth().clone()
    else {
        panic!("not Entra");
    };
    let target = fixture.target_with(ServerAuth::Entra {
        authority: Issuer::new(format!("http://{closed}/{TENANT}/v2.0")),
        client_id,
        resource,
        scopes,
        redirect_port,
    });
    let error = fixture.sign_in(&target).await.unwrap_err();
    assert!(matches!(error, SignInError::Unreachable { .. }));
    assert!(error.to_string().contains("; hint: "));
}

#[tokio::test]
async fn two_users_sign_in_to_servers_of_one_client() {
    let fixture = fixture().await;
    let (one, other) = (
        fixture.entra_usual(),
        fixture.entra(TENANT, &["api://other-api/files.read"]),
    );
    let ada = fixture.sign_in(&one).await.unwrap();
    fixture.authority.set(|b| b.person = "grace");
    let grace = fixture.sign_in(&other).await.unwrap();
    assert_ne!(ada.key, grace.key);
    assert_eq!(fixture.identity.accounts().await.len(), 2);
    assert_eq!(fixture.identity.account_for(&one).unwrap().key, ada.key);
    assert_eq!(fixture.identity.account_for(&other).unwrap().key, grace.key);

    // Between two, only a person can choose.
    let third = fixture.entra(TENANT, &["api://third-api/x"]);
    fixture.identity.authorization(&third).await.unwrap_err();
    let adas = fixture.identity.switch_account(&third, &ada.key);
    assert!(adas.await.unwrap(), "without a browser");
    assert_eq!(fixture.identity.account_for(&third).unwrap().key, ada.key);
    assert_eq!(fixture.authority.asked("authorize").len(), 2);

    // A server switches to another account. The other accounts keep their servers.
    assert!(
        fixture
            .identity
            .switch_account(&one, &grace.key)
            .await
            .unwrap()
    );
    assert_eq!(fixture.identity.account_for(&one).unwrap().key, grace.key);
    assert_eq!(fixture.identity.account_for(&third).unwrap().key, ada.key);
    fixture.identity.sign_out(&ada.key).await.unwrap();
    let restarted = fixture.restarted();
    assert_eq!(restarted.accounts().await.len(), 1);
    assert_eq!(restarted.account_for(&one).unwrap().key, grace.key);
}

#[tokio::test]
async fn missing_scopes_compare_resource() {
    let fixture = fixture().await;
    let target = fixture.entra_usual();
    let missing = |scopes: &str| {
        let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scopes}""#);
        fixture
            .identity
            .missing_scopes(&target, &challenge)
            .join(" ")
    };
    assert_eq!(missing("mcp.read"), "api://the-api/mcp.read");
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(missing("mcp.read openid api://the-api/.default"), "");
    assert_eq!(missing("api://the-api/mcp.read"), "");
    assert_eq!(missing("mcp.write"), "api://the-api/mcp.write");
}

#[tokio::test]
async fn previous_user_is_login_hint() {
    let fixture = fixture().await;
    let target = fixture.entra_usual();
    let account = fixture.sign_in(&target).await.unwrap();
    let flow = fixture.begin(&target).await.unwrap();
    let hint = flow
        .url()
        .query_pairs()
        .find(|(name, _)| name == "login_hint");
    assert_eq!(hint.map(|(_, value)| value.into_owned()), account.username);
    drop(flow);
    let end = fixture
        .identity
        .end_session_url(&account.key)
        .await
        .unwrap();
    assert!(end.path().ends_with("/logout"), "{end}");
    let who = end.query_pairs().find(|(name, _)| name == "logout_hint");
    assert_eq!(who.map(|(_, value)| value.into_owned()), account.username);
}
