//! Sign-in in a browser.

use std::time::Duration;

use auth::{
    AccountSelection, Actor, AuthorizationError, SignInError, SignInReason, SignOutError, Target,
    Vault,
};
use axum::http::StatusCode;
use model::config::ServerAuth;
use serde_json::{Value, json};
use texts::Describe;
use tokio::net::{TcpListener, TcpStream};

use super::authority::{Rotation, Trouble};
use super::fixture::{Fixture, browse, client, end_of, redirect_uri, shown};

#[tokio::test]
async fn sign_in_survives_restart() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let needed = fixture.identity.authorization(&target).await.unwrap_err();
    assert!(matches!(
        needed,
        AuthorizationError::SignInNeeded {
            reason: SignInReason::NotSignedIn,
            ..
        }
    ));

    let flow = fixture.begin(&target).await.unwrap();
    let url = flow.url().clone();
    let (account, page) = tokio::join!(flow.finish(), browse(&url));
    let account = account.unwrap();
    assert_eq!(account.key.issuer.as_str(), fixture.authority.origin);
    assert_eq!(account.key.subject, "alice");
    assert_eq!(account.name.as_deref(), Some("Alice"));
    assert_eq!(page.status, 200);
    assert!(page.text.contains("You are signed in"), "{}", page.text);
    assert!(page.text.contains("alice@contoso.example"));

    let authorization = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown(&authorization), "Bearer access-1");
    assert_eq!(authorization.account, account.key);
    assert!(!format!("{authorization:?}").contains("access-1"));
    assert_eq!(fixture.identity.account_for(&target), Some(account.clone()));

    let later = fixture.restarted();
    assert_eq!(later.account_for(&target), None, "nothing is read yet");
    assert_eq!(later.accounts().await, std::slice::from_ref(&account));
    assert_eq!(later.account_for(&target), Some(account));
    let again = later.authorization(&target).await.unwrap().unwrap();
    assert_eq!(shown(&again), "Bearer access-1");
    assert_eq!(fixture.authority.asked("token").len(), 1);
}

#[tokio::test]
async fn authorization_request_follows_specification() {
    let fixture = Fixture::new().await;
    // Without a path and without a slash. The exact text must be sent.
    let resource = fixture.authority.origin.clone();
    fixture
        .authority
        .set(|b| b.resource["resource"] = json!(resource));
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    fixture.advance(3600);
    fixture.header(&target).await;

    let registered = &fixture.authority.asked("register")[0]["body"];
    let registered: serde_json::Value = serde_json::from_str(registered).unwrap();
    let authorize = &fixture.authority.asked("authorize")[0];
    assert_eq!(registered["application_type"], "native");
    assert_eq!(registered["token_endpoint_auth_method"], "none");
    assert_eq!(registered["client_name"], "Postern");
    assert_eq!(
        registered["redirect_uris"],
        json!([authorize["redirect_uri"]])
    );
    assert!(authorize["redirect_uri"].starts_with("http://127.0.0.1:"));
    assert!(authorize["redirect_uri"].ends_with("/callback"));
    assert_eq!(authorize["response_type"], "code");
    assert_eq!(authorize["scope"], "mcp.read offline_access");
    assert_eq!(authorize["code_challenge_method"], "S256");
    for request in fixture.authority.asked("token").iter().chain([authorize]) {
        assert_eq!(request["resource"], resource);
        assert_eq!(request["client_id"], "client-1");
    }
    assert_eq!(fixture.authority.asked("token").len(), 2);
}

#[tokio::test]
async fn sign_ins_share_no_verifier_and_state() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(
        fixture.authority.asked("register").len(),
        1,
        "a registration is kept"
    );
    let asked = fixture.authority.asked("authorize");
    let [first, .., last] = &asked[..] else {
        panic!("asked once");
    };
    assert_eq!(
        first["redirect_uri"], last["redirect_uri"],
        "on the port that was registered"
    );
    for name in ["state", "code_challenge"] {
        assert_ne!(first[name], last[name]);
        assert_eq!(first[name].len(), 43);
    }
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
    assert_eq!(fixture.identity.accounts().await.len(), 1);
}

#[tokio::test]
async fn resource_is_sent_byte_for_byte() {
    for end in ["", "/"] {
        let fixture = Fixture::new().await;
        let target = fixture.target();
        let resource = format!("{}{end}", fixture.authority.origin);
        fixture
            .authority
            .set(|b| b.resource["resource"] = json!(resource));
        fixture.sign_in(&target).await.unwrap();
        fixture.advance(3600);
        assert_eq!(fixture.header(&target).await, "Bearer access-2");
        let asked = fixture.authority.asked("authorize");
        let requests = [asked, fixture.authority.asked("token")].concat();
        assert_eq!(requests.len(), 3);
        for request in requests {
            assert_eq!(request["resource"], resource);
        }
    }
}

#[tokio::test]
async fn callback_is_served_on_both_loopback_addresses() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let flow = fixture.begin(&target).await.unwrap();
    let port = redirect_uri(flow.url()).port().unwrap();
    let finish = tokio::spawn(flow.finish());
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let Ok(stream) = TcpStream::connect(format!("{host}:{port}")).await else {
            assert_eq!(host, "[::1]", "a machine may lack IPv6, and nothing else");
            continue;
        };
        drop(stream);
        let answer = client()
            .get(format!("http://{host}:{port}/callback"))
            .send()
            .await;
        assert_eq!(answer.unwrap().status(), 400, "{host}");
    }
    finish.abort();
}

#[tokio::test]
async fn dropped_flow_frees_port() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let flow = fixture.begin(&target).await.unwrap();
    let port = redirect_uri(flow.url()).port().unwrap();
    assert!(TcpListener::bind(("127.0.0.1", port)).await.is_err());
    drop(flow);
    TcpListener::bind(("127.0.0.1", port)).await.unwrap();

    let flow = fixture.begin(&target).await.unwrap();
    let port = redirect_uri(flow.url()).port().unwrap();
    let finish = tokio::spawn(flow.finish());
    // It answers, so it is running.
    let address = format!("http://127.0.0.1:{port}/");
    client().get(&address).send().await.unwrap();
    finish.abort();
    assert!(finish.await.unwrap_err().is_cancelled());
    while TcpListener::bind(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(fixture.identity.accounts().await.is_empty());
}

#[tokio::test]
async fn code_exchange_survives_cancelled_sign_in() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let flow = fixture.begin(&target).await.unwrap();
    let answer = end_of(flow.url()).await;
    let permits = fixture.authority.hold_back();
    let cancelled = tokio::spawn(flow.finish());
    let _browser = tokio::spawn(client().get(answer).send());
    fixture.authority.asked_for("authorization_code").await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    fixture.authority.gate.add_permits(permits);
    fixture.identity.settled().await;
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
    let later = fixture.restarted().authorization(&target).await.unwrap();
    assert_eq!(shown(&later.unwrap()), "Bearer access-1");
}

#[tokio::test]
async fn sign_in_without_response_times_out() {
    let fixture = Fixture::new().await;
    let flow = fixture.begin(&fixture.target()).await.unwrap();
    tokio::time::pause();
    let error = flow.finish().await.unwrap_err();
    assert!(
        matches!(error, SignInError::TimedOut { waited, .. } if waited == Duration::from_secs(300))
    );
    assert!(error.to_string().contains("5 minutes; hint: "));
}

#[tokio::test]
async fn error_response_is_explained() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let attempt = async |error, description| {
        fixture
            .authority
            .set(|b| b.error = Some((error, description)));
        let flow = fixture.begin(&target).await.unwrap();
        let url = flow.url().clone();
        let (outcome, page) = tokio::join!(flow.finish(), browse(&url));
        (outcome.unwrap_err(), page.text)
    };
    let (error, page) = attempt("access_denied", "AADSTS65004: User declined to consent.").await;
    assert!(matches!(error, SignInError::Declined { .. }));
    assert!(page.contains("You are not signed in"), "{page}");
    assert!(
        page.contains("the requested access was not accepted"),
        "{page}"
    );
    assert!(
        page.contains("AADSTS65004") && page.contains("User declined"),
        "{page}"
    );

    let (error, page) = attempt("invalid_target", "AADSTS9010010: <b>No match</b>.").await;
    let SignInError::Refused { explanation, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(explanation.error, "invalid_target");
    assert!(explanation.text().to_string().contains("App ID URI"));
    assert!(page.contains("&lt;b&gt;No match"));

    let (error, page) = attempt("access_denied", "AADSTS90094: Admin consent is required. Trace ID: 1 Correlation ID: 6b1c1f5e-6f0a-4a55-9c8e-0f8b6a1c2d3e Timestamp: 2026").await;
    let SignInError::Declined { explanation, .. } = error else {
        panic!("the kind hangs on the error code, and the number is for words: {error}");
    };
    assert_eq!(explanation.actor, Actor::Administrator);
    assert!(
        page.contains("correlation ID 6b1c1f5e-6f0a-4a55-9c8e-0f8b6a1c2d3e"),
        "{page}"
    );
    assert!(fixture.authority.asked("token").is_empty());
}

#[tokio::test]
async fn failed_sign_in_keeps_previous_grant() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    for trouble in [
        Trouble::Busy(StatusCode::SERVICE_UNAVAILABLE, None),
        Trouble::Portal,
        Trouble::Refusal(StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant" })),
    ] {
        fixture.authority.set(|b| b.trouble = Some(trouble));
        fixture.sign_in(&target).await.unwrap_err();
    }
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
}

#[tokio::test]
async fn lost_registration_is_repeated() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    fixture.authority.forget_clients();
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(
        fixture.authority.asked("register").len(),
        2,
        "noticed before the browser opens"
    );

    let lost = json!({ "error": "invalid_client" });
    fixture
        .authority
        .set(|b| b.trouble = Some(Trouble::Refusal(StatusCode::UNAUTHORIZED, lost)));
    let outcome = fixture.sign_in(&target).await;
    assert!(matches!(outcome, Err(SignInError::RegistrationLost { .. })));
    fixture.authority.set(|b| b.trouble = None);
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(fixture.authority.asked("register").len(), 3);
    assert_eq!(fixture.identity.accounts().await.len(), 1);
}

#[tokio::test]
async fn client_secret_uses_method_of_metadata() {
    let fixture = Fixture::new().await;
    for (method, offered) in [
        ("client_secret_basic", json!(["client_secret_basic"])),
        (
            "client_secret_post",
            json!(["client_secret_basic", "client_secret_post"]),
        ),
    ] {
        fixture.authority.forget_clients();
        fixture.authority.set(|b| {
            b.metadata["token_endpoint_auth_methods_supported"] = offered;
            b.registered_with =
                json!({ "client_secret": "s3cret+", "client_secret_expires_at": 0 });
        });
        fixture.sign_in(&fixture.target()).await.unwrap();
        let token = fixture.authority.asked("token").pop().unwrap();
        if method == "client_secret_post" {
            assert_eq!(token["client_secret"], "s3cret+");
        } else {
            assert!(token["basic"].starts_with("Basic "));
            assert!(!token.contains_key("client_secret"));
        }
    }
}

#[tokio::test]
async fn configured_client_does_not_register() {
    let fixture = Fixture::new().await;
    fixture
        .authority
        .set(|b| b.metadata["registration_endpoint"] = json!(null));
    let outcome = fixture.sign_in(&fixture.target()).await;
    assert!(matches!(outcome, Err(SignInError::NoRegistration { .. })));
    let target = fixture.target_with(ServerAuth::Client {
        client_id: "mine".to_owned(),
        client_secret: None,
        issuer: None,
        scopes: vec!["mcp.write".to_owned()],
        redirect_port: 0,
    });
    fixture.sign_in(&target).await.unwrap();
    let authorize = fixture.authority.asked("authorize").pop().unwrap();
    assert_eq!(authorize["client_id"], "mine");
    assert_eq!(authorize["scope"], "mcp.write offline_access");
    assert!(fixture.authority.asked("register").is_empty());
}

#[tokio::test]
async fn step_up_requests_granted_and_missing_scopes() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    let challenge = r#"Bearer error="insufficient_scope", scope="mcp.write""#;
    let flow = fixture
        .identity
        .start_sign_in(&target, Some(challenge), AccountSelection::Last)
        .await
        .unwrap();
    let scope = flow.url().query_pairs().find(|(name, _)| name == "scope");
    assert_eq!(scope.unwrap().1, "mcp.write mcp.read offline_access");
}

#[tokio::test]
async fn missing_scopes_are_challenged_and_not_requested() {
    let fixture = Fixture::new().await;
    let missing = |target: &Target, scopes: &str| {
        let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scopes}""#);
        fixture
            .identity
            .missing_scopes(target, &challenge)
            .join(" ")
    };
    let target = fixture.target();
    assert_eq!(
        missing(&target, "mcp.read"),
        "mcp.read",
        "no user is signed in"
    );
    let before = fixture.identity.newest_token(&target);
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(missing(&target, "mcp.read offline_access"), "");
    assert_eq!(missing(&target, "mcp.read mcp.write"), "mcp.write");
    assert_eq!(missing(&target, ""), "");
    assert!(fixture.identity.missing_scopes(&target, "Basic").is_empty());
    assert!(before.is_none() && fixture.identity.has_usable_token(&target));
}

#[tokio::test]
async fn refreshed_token_notifies_and_has_greater_number() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    let mut news = fixture.identity.refreshes();
    let first = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    assert!(!news.has_changed().unwrap());
    fixture.identity.refused(&target, &first, None).await;
    assert!(!fixture.identity.has_usable_token(&target));
    let second = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    assert!(news.has_changed().unwrap() && fixture.identity.has_usable_token(&target));
    assert!(second.number() > first.number());
    assert_eq!(
        fixture.identity.newest_token(&target),
        Some(second.number())
    );
    news.mark_unchanged();
    fixture.identity.authorization(&target).await.unwrap();
    assert!(!news.has_changed().unwrap());
}

#[tokio::test]
async fn query_of_server_url_is_not_shown() {
    let fixture = Fixture::new().await;
    let at = |origin: &str| {
        Target::new(
            format!("{origin}/mcp?code=squirrel").parse().unwrap(),
            ServerAuth::Discover,
        )
    };
    let target = at(&fixture.authority.origin);
    let mut told = vec![format!("{target:?}")];
    let needed = fixture.identity.authorization(&target).await.unwrap_err();
    told.push(needed.to_string());
    let flow = fixture.begin(&target).await.unwrap();
    let url = flow.url().clone();
    let (account, page) = tokio::join!(flow.finish(), browse(&url));
    account.unwrap();
    assert!(page.text.contains("/mcp"), "{}", page.text);
    told.push(page.text);
    fixture.advance(3600);
    fixture.authority.set(|b| b.trouble = Some(Trouble::Portal));
    let failed = fixture.identity.authorization(&target).await.unwrap_err();
    told.push(failed.to_string());
    let away = at("http://127.0.0.1:9");
    let failed = fixture.begin(&away).await.err();
    told.push(failed.unwrap().to_string());
    for told in told {
        assert!(!told.contains("squirrel"), "{told}");
    }
}

#[tokio::test]
async fn sign_out_revokes_although_record_stays() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::with_vault(Vault::file(dir.path())).await;
    let account = fixture.sign_in(&fixture.target()).await.unwrap();
    let records = std::fs::read_dir(dir.path()).unwrap();
    let record = records
        .map(|entry| entry.unwrap().path())
        .find(|path| path.display().to_string().contains("grant-"))
        .unwrap();
    std::fs::remove_file(&record).unwrap();
    std::fs::create_dir(&record).unwrap();
    let outcome = fixture.identity.sign_out(&account.key).await;
    assert!(
        matches!(outcome, Err(SignOutError::Vault(_))),
        "{outcome:?}"
    );
    assert_eq!(fixture.authority.asked("revoke")[0]["token"], "refresh-1");
    assert!(fixture.identity.accounts().await.is_empty());
}

#[tokio::test]
async fn sign_out_deletes_and_revokes_tokens() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let account = fixture.sign_in(&target).await.unwrap();
    fixture.identity.sign_out(&account.key).await.unwrap();
    assert_eq!(fixture.authority.asked("revoke")[0]["token"], "refresh-1");
    for identity in [&fixture.identity, &fixture.restarted()] {
        assert!(identity.authorization(&target).await.is_err());
        assert!(identity.accounts().await.is_empty());
    }
    let again = fixture.identity.sign_out(&account.key).await;
    assert!(matches!(again, Err(SignOutError::Unknown)));

    fixture.sign_in(&target).await.unwrap();
    assert_eq!(
        fixture.authority.asked("register").len(),
        1,
        "the registration stays"
    );
    fixture
        .authority
        .set(|b| b.trouble = Some(Trouble::Busy(StatusCode::BAD_GATEWAY, None)));
    let untold = fixture.identity.sign_out(&account.key).await;
    assert!(matches!(untold, Err(SignOutError::NotRevoked { .. })));
    assert!(fixture.restarted().accounts().await.is_empty());
}

#[tokio::test]
async fn consents_are_listed_and_revoked() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    let consents = fixture.identity.consents(&target).await.unwrap();
    assert_eq!(consents[0].client_name.as_deref(), Some("Postern"));
    assert_eq!(consents[0].scopes, ["mcp.read"]);
    assert_eq!(consents[0].granted_at, Some(1_790_000_000));
    fixture
        .identity
        .revoke_consent(&target, &consents[0].id)
        .await
        .unwrap();
    assert!(fixture.identity.consents(&target).await.unwrap().is_empty());
    let gone = fixture.identity.revoke_consent(&target, "c/1").await;
    assert!(matches!(gone, Err(auth::ConsentsError::Unknown { .. })));
    let open = fixture.target_with(ServerAuth::None);
    let none = fixture.identity.consents(&open).await;
    assert!(matches!(none, Err(auth::ConsentsError::NotOffered { .. })));
}

#[tokio::test]
async fn consents_after_lost_sign_in_need_sign_in() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    fixture.authority.end_access();
    assert_eq!(fixture.identity.consents(&target).await.unwrap().len(), 1);
    assert_eq!(fixture.authority.grants("refresh_token").len(), 1);
    fixture.authority.end_sessions();
    for _ in 0..2 {
        let error = fixture.identity.revoke_consent(&target, "c/1").await;
        let error = error.unwrap_err();
        assert!(
            matches!(
                error,
                auth::ConsentsError::Authorization(AuthorizationError::SignInNeeded { .. })
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn tokens_are_not_readable_on_disk() {
    let dir = tempfile::TempDir::new().unwrap();
    let fixture = Fixture::with_vault(Vault::file(dir.path())).await;
    fixture.sign_in(&fixture.target()).await.unwrap();
    fixture.authority.set(|b| b.issuer = None);
    fixture.sign_in(&fixture.entra_usual()).await.unwrap();
    let restarted = fixture.restarted();
    assert_eq!(restarted.accounts().await.len(), 2);
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        files += 1;
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in fixture.authority.secrets() {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{secret}");
        }
    }
    assert_eq!(files, 4, "the key, two grants and a registration");

    // A damaged record affects its sign-in only.
    let is_grant = |path: &std::path::Path| path.to_string_lossy().contains("grant-");
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if is_grant(&path) {
            std::fs::write(&path, b"POSTERN\x01nonsense").unwrap();
        }
    }
    let restarted = fixture.restarted();
    let needed = restarted
        .authorization(&fixture.target())
        .await
        .unwrap_err();
    assert!(matches!(
        needed,
        AuthorizationError::SignInNeeded {
            reason: SignInReason::Damaged,
            ..
        }
    ));
}

#[tokio::test]
async fn registration_without_refresh_token_is_not_reused() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        b.resource = Value::Null;
        b.rotation = Rotation::Empty;
    });
    fixture.sign_in(&fixture.target()).await.unwrap();
    fixture.sign_in(&fixture.target()).await.unwrap();
    assert_eq!(fixture.authority.asked("register").len(), 2);
    fixture.authority.set(|b| b.rotation = Rotation::Strict);
    fixture.sign_in(&fixture.target()).await.unwrap();
    fixture.sign_in(&fixture.target()).await.unwrap();
    assert_eq!(fixture.authority.asked("register").len(), 3);
    assert_eq!(fixture.identity.accounts().await.len(), 1);
}
