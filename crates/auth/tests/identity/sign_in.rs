//! The sign-in itself.

use std::time::Duration;

use auth::{
    Actor, AuthorizationError, SignInError, SignInReason, SignOutError, Target, Vault, Whom,
};
use axum::http::StatusCode;
use model::config::ServerAuth;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::authority::{Rotation, Trouble};
use super::fixture::{Desk, browse, client, end_of, redirect_uri, shown};

#[tokio::test]
async fn signs_in_once_and_stays_signed_in() {
    let desk = Desk::new().await;
    let target = desk.target();
    let needed = desk.identity.authorization(&target).await.unwrap_err();
    assert!(matches!(
        needed,
        AuthorizationError::SignInNeeded {
            reason: SignInReason::NotSignedIn,
            ..
        }
    ));

    let flow = desk.begin(&target).await.unwrap();
    let url = flow.url().clone();
    let (account, page) = tokio::join!(flow.finish(), browse(&url));
    let account = account.unwrap();
    assert_eq!(account.key.issuer.as_str(), desk.authority.origin);
    assert_eq!(account.key.subject, "alice");
    assert_eq!(account.name.as_deref(), Some("Alice"));
    assert_eq!(page.status, 200);
    assert!(page.text.contains("You are signed in"), "{}", page.text);
    assert!(page.text.contains("alice@contoso.example"));

    let authorization = desk.identity.authorization(&target).await.unwrap().unwrap();
    assert_eq!(shown(&authorization), "Bearer access-1");
    assert_eq!(authorization.account, account.key);
    assert!(!format!("{authorization:?}").contains("access-1"));
    assert_eq!(desk.identity.account_for(&target), Some(account.clone()));

    let later = desk.restarted();
    assert_eq!(later.account_for(&target), None, "nothing is read yet");
    assert_eq!(later.accounts().await, std::slice::from_ref(&account));
    assert_eq!(later.account_for(&target), Some(account));
    let again = later.authorization(&target).await.unwrap().unwrap();
    assert_eq!(shown(&again), "Bearer access-1");
    assert_eq!(desk.authority.asked("token").len(), 1);
}

#[tokio::test]
async fn asks_as_the_specification_wants() {
    let desk = Desk::new().await;
    // Without a path and without a slash: exactly this has to come back.
    let resource = desk.authority.origin.clone();
    desk.authority
        .set(|b| b.resource["resource"] = json!(resource));
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    desk.advance(3600);
    desk.header(&target).await;

    let registered = &desk.authority.asked("register")[0]["body"];
    let registered: serde_json::Value = serde_json::from_str(registered).unwrap();
    let authorize = &desk.authority.asked("authorize")[0];
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
    for request in desk.authority.asked("token").iter().chain([authorize]) {
        assert_eq!(request["resource"], resource);
        assert_eq!(request["client_id"], "client-1");
    }
    assert_eq!(desk.authority.asked("token").len(), 2);
}

#[tokio::test]
async fn one_sign_in_after_another_shares_no_verifier_and_no_state() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    desk.sign_in(&target).await.unwrap();
    assert_eq!(
        desk.authority.asked("register").len(),
        1,
        "a registration is kept"
    );
    let asked = desk.authority.asked("authorize");
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
    assert_eq!(desk.header(&target).await, "Bearer access-2");
    assert_eq!(desk.identity.accounts().await.len(), 1);
}

#[tokio::test]
async fn the_resource_is_sent_as_the_server_writes_it_with_its_slash_or_without() {
    for end in ["", "/"] {
        let desk = Desk::new().await;
        let target = desk.target();
        let resource = format!("{}{end}", desk.authority.origin);
        desk.authority
            .set(|b| b.resource["resource"] = json!(resource));
        desk.sign_in(&target).await.unwrap();
        desk.advance(3600);
        assert_eq!(desk.header(&target).await, "Bearer access-2");
        let asked = desk.authority.asked("authorize");
        let requests = [asked, desk.authority.asked("token")].concat();
        assert_eq!(requests.len(), 3);
        for request in requests {
            assert_eq!(request["resource"], resource);
        }
    }
}

#[tokio::test]
async fn the_browser_may_come_back_to_either_loopback_address() {
    let desk = Desk::new().await;
    let target = desk.target();
    let flow = desk.begin(&target).await.unwrap();
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
async fn a_dropped_flow_frees_its_port() {
    let desk = Desk::new().await;
    let target = desk.target();
    let flow = desk.begin(&target).await.unwrap();
    let port = redirect_uri(flow.url()).port().unwrap();
    assert!(TcpListener::bind(("127.0.0.1", port)).await.is_err());
    drop(flow);
    TcpListener::bind(("127.0.0.1", port)).await.unwrap();

    let flow = desk.begin(&target).await.unwrap();
    let port = redirect_uri(flow.url()).port().unwrap();
    let finish = tokio::spawn(flow.finish());
    // It answers, so it runs.
    let address = format!("http://127.0.0.1:{port}/");
    client().get(&address).send().await.unwrap();
    finish.abort();
    assert!(finish.await.unwrap_err().is_cancelled());
    while TcpListener::bind(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(desk.identity.accounts().await.is_empty());
}

#[tokio::test]
async fn a_code_that_was_sent_is_redeemed_to_the_end_though_the_sign_in_is_cancelled() {
    let desk = Desk::new().await;
    let target = desk.target();
    let flow = desk.begin(&target).await.unwrap();
    let answer = end_of(flow.url()).await;
    let permits = desk.authority.hold_back();
    let cancelled = tokio::spawn(flow.finish());
    let _browser = tokio::spawn(client().get(answer).send());
    desk.authority.asked_for("authorization_code").await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    desk.authority.gate.add_permits(permits);
    desk.identity.settled().await;
    assert_eq!(desk.header(&target).await, "Bearer access-1");
    let later = desk.restarted().authorization(&target).await.unwrap();
    assert_eq!(shown(&later.unwrap()), "Bearer access-1");
}

#[tokio::test]
async fn nobody_in_the_browser_is_an_end_too() {
    let desk = Desk::new().await;
    let flow = desk.begin(&desk.target()).await.unwrap();
    tokio::time::pause();
    let error = flow.finish().await.unwrap_err();
    assert!(
        matches!(error, SignInError::TimedOut { waited, .. } if waited == Duration::from_secs(300))
    );
    assert!(error.to_string().contains("5 minutes; hint: "));
}

#[tokio::test]
async fn a_refusal_is_told_in_plain_words() {
    let desk = Desk::new().await;
    let target = desk.target();
    let attempt = async |error, description| {
        desk.authority.set(|b| b.error = Some((error, description)));
        let flow = desk.begin(&target).await.unwrap();
        let url = flow.url().clone();
        let (outcome, page) = tokio::join!(flow.finish(), browse(&url));
        (outcome.unwrap_err(), page.text)
    };
    let (error, page) = attempt("access_denied", "AADSTS65004: User declined to consent.").await;
    assert!(matches!(error, SignInError::Declined { .. }));
    assert!(page.contains("You are not signed in"), "{page}");
    assert!(page.contains("asks for was not accepted"), "{page}");
    assert!(
        page.contains("AADSTS65004") && page.contains("User declined"),
        "{page}"
    );

    let (error, page) = attempt("invalid_target", "AADSTS9010010: <b>No match</b>.").await;
    let SignInError::Refused { explanation, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(explanation.error, "invalid_target");
    assert!(explanation.todo.contains("App ID URI"));
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
    assert!(desk.authority.asked("token").is_empty());
}

#[tokio::test]
async fn a_failed_sign_in_leaves_the_last_one_alone() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    for trouble in [
        Trouble::Busy(StatusCode::SERVICE_UNAVAILABLE, None),
        Trouble::Portal,
        Trouble::Refusal(StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant" })),
    ] {
        desk.authority.set(|b| b.trouble = Some(trouble));
        desk.sign_in(&target).await.unwrap_err();
    }
    assert_eq!(desk.header(&target).await, "Bearer access-1");
}

#[tokio::test]
async fn a_lost_registration_is_made_anew() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    desk.authority.forget_clients();
    desk.sign_in(&target).await.unwrap();
    assert_eq!(
        desk.authority.asked("register").len(),
        2,
        "noticed before the browser opens"
    );

    let lost = json!({ "error": "invalid_client" });
    desk.authority
        .set(|b| b.trouble = Some(Trouble::Refusal(StatusCode::UNAUTHORIZED, lost)));
    let outcome = desk.sign_in(&target).await;
    assert!(matches!(outcome, Err(SignInError::RegistrationLost { .. })));
    desk.authority.set(|b| b.trouble = None);
    desk.sign_in(&target).await.unwrap();
    assert_eq!(desk.authority.asked("register").len(), 3);
    assert_eq!(desk.identity.accounts().await.len(), 1);
}

#[tokio::test]
async fn a_client_secret_goes_where_the_server_wants_it() {
    let desk = Desk::new().await;
    for (method, offered) in [
        ("client_secret_basic", json!(["client_secret_basic"])),
        (
            "client_secret_post",
            json!(["client_secret_basic", "client_secret_post"]),
        ),
    ] {
        desk.authority.forget_clients();
        desk.authority.set(|b| {
            b.metadata["token_endpoint_auth_methods_supported"] = offered;
            b.registered_with =
                json!({ "client_secret": "s3cret+", "client_secret_expires_at": 0 });
        });
        desk.sign_in(&desk.target()).await.unwrap();
        let token = desk.authority.asked("token").pop().unwrap();
        if method == "client_secret_post" {
            assert_eq!(token["client_secret"], "s3cret+");
        } else {
            assert!(token["basic"].starts_with("Basic "));
            assert!(!token.contains_key("client_secret"));
        }
    }
}

#[tokio::test]
async fn a_configured_client_registers_nowhere() {
    let desk = Desk::new().await;
    desk.authority
        .set(|b| b.metadata["registration_endpoint"] = json!(null));
    let outcome = desk.sign_in(&desk.target()).await;
    assert!(matches!(outcome, Err(SignInError::NoRegistration { .. })));
    let target = desk.target_with(ServerAuth::Client {
        client_id: "mine".to_owned(),
        client_secret: None,
        issuer: None,
        scopes: vec!["mcp.write".to_owned()],
        redirect_port: 0,
    });
    desk.sign_in(&target).await.unwrap();
    let authorize = desk.authority.asked("authorize").pop().unwrap();
    assert_eq!(authorize["client_id"], "mine");
    assert_eq!(authorize["scope"], "mcp.write offline_access");
    assert!(desk.authority.asked("register").is_empty());
}

#[tokio::test]
async fn a_step_up_asks_for_what_there_was_and_what_is_wanted() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    let challenge = r#"Bearer error="insufficient_scope", scope="mcp.write""#;
    let flow = desk
        .identity
        .start_sign_in(&target, Some(challenge), Whom::Same)
        .await
        .unwrap();
    let scope = flow.url().query_pairs().find(|(name, _)| name == "scope");
    assert_eq!(scope.unwrap().1, "mcp.write mcp.read offline_access");
}

#[tokio::test]
async fn missing_scopes_are_those_of_challenge_not_asked_for() {
    let desk = Desk::new().await;
    let missing = |target: &Target, scopes: &str| {
        let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scopes}""#);
        desk.identity.missing_scopes(target, &challenge).join(" ")
    };
    let target = desk.target();
    assert_eq!(missing(&target, "mcp.read"), "mcp.read", "nobody signed in");
    let before = desk.identity.newest_token(&target);
    desk.sign_in(&target).await.unwrap();
    assert_eq!(missing(&target, "mcp.read offline_access"), "");
    assert_eq!(missing(&target, "mcp.read mcp.write"), "mcp.write");
    assert_eq!(missing(&target, ""), "");
    assert!(desk.identity.missing_scopes(&target, "Basic").is_empty());
    assert!(before.is_none() && desk.identity.has_usable_token(&target));
}

#[tokio::test]
async fn refreshed_token_is_news_and_has_greater_number() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    let mut news = desk.identity.refreshes();
    let first = desk.identity.authorization(&target).await.unwrap().unwrap();
    assert!(!news.has_changed().unwrap());
    desk.identity.refused(&target, &first, None).await;
    assert!(!desk.identity.has_usable_token(&target));
    let second = desk.identity.authorization(&target).await.unwrap().unwrap();
    assert!(news.has_changed().unwrap() && desk.identity.has_usable_token(&target));
    assert!(second.number() > first.number());
    assert_eq!(desk.identity.newest_token(&target), Some(second.number()));
    news.mark_unchanged();
    desk.identity.authorization(&target).await.unwrap();
    assert!(!news.has_changed().unwrap());
}

#[tokio::test]
async fn the_query_of_a_servers_address_is_shown_to_nobody() {
    let desk = Desk::new().await;
    let at = |origin: &str| Target {
        url: format!("{origin}/mcp?code=squirrel").parse().unwrap(),
        auth: ServerAuth::Discover,
    };
    let target = at(&desk.authority.origin);
    let mut told = vec![format!("{target:?}")];
    let needed = desk.identity.authorization(&target).await.unwrap_err();
    told.push(needed.to_string());
    let flow = desk.begin(&target).await.unwrap();
    let url = flow.url().clone();
    let (account, page) = tokio::join!(flow.finish(), browse(&url));
    account.unwrap();
    assert!(page.text.contains("/mcp"), "{}", page.text);
    told.push(page.text);
    desk.advance(3600);
    desk.authority.set(|b| b.trouble = Some(Trouble::Portal));
    let failed = desk.identity.authorization(&target).await.unwrap_err();
    told.push(failed.to_string());
    let away = at("http://127.0.0.1:9");
    let failed = desk.begin(&away).await.err();
    told.push(failed.unwrap().to_string());
    for told in told {
        assert!(!told.contains("squirrel"), "{told}");
    }
}

#[tokio::test]
async fn signing_out_tells_the_server_though_the_record_cannot_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::with_vault(Vault::file(dir.path())).await;
    let account = desk.sign_in(&desk.target()).await.unwrap();
    let records = std::fs::read_dir(dir.path()).unwrap();
    let record = records
        .map(|entry| entry.unwrap().path())
        .find(|path| path.display().to_string().contains("grant-"))
        .unwrap();
    std::fs::remove_file(&record).unwrap();
    std::fs::create_dir(&record).unwrap();
    let outcome = desk.identity.sign_out(&account.key).await;
    assert!(
        matches!(outcome, Err(SignOutError::Vault(_))),
        "{outcome:?}"
    );
    assert_eq!(desk.authority.asked("revoke")[0]["token"], "refresh-1");
    assert!(desk.identity.accounts().await.is_empty());
}

#[tokio::test]
async fn signing_out_forgets_here_and_there() {
    let desk = Desk::new().await;
    let target = desk.target();
    let account = desk.sign_in(&target).await.unwrap();
    desk.identity.sign_out(&account.key).await.unwrap();
    assert_eq!(desk.authority.asked("revoke")[0]["token"], "refresh-1");
    for identity in [&desk.identity, &desk.restarted()] {
        assert!(identity.authorization(&target).await.is_err());
        assert!(identity.accounts().await.is_empty());
    }
    let again = desk.identity.sign_out(&account.key).await;
    assert!(matches!(again, Err(SignOutError::Unknown)));

    desk.sign_in(&target).await.unwrap();
    assert_eq!(
        desk.authority.asked("register").len(),
        1,
        "the registration stays"
    );
    desk.authority
        .set(|b| b.trouble = Some(Trouble::Busy(StatusCode::BAD_GATEWAY, None)));
    let untold = desk.identity.sign_out(&account.key).await;
    assert!(matches!(untold, Err(SignOutError::NotRevoked { .. })));
    assert!(desk.restarted().accounts().await.is_empty());
}

#[tokio::test]
async fn consents_are_listed_and_taken_back() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    let consents = desk.identity.consents(&target).await.unwrap();
    assert_eq!(consents[0].client_name.as_deref(), Some("Postern"));
    assert_eq!(consents[0].scopes, ["mcp.read"]);
    assert_eq!(consents[0].granted_at, Some(1_790_000_000));
    desk.identity
        .revoke_consent(&target, &consents[0].id)
        .await
        .unwrap();
    assert!(desk.identity.consents(&target).await.unwrap().is_empty());
    let gone = desk.identity.revoke_consent(&target, "c/1").await;
    assert!(matches!(gone, Err(auth::ConsentsError::Unknown { .. })));
    let open = desk.target_with(ServerAuth::None);
    let none = desk.identity.consents(&open).await;
    assert!(matches!(none, Err(auth::ConsentsError::NotOffered { .. })));
}

#[tokio::test]
async fn whoever_was_signed_out_meanwhile_is_told_so_when_asking_for_consents() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    desk.authority.end_access();
    assert_eq!(desk.identity.consents(&target).await.unwrap().len(), 1);
    assert_eq!(desk.authority.grants("refresh_token").len(), 1);
    desk.authority.end_sessions();
    for _ in 0..2 {
        let error = desk.identity.revoke_consent(&target, "c/1").await;
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
async fn no_token_lies_readable_on_disk() {
    let dir = tempfile::TempDir::new().unwrap();
    let desk = Desk::with_vault(Vault::file(dir.path())).await;
    desk.sign_in(&desk.target()).await.unwrap();
    desk.authority.set(|b| b.issuer = None);
    desk.sign_in(&desk.entra_usual()).await.unwrap();
    let restarted = desk.restarted();
    assert_eq!(restarted.accounts().await.len(), 2);
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        files += 1;
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in desk.authority.secrets() {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{secret}");
        }
    }
    assert_eq!(files, 4, "the key, two grants and a registration");

    // A damaged record costs its sign-in, no other.
    let is_grant = |path: &std::path::Path| path.to_string_lossy().contains("grant-");
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if is_grant(&path) {
            std::fs::write(&path, b"POSTERN\x01nonsense").unwrap();
        }
    }
    let restarted = desk.restarted();
    let needed = restarted.authorization(&desk.target()).await.unwrap_err();
    assert!(matches!(
        needed,
        AuthorizationError::SignInNeeded {
            reason: SignInReason::Damaged,
            ..
        }
    ));
}

#[tokio::test]
async fn a_registration_that_brought_no_refresh_token_is_not_used_again_without_metadata() {
    let desk = Desk::new().await;
    desk.authority.set(|b| {
        b.resource = Value::Null;
        b.rotation = Rotation::Empty;
    });
    desk.sign_in(&desk.target()).await.unwrap();
    desk.sign_in(&desk.target()).await.unwrap();
    assert_eq!(desk.authority.asked("register").len(), 2);
    desk.authority.set(|b| b.rotation = Rotation::Strict);
    desk.sign_in(&desk.target()).await.unwrap();
    desk.sign_in(&desk.target()).await.unwrap();
    assert_eq!(desk.authority.asked("register").len(), 3);
    assert_eq!(desk.identity.accounts().await.len(), 1);
}
