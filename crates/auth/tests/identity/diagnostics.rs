//! Diagnostics of a server. They change nothing.

use auth::{CheckKind, Finding, Target, Verdict};
use model::config::{ClientCredential, ClientCredentials, ServerAuth, TokenIssuer};
use model::{Issuer, Resource};
use serde_json::Value;
use tokio::net::TcpListener;

use super::authority::TENANT;
use super::fixture::Fixture;

/// Diagnoses, and asserts that no request changes anything.
async fn look(fixture: &Fixture, target: &Target) -> Vec<Finding> {
    let findings = fixture.identity.diagnose(target, None).await;
    for endpoint in ["register", "authorize", "token"] {
        assert!(fixture.authority.asked(endpoint).is_empty(), "{endpoint}");
    }
    findings
}

fn of(findings: &[Finding], kind: CheckKind) -> (Verdict, &str, &str) {
    let mut fitting = findings.iter().filter(|finding| finding.kind == kind);
    let found = fitting.next();
    let found = found.unwrap_or_else(|| panic!("{kind:?}: {findings:?}"));
    let todo = found.todo.as_deref().unwrap_or_default();
    (found.verdict, &found.what, todo)
}

#[tokio::test]
async fn server_kinds_are_distinguished() {
    let fixture = Fixture::new().await;
    let origin = fixture.authority.origin.clone();
    let discovery = async |target: &Target| {
        let findings = look(&fixture, target).await;
        let (verdict, what, _) = of(&findings, CheckKind::Discovery);
        assert_eq!(verdict, Verdict::Ok, "{what}");
        what.to_owned()
    };
    let discovered = fixture.target();
    assert_eq!(
        discovery(&discovered).await,
        format!("an MCP server that names its authorization server, {origin}")
    );
    let entra = discovery(&fixture.entra_usual()).await;
    assert_eq!(
        entra,
        format!("users sign in at Entra directly, at {origin}/{TENANT}/v2.0")
    );
    fixture.authority.set(|b| b.resource = Value::Null);
    let own = discovery(&discovered).await;
    assert!(
        own.contains("which is its own authorization server"),
        "{own}"
    );
    fixture.authority.set(|b| b.metadata = Value::Null);
    let undescribed = discovery(&discovered).await;
    assert!(
        undescribed.contains("that describes nothing"),
        "{undescribed}"
    );
    fixture.authority.set(|b| b.endpoints = false);
    let key = discovery(&discovered).await;
    assert!(key.starts_with("it names no way to sign in"), "{key}");
    fixture.authority.set(|b| b.open = true);
    let open = discovery(&discovered).await;
    assert_eq!(open, "it asks for no sign-in");
    let unneeded = discovery(&fixture.target_with(ServerAuth::None)).await;
    assert!(unneeded.contains("needs no sign-in"), "{unneeded}");
}

#[tokio::test]
async fn registration_findings_are_exact() {
    let fixture = Fixture::new().await;
    let entra = look(&fixture, &fixture.entra_usual()).await;
    let (verdict, what, todo) = of(&entra, CheckKind::Redirect);
    assert_eq!(verdict, Verdict::Ok);
    assert!(
        what.starts_with("`http://localhost` is to be registered; "),
        "{what}"
    );
    let steps =
        "Authentication > Add a platform > Mobile and desktop applications > http://localhost";
    assert!(todo.contains(&format!("the-app > {steps}")), "{todo}");
    let (_, what, todo) = of(&entra, CheckKind::Registration);
    assert!(what.contains("the-app"), "{what}");
    assert!(todo.contains("Allow public client flows"), "{todo}");

    let registers = look(&fixture, &fixture.target()).await;
    let (_, what, _) = of(&registers, CheckKind::Redirect);
    assert!(what.contains("by itself"), "{what}");
    let (verdict, what, _) = of(&registers, CheckKind::Registration);
    assert_eq!(verdict, Verdict::Ok);
    assert!(what.starts_with("Postern registers itself"), "{what}");

    fixture.sign_in(&fixture.target()).await.unwrap();
    let registered = fixture.identity.diagnose(&fixture.target(), None).await;
    let (_, what, _) = of(&registered, CheckKind::Registration);
    assert!(what.starts_with("as client-1, "), "{what}");

    let closed = Fixture::new().await;
    let no_endpoint = |b: &mut super::authority::Behaviour| {
        b.metadata["registration_endpoint"] = Value::Null;
    };
    closed.authority.set(no_endpoint);
    let findings = look(&closed, &closed.target()).await;
    let (verdict, _, todo) = of(&findings, CheckKind::Registration);
    assert_eq!(verdict, Verdict::Failed);
    assert!(todo.contains("client_id"), "{todo}");
}

#[tokio::test]
async fn port_in_use_is_reported_with_addresses() {
    let fixture = Fixture::new().await;
    for (address, shown) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let Ok(other) = TcpListener::bind(address).await else {
            continue; // No IPv6 here.
        };
        let port = other.local_addr().unwrap().port();
        let mut auth = fixture.entra_usual().auth().clone();
        if let ServerAuth::Entra { redirect_port, .. } = &mut auth {
            *redirect_port = port;
        }
        let target = fixture.target_with(auth);
        let findings = look(&fixture, &target).await;
        let (verdict, what, todo) = of(&findings, CheckKind::Redirect);
        assert_eq!(verdict, Verdict::Failed);
        let expected = format!("another program uses port {port} on {shown},");
        assert!(what.starts_with(&expected), "{what}");
        assert!(todo.contains("redirect_port"), "{todo}");
    }
}

#[tokio::test]
async fn clock_skew_over_five_minutes_fails() {
    let fixture = Fixture::new().await;
    let clock = async |there: i64| {
        let now = super::START.checked_add_signed(there).unwrap();
        fixture.authority.set(|b| b.now = now);
        let findings = look(&fixture, &fixture.target()).await;
        let (verdict, what, _) = of(&findings, CheckKind::Clock);
        (verdict, what.to_owned())
    };
    for there in [0, 300, -300] {
        assert_eq!(clock(there).await.0, Verdict::Ok, "{there}");
    }
    for (there, shown) in [(360, "6 minutes behind"), (-420, "7 minutes ahead of")] {
        let (verdict, what) = clock(there).await;
        assert_eq!(verdict, Verdict::Failed);
        assert!(what.contains(shown), "{what}");
    }
}

#[tokio::test]
async fn missing_client_credential_fails() {
    let fixture = Fixture::new().await;
    let target = fixture.target_with(ServerAuth::ClientCredentials(ClientCredentials {
        client_id: "a program".to_owned(),
        proof: ClientCredential::Secret("crm".parse().unwrap()),
        issuer: TokenIssuer::Entra {
            authority: Issuer::new(format!("{}/{TENANT}/v2.0", fixture.authority.origin)),
            resource: Resource::new("api://the-api"),
        },
        scopes: Vec::new(),
    }));
    let missing = look(&fixture, &target).await;
    let (_, what, _) = of(&missing, CheckKind::Discovery);
    assert!(what.contains("client credentials"), "{what}");
    let (verdict, _, todo) = of(&missing, CheckKind::Registration);
    assert_eq!(verdict, Verdict::Failed);
    assert_eq!(todo, "store it with `postern secrets set crm`");
    let stored = fixture
        .identity
        .keep_secret("crm".parse().unwrap(), "s3cret");
    stored.await.unwrap();
    let stored = look(&fixture, &target).await;
    let (verdict, what, _) = of(&stored, CheckKind::Registration);
    assert_eq!(verdict, Verdict::Ok, "{what}");
    assert!(!format!("{stored:?}").contains("s3cret"));
}

#[tokio::test]
async fn wrong_metadata_fails_and_network_is_checked() {
    let fixture = Fixture::new().await;
    fixture
        .authority
        .set(|b| b.metadata["issuer"] = "https://other.example".into());
    let findings = look(&fixture, &fixture.target()).await;
    let (verdict, what, todo) = of(&findings, CheckKind::Discovery);
    assert_eq!(verdict, Verdict::Failed);
    assert!(what.contains("`https://other.example`"), "{what}");
    assert!(!todo.is_empty());
    let (_, what, _) = of(&findings, CheckKind::Proxy);
    assert_eq!(
        what,
        format!("none on the way to {}", fixture.authority.origin)
    );
}

#[tokio::test]
async fn unreachable_server_is_reported() {
    let fixture = Fixture::new().await;
    let target = fixture.target_with(ServerAuth::None);
    let findings = look(&fixture, &target).await;
    let (verdict, what, _) = of(&findings, CheckKind::Reach);
    assert_eq!(verdict, Verdict::Ok);
    assert_eq!(what, format!("{} answers", fixture.authority.origin));

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let away = Target::new(
        format!("{origin}/mcp").parse().unwrap(),
        target.auth().clone(),
    );
    let findings = look(&fixture, &away).await;
    let (verdict, what, _) = of(&findings, CheckKind::Reach);
    assert_eq!(verdict, Verdict::Failed);
    assert!(
        what.starts_with(&format!("{origin} cannot be reached: ")),
        "{what}"
    );
}

#[tokio::test]
async fn missing_server_has_no_sign_in_findings() {
    let fixture = Fixture::new().await;
    let missing = Target::new(
        format!("{}/nosuch/mcp", fixture.authority.origin)
            .parse()
            .unwrap(),
        fixture.target().auth().clone(),
    );
    fixture.authority.set(|b| {
        b.metadata = Value::Null;
        b.resource = Value::Null;
    });
    let aspects = look(&fixture, &missing).await;
    let aspects: Vec<_> = aspects.iter().map(|finding| finding.kind).collect();
    assert_eq!(aspects, [CheckKind::Reach, CheckKind::Proxy]);
}
