//! What the doctor is told of a server, and that looking changes nothing.

use auth::{Aspect, Finding, Target, Verdict};
use model::config::{ClientCredentials, MachineIssuer, MachineProof, ServerAuth};
use model::{Issuer, Resource};
use serde_json::Value;
use tokio::net::TcpListener;

use super::authority::TENANT;
use super::fixture::Desk;

/// Looks, and holds that nothing came of it.
async fn look(desk: &Desk, target: &Target) -> Vec<Finding> {
    let findings = desk.identity.examine(target, None).await;
    for endpoint in ["register", "authorize", "token"] {
        assert!(desk.authority.asked(endpoint).is_empty(), "{endpoint}");
    }
    findings
}

fn of(findings: &[Finding], aspect: Aspect) -> (Verdict, &str, &str) {
    let mut fitting = findings.iter().filter(|finding| finding.aspect == aspect);
    let found = fitting.next();
    let found = found.unwrap_or_else(|| panic!("{aspect:?}: {findings:?}"));
    let todo = found.todo.as_deref().unwrap_or_default();
    (found.verdict, &found.what, todo)
}

#[tokio::test]
async fn each_kind_of_server_is_told_apart() {
    let desk = Desk::new().await;
    let origin = desk.authority.origin.clone();
    let discovery = async |target: &Target| {
        let findings = look(&desk, target).await;
        let (verdict, what, _) = of(&findings, Aspect::Discovery);
        assert_eq!(verdict, Verdict::Fine, "{what}");
        what.to_owned()
    };
    let discovered = desk.target();
    assert_eq!(
        discovery(&discovered).await,
        format!("an MCP server that names its authorization server, {origin}")
    );
    let entra = discovery(&desk.entra_usual()).await;
    assert_eq!(
        entra,
        format!("people sign in at Entra directly, at {origin}/{TENANT}/v2.0")
    );
    desk.authority.set(|b| b.resource = Value::Null);
    let own = discovery(&discovered).await;
    assert!(
        own.contains("which is its own authorization server"),
        "{own}"
    );
    desk.authority.set(|b| b.metadata = Value::Null);
    let undescribed = discovery(&discovered).await;
    assert!(
        undescribed.contains("that describes nothing"),
        "{undescribed}"
    );
    desk.authority.set(|b| b.endpoints = false);
    let key = discovery(&discovered).await;
    assert!(key.starts_with("it names no way to sign in"), "{key}");
    desk.authority.set(|b| b.open = true);
    let open = discovery(&discovered).await;
    assert_eq!(open, "it asks for no sign-in");
    let nobody = discovery(&desk.target_with(ServerAuth::None)).await;
    assert!(nobody.starts_with("nobody signs in"), "{nobody}");
}

#[tokio::test]
async fn what_to_register_is_said_to_the_letter() {
    let desk = Desk::new().await;
    let entra = look(&desk, &desk.entra_usual()).await;
    let (verdict, what, todo) = of(&entra, Aspect::Redirect);
    assert_eq!(verdict, Verdict::Fine);
    assert!(
        what.starts_with("`http://localhost` is to be registered; "),
        "{what}"
    );
    let steps =
        "Authentication > Add a platform > Mobile and desktop applications > http://localhost";
    assert!(todo.contains(&format!("the-app > {steps}")), "{todo}");
    let (_, what, todo) = of(&entra, Aspect::Registration);
    assert!(what.contains("the-app"), "{what}");
    assert!(todo.contains("Allow public client flows"), "{todo}");

    let registers = look(&desk, &desk.target()).await;
    let (_, what, _) = of(&registers, Aspect::Redirect);
    assert!(what.contains("by itself"), "{what}");
    let (verdict, what, _) = of(&registers, Aspect::Registration);
    assert_eq!(verdict, Verdict::Fine);
    assert!(what.starts_with("Postern registers itself"), "{what}");

    desk.sign_in(&desk.target()).await.unwrap();
    let registered = desk.identity.examine(&desk.target(), None).await;
    let (_, what, _) = of(&registered, Aspect::Registration);
    assert!(what.starts_with("as client-1, "), "{what}");

    let closed = Desk::new().await;
    let no_endpoint = |b: &mut super::authority::Behaviour| {
        b.metadata["registration_endpoint"] = Value::Null;
    };
    closed.authority.set(no_endpoint);
    let findings = look(&closed, &closed.target()).await;
    let (verdict, _, todo) = of(&findings, Aspect::Registration);
    assert_eq!(verdict, Verdict::Broken);
    assert!(todo.contains("client_id"), "{todo}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_address() {
    let desk = Desk::new().await;
    for (address, shown) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let Ok(other) = TcpListener::bind(address).await else {
            continue; // No IPv6 here.
        };
        let port = other.local_addr().unwrap().port();
        let mut target = desk.entra_usual();
        if let ServerAuth::Entra { redirect_port, .. } = &mut target.auth {
            *redirect_port = port;
        }
        let findings = look(&desk, &target).await;
        let (verdict, what, todo) = of(&findings, Aspect::Redirect);
        assert_eq!(verdict, Verdict::Broken);
        let expected = format!("port {port} is taken by another program on {shown},");
        assert!(what.starts_with(&expected), "{what}");
        assert!(todo.contains("redirect_port"), "{todo}");
    }
}

#[tokio::test]
async fn five_minutes_are_the_most_a_clock_may_be_off() {
    let desk = Desk::new().await;
    let clock = async |there: i64| {
        let now = super::START.checked_add_signed(there).unwrap();
        desk.authority.set(|b| b.now = now);
        let findings = look(&desk, &desk.target()).await;
        let (verdict, what, _) = of(&findings, Aspect::Clock);
        (verdict, what.to_owned())
    };
    for there in [0, 300, -300] {
        assert_eq!(clock(there).await.0, Verdict::Fine, "{there}");
    }
    for (there, shown) in [(360, "6 minutes behind"), (-420, "7 minutes ahead of")] {
        let (verdict, what) = clock(there).await;
        assert_eq!(verdict, Verdict::Broken);
        assert!(what.contains(shown), "{what}");
    }
}

#[tokio::test]
async fn a_program_needs_what_proves_it() {
    let desk = Desk::new().await;
    let target = desk.target_with(ServerAuth::ClientCredentials(ClientCredentials {
        client_id: "a program".to_owned(),
        proof: MachineProof::Secret("crm".parse().unwrap()),
        issuer: MachineIssuer::Entra {
            authority: Issuer::new(format!("{}/{TENANT}/v2.0", desk.authority.origin)),
            resource: Resource::new("api://the-api"),
        },
        scopes: Vec::new(),
    }));
    let missing = look(&desk, &target).await;
    let (_, what, _) = of(&missing, Aspect::Discovery);
    assert!(what.contains("client credentials"), "{what}");
    let (verdict, _, todo) = of(&missing, Aspect::Registration);
    assert_eq!(verdict, Verdict::Broken);
    assert_eq!(todo, "store it with `postern secrets set crm`");
    let stored = desk.identity.keep_secret("crm".parse().unwrap(), "s3cret");
    stored.await.unwrap();
    let stored = look(&desk, &target).await;
    let (verdict, what, _) = of(&stored, Aspect::Registration);
    assert_eq!(verdict, Verdict::Fine, "{what}");
    assert!(!format!("{stored:?}").contains("s3cret"));
}

#[tokio::test]
async fn what_lies_is_broken_and_the_way_is_looked_at_all_the_same() {
    let desk = Desk::new().await;
    desk.authority
        .set(|b| b.metadata["issuer"] = "https://other.example".into());
    let findings = look(&desk, &desk.target()).await;
    let (verdict, what, todo) = of(&findings, Aspect::Discovery);
    assert_eq!(verdict, Verdict::Broken);
    assert!(what.contains("`https://other.example`"), "{what}");
    assert!(!todo.is_empty());
    let (_, what, _) = of(&findings, Aspect::Proxy);
    assert_eq!(
        what,
        format!("none on the way to {}", desk.authority.origin)
    );
}

#[tokio::test]
async fn who_does_not_answer_is_named() {
    let desk = Desk::new().await;
    let target = desk.target_with(ServerAuth::None);
    let findings = look(&desk, &target).await;
    let (verdict, what, _) = of(&findings, Aspect::Reach);
    assert_eq!(verdict, Verdict::Fine);
    assert_eq!(what, format!("{} answers", desk.authority.origin));

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let away = Target {
        url: format!("{origin}/mcp").parse().unwrap(),
        ..target
    };
    let findings = look(&desk, &away).await;
    let (verdict, what, _) = of(&findings, Aspect::Reach);
    assert_eq!(verdict, Verdict::Broken);
    assert!(
        what.starts_with(&format!("{origin} cannot be reached: ")),
        "{what}"
    );
}

#[tokio::test]
async fn missing_server_has_no_findings_of_sign_in() {
    let desk = Desk::new().await;
    let missing = Target {
        url: format!("{}/nosuch/mcp", desk.authority.origin)
            .parse()
            .unwrap(),
        ..desk.target()
    };
    desk.authority.set(|b| {
        b.metadata = Value::Null;
        b.resource = Value::Null;
    });
    let aspects = look(&desk, &missing).await;
    let aspects: Vec<_> = aspects.iter().map(|finding| finding.aspect).collect();
    assert_eq!(aspects, [Aspect::Reach, Aspect::Proxy]);
}
