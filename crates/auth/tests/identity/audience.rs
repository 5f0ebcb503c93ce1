//! Which resource a server gets tokens for, if the authorization server grants by scope alone.

use auth::{Account, Target};
use auth::{
    AccountSelection, AuthorizationError, ConfiguredServer, SignInError, SignInFlow, SignInReason,
};
use model::Resource;
use model::config::ServerAuth;
use serde_json::json;
use url::Url;

use super::authority::Rotation;
use super::fixture::{Fixture, Shown, browse, client, reason};

const SIGN_IN: &str = "openid profile offline_access";

fn scope_of(page: &Url) -> String {
    let scope = page.query_pairs().find(|(name, _)| name == "scope");
    scope.expect("a scope").1.into_owned()
}

/// Returns the scopes of a sign-in after this challenge.
async fn asked(fixture: &Fixture, target: &Target, challenge: &str) -> String {
    let identity = &fixture.identity;
    let flow = identity.start_sign_in(target, Some(challenge), AccountSelection::Last);
    scope_of(flow.await.unwrap().url())
}

/// Answers the approval page like a browser. Returns its redirect and its text.
async fn answer(page: &Url, answer: &str) -> (Option<Url>, String) {
    let request = client()
        .post(page.clone())
        .header("origin", page.origin().ascii_serialization())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("answer={answer}"));
    let text = request.send().await.unwrap().text().await.unwrap();
    let next = text.split_once("content=\"0;url=").map(|(_, rest)| {
        let (url, _) = rest.split_once('"').unwrap();
        url.replace("&amp;", "&").parse().unwrap()
    });
    (next, text)
}

/// Approves, and signs in. Returns the requested scopes too.
async fn approve(flow: SignInFlow) -> (Result<Account, SignInError>, String) {
    let page = flow.url().clone();
    let person = async {
        let Shown { status, text } = browse(&page).await;
        assert_eq!(status, 200);
        assert!(text.contains("<b>notes</b> asks for access to"), "{text}");
        let (next, _) = answer(&page, "allow").await;
        let next = next.expect("the page of the authorization server");
        browse(&next).await;
        scope_of(&next)
    };
    tokio::join!(flow.finish(), person)
}

#[tokio::test]
async fn challenge_adds_no_resource() {
    let fixture = Fixture::new().await;
    let target = fixture.entra("7d3a2a45-9f0e-4b53-8f4e-0e3b5f3d2a11", &[]);
    let own = format!("api://the-api/.default {SIGN_IN}");
    for foreign in [
        "api://other/.default",
        "https://graph.microsoft.com/Mail.Read",
        "00000003-0000-0000-c000-000000000000/.default",
        "API://the-api/.default",
        "api://the-api//.default",
        "api://the-api/x/../../other/y",
    ] {
        let challenge = format!("Bearer scope=\"{foreign}\"");
        assert_eq!(asked(&fixture, &target, &challenge).await, own, "{foreign}");
        let more = format!("Bearer error=\"insufficient_scope\", scope=\"{foreign}\"");
        assert_eq!(asked(&fixture, &target, &more).await, own, "{foreign}");
    }
    assert_eq!(fixture.identity.foreign_scopes(&target).len(), 6);
    for (scope, qualified) in [
        ("write", "api://the-api/write"),
        ("api://the-api/write", "api://the-api/write"),
        ("api://other/x write", "api://the-api/write"),
    ] {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        let expected = format!("{qualified} {SIGN_IN}");
        assert_eq!(
            asked(&fixture, &target, &challenge).await,
            expected,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn step_up_keeps_configured_scopes_and_drops_foreign_ones() {
    let fixture = Fixture::new().await;
    let target = fixture.entra_usual();
    let challenge = r#"Bearer error="insufficient_scope", scope="write api://other/read""#;
    assert_eq!(
        asked(&fixture, &target, challenge).await,
        format!("api://the-api/mcp.read api://the-api/write {SIGN_IN}")
    );
}

#[tokio::test]
async fn discovered_resource_is_approved_once_and_survives_restart() {
    let fixture = Fixture::new().await;
    let target = fixture.discovered_entra(&[]);
    fixture.authority.set(|b| {
        b.rotation = Rotation::Lenient;
        b.resource["scopes_supported"] = json!(["api://notes/user_impersonation"]);
    });
    let flow = fixture.begin(&target).await.unwrap();
    let approval = flow.approval().expect("a question").clone();
    assert_eq!(approval.resource.as_str(), "api://notes");
    assert_eq!(flow.url().path(), "/approve");
    let (account, scope) = approve(flow).await;
    account.unwrap();
    assert_eq!(scope, format!("api://notes/user_impersonation {SIGN_IN}"));
    fixture.header(&target).await;

    let later = fixture.restarted();
    assert!(later.authorization(&target).await.unwrap().is_some());
    let again = fixture.begin(&target).await.unwrap();
    assert!(again.approval().is_none(), "it is approved");

    fixture.identity.forget_approvals(&target).await.unwrap();
    assert_eq!(
        reason(&fixture.identity, &target).await,
        SignInReason::NotApproved
    );
}

#[tokio::test]
async fn declined_resource_is_not_requested() {
    let fixture = Fixture::new().await;
    let target = fixture.discovered_entra(&[]);
    let flow = fixture.begin(&target).await.unwrap();
    let page = flow.url().clone();
    let person = async {
        let mut other = page.clone();
        other.set_query(Some("key=guessed"));
        assert_eq!(answer(&other, "allow").await.0, None, "a guess");
        let cross = client()
            .post(page.clone())
            .header("origin", "https://evil.example")
            .header("content-type", "application/x-www-form-urlencoded")
            .body("answer=allow");
        let status = cross.send().await.unwrap().status();
        assert!(status.is_client_error(), "{status}");
        let (next, text) = answer(&page, "deny").await;
        assert_eq!(next, None);
        assert!(text.contains("was not allowed"), "{text}");
    };
    let (ended, ()) = tokio::join!(flow.finish(), person);
    assert!(
        matches!(ended, Err(SignInError::NotApproved { .. })),
        "{ended:?}"
    );
    assert!(fixture.authority.asked("authorize").is_empty());
    assert!(fixture.begin(&target).await.unwrap().approval().is_some());
}

#[tokio::test]
async fn foreign_resource_is_rejected() {
    let fixture = Fixture::new().await;
    let target = fixture.discovered_entra(&[]);
    for (scopes, reason) in [
        (
            json!(["https://graph.microsoft.com/.default"]),
            "is Microsoft Graph",
        ),
        (
            json!(["00000003-0000-0000-c000-000000000000/.default"]),
            "is Microsoft Graph",
        ),
        (json!(["api://the-api/.default"]), "the server files uses"),
        (json!(["API://The-Api/x"]), "the server files uses"),
        (json!(["api://a/x", "api://b/x"]), "several resources"),
    ] {
        fixture
            .authority
            .set(|b| b.resource["scopes_supported"] = scopes.clone());
        let refused = fixture.begin(&target).await.err().expect("a refusal");
        let text = refused.to_string();
        assert!(text.contains(reason), "{scopes}: {text}");
        assert!(text.contains("kind = \"entra\", authority = "), "{text}");
        assert!(text.contains(", resource = \""), "{text}");
    }
    assert!(fixture.authority.asked("authorize").is_empty());
}

#[tokio::test]
async fn remote_sign_in_needs_approval_first() {
    let fixture = Fixture::new().await;
    let target = fixture.discovered_entra(&[]);
    let identity = &fixture.identity;
    let elsewhere = identity.start_sign_in_elsewhere(&target, None, AccountSelection::Last);
    let Some(SignInError::ApprovalNeeded { approval }) = elsewhere.await.err() else {
        panic!("no question");
    };
    let device = identity.start_device_sign_in(&target, None).await.err();
    assert!(matches!(device, Some(SignInError::ApprovalNeeded { .. })));
    identity.approve(&approval).await.unwrap();
    let elsewhere = identity.start_sign_in_elsewhere(&target, None, AccountSelection::Last);
    let page = elsewhere.await.unwrap().url().clone();
    assert_eq!(page.path(), "/authorize");
}

#[tokio::test]
async fn configured_scopes_override_discovered_resource() {
    let fixture = Fixture::new().await;
    let target = fixture.discovered_entra(&["api://mine/read"]);
    fixture
        .authority
        .set(|b| b.resource["scopes_supported"] = json!(["https://graph.microsoft.com/x"]));
    let flow = fixture.begin(&target).await.unwrap();
    assert!(flow.approval().is_none());
    assert_eq!(scope_of(flow.url()), format!("api://mine/read {SIGN_IN}"));
    let foreign = fixture.identity.foreign_scopes(&target);
    assert_eq!(foreign, ["https://graph.microsoft.com/x"]);
}

#[tokio::test]
async fn token_for_microsoft_is_not_sent() {
    let fixture = Fixture::new().await;
    let target = fixture.entra_usual();
    fixture.authority.set(|b| {
        b.issuer = None;
        b.audience = Some("00000003-0000-0000-c000-000000000000".to_owned());
    });
    fixture.sign_in(&target).await.unwrap();
    let refused = fixture.identity.authorization(&target).await.unwrap_err();
    assert!(
        matches!(refused, AuthorizationError::ForeignAudience { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn changed_audience_needs_approval() {
    let fixture = Fixture::new().await;
    let target = fixture.entra_usual();
    fixture.authority.set(|b| {
        b.issuer = None;
        b.audience = Some("first".to_owned());
    });
    fixture.sign_in(&target).await.unwrap();
    let identity = &fixture.identity;
    let used = identity.authorization(&target).await.unwrap().unwrap();
    identity.accepted(&target, &used);
    identity.accepted(&target, &used);
    identity.settled().await;

    fixture
        .authority
        .set(|b| b.audience = Some("second".to_owned()));
    let later = fixture.restarted();
    fixture.advance(3600);
    assert_eq!(reason(&later, &target).await, SignInReason::AudienceChanged);
    let flow = later
        .start_sign_in(&target, None, AccountSelection::Last)
        .await
        .unwrap();
    let change = flow.approval().unwrap().audience.clone().unwrap();
    assert_eq!(
        (change.previous.as_deref(), &*change.current),
        (Some("first"), "second")
    );
    let page = flow.url().clone();
    let person = async {
        let (next, _) = answer(&page, "allow").await;
        browse(&next.unwrap()).await;
    };
    let (ended, ()) = tokio::join!(flow.finish(), person);
    ended.unwrap();
    assert!(later.authorization(&target).await.unwrap().is_some());
}

#[tokio::test]
async fn audience_of_another_server_needs_approval() {
    let fixture = Fixture::new().await;
    let target = fixture.discovered_entra(&["api://mine/read"]);
    fixture
        .authority
        .set(|b| b.audience = Some("api://the-api".to_owned()));
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(
        reason(&fixture.identity, &target).await,
        SignInReason::AudienceChanged
    );
    let flow = fixture.begin(&target).await.unwrap();
    let change = flow.approval().unwrap().audience.clone().unwrap();
    assert_eq!(change.other_server.as_deref(), Some("files"));
}

#[tokio::test(flavor = "multi_thread")]
async fn verdict_does_not_lock_grant_store() {
    let fixture = Fixture::new().await;
    let target = fixture.entra_usual();
    fixture.authority.set(|b| {
        b.issuer = None;
        b.audience = Some("first".to_owned());
    });
    fixture.sign_in(&target).await.unwrap();
    let server = |name: &str| ConfiguredServer {
        name: name.to_owned(),
        target: fixture.discovered_entra(&[]),
    };
    let sets = [vec![server("one")], vec![server("other")]];
    let (judging, looking) = (fixture.identity.clone(), fixture.identity.clone());
    let (judged, seen) = (target.clone(), target.clone());
    let judge = tokio::task::spawn_blocking(move || {
        for set in sets.iter().cycle().take(5_000) {
            judging.set_servers(set.clone());
            assert!(judging.has_usable_token(&judged));
        }
    });
    let look = tokio::task::spawn_blocking(move || {
        for _ in 0..50_000 {
            assert!(looking.account_for(&seen).is_some());
        }
    });
    let both = async { tokio::join!(judge, look) };
    let both = tokio::time::timeout(std::time::Duration::from_secs(60), both);
    let (judged, looked) = both.await.expect("neither waits for the other");
    judged.unwrap();
    looked.unwrap();
}

#[tokio::test]
async fn approved_resource_stays_with_its_server() {
    let fixture = Fixture::new().await;
    let target = fixture.discovered_entra(&[]);
    fixture
        .authority
        .set(|b| b.resource["scopes_supported"] = json!(["api://notes/x"]));
    let flow = fixture.begin(&target).await.unwrap();
    approve(flow).await.0.unwrap();
    // Another server has the same resource in its configuration.
    let ServerAuth::Entra {
        authority,
        client_id,
        scopes,
        redirect_port,
        ..
    } = fixture.entra_usual().auth().clone()
    else {
        unreachable!("it is configured for Entra")
    };
    let shared = Target::new(
        format!("{}/shared", fixture.authority.origin)
            .parse()
            .unwrap(),
        ServerAuth::Entra {
            authority,
            client_id,
            resource: Resource::new("api://notes"),
            scopes,
            redirect_port,
        },
    );
    let server = |name: &str, target: &Target| ConfiguredServer {
        name: name.to_owned(),
        target: target.clone(),
    };
    let servers = vec![server("shared", &shared), server("notes", &target)];
    fixture.identity.set_servers(servers);
    // And the metadata names a scope of a resource that is not approved.
    fixture.authority.set(|b| {
        b.resource["scopes_supported"] = json!(["api://notes/x", "api://more/y", "User.Read"]);
    });
    let flow = fixture.begin(&target).await.unwrap();
    assert!(flow.approval().is_none(), "it is approved");
    assert_eq!(scope_of(flow.url()), format!("api://notes/x {SIGN_IN}"));
    assert_eq!(fixture.identity.foreign_scopes(&target), ["api://more/y"]);
}
