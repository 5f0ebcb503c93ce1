//! Attacks by a server, its authorization server, a page in the browser, and a program on this
//! machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth::{CheckKind, ConfiguredServer, SignInError, Target};
use model::Issuer;
use model::config::ServerAuth;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use url::Url;

use super::authority::TENANT;
use super::fixture::{Fixture, browse, client, redirect_uri};

fn state(url: &Url) -> String {
    let pair = url.query_pairs().find(|(name, _)| name == "state");
    pair.unwrap().1.into_owned()
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// Returns the callback with this query.
fn with(callback: &Url, query: &str) -> Url {
    let mut address = callback.clone();
    address.set_query(Some(query));
    address
}

/// How a hostile server answers.
#[derive(Clone)]
enum Answer {
    /// With a redirect.
    Redirect(String),
    /// With an endless body.
    Endless,
    /// With one byte per second.
    Slow,
}

/// Starts a server that answers all requests like this. Returns its URL and the number of
/// requests.
async fn hostile(answer: Answer) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(reply(stream, answer.clone()));
        }
    });
    (origin, asked)
}

async fn reply(mut stream: TcpStream, answer: Answer) {
    let _ = stream.read(&mut [0; 4096]).await;
    let (head, body, pause) = match answer {
        Answer::Redirect(to) => {
            let head = format!("302 Found\r\nlocation: {to}\r\ncontent-length: 0");
            let text = format!("HTTP/1.1 {head}\r\n\r\n");
            let _ = stream.write_all(text.as_bytes()).await;
            return;
        }
        Answer::Endless => ("200 OK", [b' '; 4096].to_vec(), Duration::ZERO),
        Answer::Slow => ("200 OK", vec![b' '], Duration::from_secs(1)),
    };
    let head = format!("HTTP/1.1 {head}\r\ncontent-type: application/json\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    while stream.write_all(&body).await.is_ok() {
        tokio::time::sleep(pause).await;
    }
}

/// Returns a fixture whose server names this authorization server.
async fn desk_with(issuer: &str) -> Fixture {
    let fixture = Fixture::new().await;
    let issuers = json!([issuer]);
    fixture
        .authority
        .set(|b| b.resource["authorization_servers"] = issuers);
    fixture
}

#[tokio::test]
async fn authorization_url_must_be_http() {
    for hostile in [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "ms-settings:privacy",
        "vbscript:msgbox(1)",
        "--new-window https://as.example/",
        "-a Calculator",
        "/usr/bin/id",
        "http://far.example/authorize",
        "",
    ] {
        let fixture = Fixture::new().await;
        fixture
            .authority
            .set(|b| b.metadata["authorization_endpoint"] = json!(hostile));
        let target = fixture.target();
        let outcome = fixture.begin(&target).await.err();
        assert!(
            matches!(outcome, Some(SignInError::Insecure { .. })),
            "{hostile}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn shell_metacharacters_stay_in_url_query() {
    let fixture = Fixture::new().await;
    let hostile = format!(
        "{}/authorize?a=$(touch x)&b=`id`&c=\"; rm -rf ~ |%26%26 %s 'x'",
        fixture.authority.origin
    );
    fixture
        .authority
        .set(|b| b.metadata["authorization_endpoint"] = json!(hostile));
    let target = fixture.target();
    let flow = fixture.begin(&target).await.unwrap();
    let url = flow.url().as_str();
    assert!(url.starts_with(&fixture.authority.origin), "{url}");
    assert!(
        !url.contains([' ', '"', '\'', '`', '$', '|', ';', '<', '>', '(', ')', '#']),
        "{url}"
    );
}

#[tokio::test]
async fn metadata_redirect_is_not_followed() {
    let (hidden, found) = hostile(Answer::Endless).await;
    let (issuer, asked) = hostile(Answer::Redirect(format!("{hidden}/metadata"))).await;
    let fixture = desk_with(&issuer).await;
    let outcome = fixture.sign_in(&fixture.target()).await;
    assert!(
        matches!(outcome, Err(SignInError::Malformed { .. })),
        "{outcome:?}"
    );
    assert!(asked.load(Ordering::Relaxed) > 0);
    assert_eq!(found.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn endless_metadata_is_rejected() {
    let (issuer, asked) = hostile(Answer::Endless).await;
    let fixture = desk_with(&issuer).await;
    let outcome = fixture.sign_in(&fixture.target()).await;
    let Err(SignInError::Unreachable { reason, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.to_string().contains("too long"), "{reason}");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the rest is not tried");
}

#[tokio::test]
async fn slow_metadata_times_out() {
    let (issuer, _) = hostile(Answer::Slow).await;
    let fixture = desk_with(&issuer).await;
    tokio::time::pause();
    let begun = Instant::now();
    let outcome = fixture.sign_in(&fixture.target()).await;
    assert!(
        matches!(outcome, Err(SignInError::Unreachable { .. })),
        "{outcome:?}"
    );
    assert!(begun.elapsed() <= Duration::from_secs(11));
}

#[tokio::test]
async fn slow_authorization_servers_share_one_timeout() {
    let (issuer, _) = hostile(Answer::Slow).await;
    let fixture = desk_with(&issuer).await;
    let issuers = json!([
        issuer,
        format!("{issuer}/a"),
        format!("{issuer}/b"),
        format!("{issuer}/c")
    ]);
    fixture
        .authority
        .set(|b| b.resource["authorization_servers"] = issuers);
    tokio::time::pause();
    let begun = Instant::now();
    let outcome = fixture.sign_in(&fixture.target()).await;
    let Err(SignInError::Unreachable { reason, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.to_string().contains("in time"), "{reason}");
    assert!(begun.elapsed() <= Duration::from_secs(31));
}

#[tokio::test]
async fn mix_up_with_missing_or_wrong_iss_is_rejected() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let origin = fixture.authority.origin.clone();
    for issuer in [
        None,
        Some(format!("{origin}/")),
        Some("https://evil.example".to_owned()),
        Some(String::new()),
    ] {
        fixture.authority.set(|b| b.issuer.clone_from(&issuer));
        for error in [None, Some(("access_denied", "no"))] {
            fixture.authority.set(|b| b.error = error);
            let outcome = fixture.sign_in(&target).await;
            assert!(
                matches!(outcome, Err(SignInError::Insecure { .. })),
                "{issuer:?} {outcome:?}"
            );
        }
    }
    assert!(
        fixture.authority.asked("token").is_empty(),
        "no code was redeemed"
    );

    // It is not promised, so it may be missing. If it is there it must be right.
    fixture.authority.set(|b| {
        b.error = None;
        b.metadata["authorization_response_iss_parameter_supported"] = json!(false);
        b.issuer = Some("https://evil.example".to_owned());
    });
    let outcome = fixture.sign_in(&target).await;
    assert!(matches!(outcome, Err(SignInError::Insecure { .. })));
    fixture.authority.set(|b| b.issuer = None);
    fixture.sign_in(&target).await.unwrap();
}

/// Returns the error of a sign-in with changed metadata, while the client is known to an honest
/// authorization server too.
async fn mixed_up(change: impl FnOnce(&mut super::authority::Behaviour, &str)) -> SignInError {
    let fixture = Fixture::new().await;
    let honest = Fixture::new().await;
    let at = |url: String, auth: ServerAuth| Target::new(url.parse().unwrap(), auth);
    let client = |issuer: Option<&str>| ServerAuth::Client {
        client_id: "the-app".to_owned(),
        client_secret: None,
        issuer: issuer.map(Issuer::new),
        scopes: Vec::new(),
        redirect_port: 0,
    };
    let origin = honest.authority.origin.clone();
    let server = ConfiguredServer {
        name: "honest".to_owned(),
        target: at(format!("{origin}/mcp"), client(Some(&origin))),
    };
    fixture.identity.set_servers(vec![server]);
    fixture.authority.set(|b| change(b, &origin));
    let target = at(format!("{}/mcp", fixture.authority.origin), client(None));
    let challenge = Some("Bearer");
    let identity = &fixture.identity;
    let ended = match identity.start_device_sign_in(&target, challenge).await {
        Err(SignInError::NoDeviceCode { .. }) => fixture.begin(&target).await.err(),
        ended => ended.err(),
    };
    assert!(honest.authority.asked("authorize").is_empty());
    ended.expect("a refusal")
}

#[tokio::test]
async fn endpoint_of_another_issuer_is_rejected() {
    const ENTRA: &str = "https://login.microsoftonline.com/common/oauth2/v2.0";
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "device_authorization_endpoint",
    ] {
        let refused = mixed_up(|b, honest| {
            b.metadata[endpoint] = json!(format!("{honest}/authorize"));
        });
        let text = refused.await.to_string();
        assert!(
            text.contains("kind = \"client\", client_id = …, issuer = "),
            "{text}"
        );
        let refused = mixed_up(|b, _| b.metadata[endpoint] = json!(format!("{ENTRA}/x")));
        let text = refused.await.to_string();
        assert!(text.contains("belongs to Microsoft Entra ID"), "{text}");
        assert!(text.contains("kind = \"entra\", authority = "), "{text}");
    }
}

#[tokio::test]
async fn device_page_of_another_issuer_is_rejected() {
    let refused = mixed_up(|b, _| {
        let issuer = b.metadata["issuer"].as_str().unwrap().to_owned();
        b.metadata["device_authorization_endpoint"] =
            json!(format!("{issuer}/device_authorization"));
        b.device.answer = json!({ "verification_uri": "https://microsoft.com/devicelogin" });
    });
    let text = refused.await.to_string();
    assert!(text.contains("verification page"), "{text}");
}

#[tokio::test]
async fn endpoint_on_unknown_origin_is_accepted() {
    let fixture = Fixture::new().await;
    let other = Fixture::new().await;
    let token = format!("{}/token", other.authority.origin);
    fixture
        .authority
        .set(|b| b.metadata["token_endpoint"] = json!(token));
    fixture.begin(&fixture.target()).await.unwrap();
    let findings = fixture.identity.diagnose(&fixture.target(), None).await;
    let discovery = findings.iter().find(|one| one.kind == CheckKind::Discovery);
    let what = &discovery.expect("a finding").what;
    let elsewhere = format!("its token endpoint is at {}", other.authority.origin);
    assert!(what.contains(&elsewhere), "{what}");
}

#[tokio::test]
async fn claim_to_origin_needs_confirmation() {
    let fixture = Fixture::new().await;
    let origin = fixture.authority.origin.clone();
    fixture.authority.set(|b| {
        b.resource["resource"] = json!(origin);
        b.confirms_origin = false;
    });
    let refused = fixture
        .begin(&fixture.target())
        .await
        .err()
        .expect("a refusal");
    assert!(matches!(refused, SignInError::Insecure { .. }), "{refused}");
    assert!(fixture.authority.asked("register").is_empty());
    fixture.authority.set(|b| b.confirms_origin = true);
    fixture.sign_in(&fixture.target()).await.unwrap();
    assert_eq!(fixture.authority.asked("authorize")[0]["resource"], origin);
}

#[tokio::test]
async fn response_on_wrong_path_is_rejected() {
    let fixture = Fixture::new().await;
    let entra = fixture.entra_usual();
    fixture.authority.set(|b| {
        b.issuer = None;
        b.metadata["authorization_response_iss_parameter_supported"] = json!(false);
    });
    for (target, other) in [(fixture.target(), "/"), (entra, "/callback")] {
        let flow = fixture.begin(&target).await.unwrap();
        let page = flow.url().clone();
        let mut elsewhere = redirect_uri(&page);
        elsewhere.set_path(other);
        let attack = with(&elsewhere, &format!("code=c&state={}", state(&page)));
        let browser = async {
            assert_eq!(status(client().get(attack)).await, 404, "{other}");
            browse(&page).await;
        };
        let (ended, _) = tokio::join!(flow.finish(), browser);
        ended.unwrap();
    }
    let codes = fixture.authority.grants("authorization_code");
    assert!(codes.iter().all(|redeemed| redeemed["code"] != "c"));
}

#[tokio::test]
async fn login_hint_goes_to_account_issuer_only() {
    let fixture = Fixture::new().await;
    let other = Fixture::new().await;
    let target = fixture.target();
    for authority in [&fixture.authority, &other.authority] {
        let issuer = format!("{}/{TENANT}/v2.0", authority.origin);
        authority.set(|b| {
            b.entra["code_challenge_methods_supported"] = json!(["S256"]);
            b.entra["scopes_supported"] = json!(["mcp.read", "openid"]);
            b.entra["registration_endpoint"] = b.metadata["registration_endpoint"].clone();
            b.resource["authorization_servers"] = json!([issuer]);
            b.issuer = None;
        });
    }
    let hint = async || {
        let flow = fixture.begin(&target).await.unwrap();
        let mut query = flow.url().query_pairs();
        query
            .find(|(name, _)| name == "login_hint")
            .map(|(_, hint)| hint.into_owned())
    };
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(hint().await.as_deref(), Some("alice@contoso.example"));
    let issuer = json!([format!("{}/{TENANT}/v2.0", other.authority.origin)]);
    fixture
        .authority
        .set(|b| b.resource["authorization_servers"] = issuer);
    assert_eq!(hint().await, None);
}

#[tokio::test]
async fn callback_with_wrong_state_or_host_is_ignored() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let flow = fixture.begin(&target).await.unwrap();
    let url = flow.url().clone();
    let callback = redirect_uri(&url);
    let finish = tokio::spawn(flow.finish());

    let http = client();
    let with = |query: &str| with(&callback, query);
    let mine = state(&url);
    for query in [
        "",
        "code=stolen",
        "code=stolen&state=",
        "code=stolen&state=other",
        &format!("code=stolen&state={mine}x"),
        &format!("code=a&code=b&state={mine}"),
        &format!("code=a&state={mine}&state={mine}"),
        "error=access_denied&state=other",
    ] {
        assert_eq!(status(http.get(with(query))).await, 400, "{query}");
    }
    let answer = format!("code=stolen&state={mine}");
    for (request, expected) in [
        (http.get(with(&answer)).header("host", "evil.example"), 421),
        (http.get(with(&answer)).header("host", "localhost"), 421),
        (
            http.get(with(&answer))
                .header("host", format!("evil.example:{}", callback.port().unwrap())),
            421,
        ),
        (http.get(callback.join("/other?x").unwrap()), 404),
        (http.get(callback.join("/favicon.ico").unwrap()), 404),
        (http.put(with(&answer)), 405),
        (http.post(callback.clone()).body(answer.clone()), 415),
        (
            http.post(callback.clone())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("{answer}&more={}", "x".repeat(100_000))),
            413,
        ),
    ] {
        assert_eq!(status(request).await, expected);
    }
    assert!(fixture.authority.asked("token").is_empty());
    assert!(browse(&url).await.text.contains("You are signed in"));
    finish.await.unwrap().unwrap();
}

#[tokio::test]
async fn duplicate_callback_counts_once() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let flow = fixture.begin(&target).await.unwrap();
    let url = flow.url().clone();
    let finish = tokio::spawn(flow.finish());
    // Takes the authorization response on its way to the browser.
    let answered = client().get(url.clone()).send().await.unwrap();
    let back: Url = answered.headers()["location"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let [first, second] = [back.clone(), back.clone()].map(|url| client().get(url).send());
    let (first, second) = tokio::join!(first, second);
    let mut pages = Vec::new();
    for answer in [first, second].into_iter().flatten() {
        pages.push(answer.text().await.unwrap());
    }
    let welcomed = pages
        .iter()
        .filter(|page| page.contains("You are signed in"));
    assert_eq!(welcomed.count(), 1, "{pages:?}");
    finish.await.unwrap().unwrap();
    assert_eq!(fixture.authority.asked("token").len(), 1);
    let late = client().get(back).send().await;
    assert!(late.is_err(), "the listener is closed");
}

/// Binds a port on ::1 only. Returns `None` without IPv6.
async fn squatted() -> Option<(TcpListener, u16)> {
    let squatter = TcpListener::bind("[::1]:0").await.ok()?;
    let port = squatter.local_addr().unwrap().port();
    Some((squatter, port))
}

#[tokio::test]
async fn callback_port_is_bound_on_both_loopback_addresses() {
    let Some((squatter, port)) = squatted().await else {
        return;
    };
    let fixture = Fixture::new().await;
    let target = fixture.target_with(ServerAuth::Entra {
        authority: Issuer::new(format!(
            "{}/{}/v2.0",
            fixture.authority.origin,
            super::authority::TENANT
        )),
        client_id: "the-app".to_owned(),
        resource: model::Resource::new("api://the-api"),
        scopes: Vec::new(),
        redirect_port: port,
    });
    let refused = fixture.begin(&target).await.err();
    assert!(
        matches!(refused, Some(SignInError::PortTaken { port: said, .. }) if said == port),
        "{refused:?}"
    );
    drop(squatter);

    // A later process finds both addresses in use.
    let flow = fixture.begin(&fixture.target()).await;
    let flow = flow.unwrap();
    let port = redirect_uri(flow.url()).port().unwrap();
    for address in ["127.0.0.1", "[::1]"] {
        let late = TcpListener::bind(format!("{address}:{port}")).await;
        assert!(late.is_err(), "{address}");
    }
}
