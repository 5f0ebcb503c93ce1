//! Which resource a server gets tokens for, where the authorization server grants by scope alone.

use auth::{Account, Target};
use auth::{AuthorizationError, ConfiguredServer, SignInError, SignInFlow, SignInReason, Whom};
use model::Resource;
use model::config::ServerAuth;
use serde_json::json;
use url::Url;

use super::authority::Rotation;
use super::fixture::{Desk, Shown, browse, client, reason};

const SIGN_IN: &str = "openid profile offline_access";

fn scope_of(page: &Url) -> String {
    let scope = page.query_pairs().find(|(name, _)| name == "scope");
    scope.expect("a scope").1.into_owned()
}

/// The scopes of a sign-in after this challenge.
async fn asked(desk: &Desk, target: &Target, challenge: &str) -> String {
    let identity = &desk.identity;
    let flow = identity.start_sign_in(target, Some(challenge), Whom::Same);
    scope_of(flow.await.unwrap().url())
}

/// Answers the question on the page as a browser does; where it leads, and what is shown.
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

/// Allows what the page of a flow asks for, and signs in; the scope that was asked for.
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
async fn challenge_never_adds_a_resource() {
    let desk = Desk::new().await;
    let target = desk.entra("7d3a2a45-9f0e-4b53-8f4e-0e3b5f3d2a11", &[]);
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
        assert_eq!(asked(&desk, &target, &challenge).await, own, "{foreign}");
        let more = format!("Bearer error=\"insufficient_scope\", scope=\"{foreign}\"");
        assert_eq!(asked(&desk, &target, &more).await, own, "{foreign}");
    }
    assert_eq!(desk.identity.foreign_scopes(&target).len(), 6);
    for (scope, qualified) in [
        ("write", "api://the-api/write"),
        ("api://the-api/write", "api://the-api/write"),
        ("api://other/x write", "api://the-api/write"),
    ] {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        let expected = format!("{qualified} {SIGN_IN}");
        assert_eq!(asked(&desk, &target, &challenge).await, expected, "{scope}");
    }
}

#[tokio::test]
async fn step_up_keeps_configured_scopes_and_drops_foreign_ones() {
    let desk = Desk::new().await;
    let target = desk.entra_usual();
    let challenge = r#"Bearer error="insufficient_scope", scope="write api://other/read""#;
    assert_eq!(
        asked(&desk, &target, challenge).await,
        format!("api://the-api/mcp.read api://the-api/write {SIGN_IN}")
    );
}

#[tokio::test]
async fn discovered_resource_is_approved_once_and_survives_restart() {
    let desk = Desk::new().await;
    let target = desk.discovered_entra(&[]);
    desk.authority.set(|b| {
        b.rotation = Rotation::Lenient;
        b.resource["scopes_supported"] = json!(["api://notes/user_impersonation"]);
    });
    let flow = desk.begin(&target).await.unwrap();
    let approval = flow.approval().expect("a question").clone();
    assert_eq!(approval.resource.as_str(), "api://notes");
    assert_eq!(flow.url().path(), "/approve");
    let (account, scope) = approve(flow).await;
    account.unwrap();
    assert_eq!(scope, format!("api://notes/user_impersonation {SIGN_IN}"));
    desk.header(&target).await;

    let later = desk.restarted();
    assert!(later.authorization(&target).await.unwrap().is_some());
    let again = desk.begin(&target).await.unwrap();
    assert!(again.approval().is_none(), "it is approved");

    desk.identity.forget_approvals(&target).await.unwrap();
    assert_eq!(
        reason(&desk.identity, &target).await,
        SignInReason::NotApproved
    );
}

#[tokio::test]
async fn declined_resource_is_not_asked_for() {
    let desk = Desk::new().await;
    let target = desk.discovered_entra(&[]);
    let flow = desk.begin(&target).await.unwrap();
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
    assert!(desk.authority.asked("authorize").is_empty());
    assert!(desk.begin(&target).await.unwrap().approval().is_some());
}

#[tokio::test]
async fn resource_that_is_not_the_servers_is_refused() {
    let desk = Desk::new().await;
    let target = desk.discovered_entra(&[]);
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
        desk.authority
            .set(|b| b.resource["scopes_supported"] = scopes.clone());
        let refused = desk.begin(&target).await.err().expect("a refusal");
        let text = refused.to_string();
        assert!(text.contains(reason), "{scopes}: {text}");
        assert!(text.contains("kind = \"entra\", authority = "), "{text}");
        assert!(text.contains(", resource = \""), "{text}");
    }
    assert!(desk.authority.asked("authorize").is_empty());
}

#[tokio::test]
async fn sign_in_elsewhere_needs_approval_first() {
    let desk = Desk::new().await;
    let target = desk.discovered_entra(&[]);
    let identity = &desk.identity;
    let elsewhere = identity.start_sign_in_elsewhere(&target, None, Whom::Same);
    let Some(SignInError::ApprovalNeeded { approval }) = elsewhere.await.err() else {
        panic!("no question");
    };
    let device = identity.start_device_sign_in(&target, None).await.err();
    assert!(matches!(device, Some(SignInError::ApprovalNeeded { .. })));
    identity.approve(&approval).await.unwrap();
    let elsewhere = identity.start_sign_in_elsewhere(&target, None, Whom::Same);
    let page = elsewhere.await.unwrap().url().clone();
    assert_eq!(page.path(), "/authorize");
}

#[tokio::test]
async fn configured_scopes_name_the_resource_of_a_discovered_server() {
    let desk = Desk::new().await;
    let target = desk.discovered_entra(&["api://mine/read"]);
    desk.authority
        .set(|b| b.resource["scopes_supported"] = json!(["https://graph.microsoft.com/x"]));
    let flow = desk.begin(&target).await.unwrap();
    assert!(flow.approval().is_none());
    assert_eq!(scope_of(flow.url()), format!("api://mine/read {SIGN_IN}"));
    let foreign = desk.identity.foreign_scopes(&target);
    assert_eq!(foreign, ["https://graph.microsoft.com/x"]);
}

#[tokio::test]
async fn token_for_microsoft_is_not_sent() {
    let desk = Desk::new().await;
    let target = desk.entra_usual();
    desk.authority.set(|b| {
        b.issuer = None;
        b.audience = Some("00000003-0000-0000-c000-000000000000".to_owned());
    });
    desk.sign_in(&target).await.unwrap();
    let refused = desk.identity.authorization(&target).await.unwrap_err();
    assert!(
        matches!(refused, AuthorizationError::ForeignAudience { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn changed_audience_waits_for_the_user() {
    let desk = Desk::new().await;
    let target = desk.entra_usual();
    desk.authority.set(|b| {
        b.issuer = None;
        b.audience = Some("first".to_owned());
    });
    desk.sign_in(&target).await.unwrap();
    let identity = &desk.identity;
    let used = identity.authorization(&target).await.unwrap().unwrap();
    identity.accepted(&target, &used);
    identity.accepted(&target, &used);
    identity.settled().await;

    desk.authority
        .set(|b| b.audience = Some("second".to_owned()));
    let later = desk.restarted();
    desk.advance(3600);
    assert_eq!(reason(&later, &target).await, SignInReason::AudienceChanged);
    let flow = later
        .start_sign_in(&target, None, Whom::Same)
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
async fn token_with_audience_of_another_server_waits_for_the_user() {
    let desk = Desk::new().await;
    let target = desk.discovered_entra(&["api://mine/read"]);
    desk.authority
        .set(|b| b.audience = Some("api://the-api".to_owned()));
    desk.sign_in(&target).await.unwrap();
    assert_eq!(
        reason(&desk.identity, &target).await,
        SignInReason::AudienceChanged
    );
    let flow = desk.begin(&target).await.unwrap();
    let change = flow.approval().unwrap().audience.clone().unwrap();
    assert_eq!(change.other_server.as_deref(), Some("files"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_judged_while_others_look_for_grants() {
    let desk = Desk::new().await;
    let target = desk.entra_usual();
    desk.authority.set(|b| {
        b.issuer = None;
        b.audience = Some("first".to_owned());
    });
    desk.sign_in(&target).await.unwrap();
    let server = |name: &str| ConfiguredServer {
        name: name.to_owned(),
        target: desk.discovered_entra(&[]),
    };
    let sets = [vec![server("one")], vec![server("other")]];
    let (judging, looking) = (desk.identity.clone(), desk.identity.clone());
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
    let desk = Desk::new().await;
    let target = desk.discovered_entra(&[]);
    desk.authority
        .set(|b| b.resource["scopes_supported"] = json!(["api://notes/x"]));
    let flow = desk.begin(&target).await.unwrap();
    approve(flow).await.0.unwrap();
    // Another server is given the same resource by its configuration.
    let ServerAuth::Entra {
        authority,
        client_id,
        scopes,
        redirect_port,
        ..
    } = desk.entra_usual().auth
    else {
        unreachable!("it is configured for Entra")
    };
    let shared = Target {
        url: format!("{}/shared", desk.authority.origin).parse().unwrap(),
        auth: ServerAuth::Entra {
            authority,
            client_id,
            resource: Resource::new("api://notes"),
            scopes,
            redirect_port,
        },
    };
    let server = |name: &str, target: &Target| ConfiguredServer {
        name: name.to_owned(),
        target: target.clone(),
    };
    let servers = vec![server("shared", &shared), server("notes", &target)];
    desk.identity.set_servers(servers);
    // And the metadata names a scope of a resource that is not approved.
    desk.authority.set(|b| {
        b.resource["scopes_supported"] = json!(["api://notes/x", "api://more/y", "User.Read"]);
    });
    let flow = desk.begin(&target).await.unwrap();
    assert!(flow.approval().is_none(), "it is approved");
    assert_eq!(scope_of(flow.url()), format!("api://notes/x {SIGN_IN}"));
    assert_eq!(desk.identity.foreign_scopes(&target), ["api://more/y"]);
}
