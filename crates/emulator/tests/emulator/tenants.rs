//! Several tenants in one emulator: the meaning of each authority, and its users.

use emulator::demo::{self, ADELE, LEE, MEGAN};
use emulator::{App, CONSUMERS, Options, Platform, SignInAudience, Tenant};
use model::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{BRIDGE_CALLBACK, Browser, Harness, http, replace};
use crate::tokens::claims;

const CONTOSO: &str = "contoso.example";
const FABRIKAM: &str = "fabrikam.example";

/// Returns an authorization request of "Fabrikam notes" through `authority`.
fn notes(harness: &Harness, authority: &str, more: &[(&str, &str)]) -> String {
    let client = demo::NOTES_CLIENT_ID.to_string();
    let mut all = vec![
        ("client_id", client.as_str()),
        ("scope", "openid profile offline_access User.Read"),
        ("client_info", "1"),
    ];
    replace(&mut all, more);
    through(&harness.authorize(&all), authority)
}

fn through(url: &str, authority: &str) -> String {
    url.replace(&demo::TENANT_ID.to_string(), authority)
}

/// Returns the token response of "Fabrikam notes" through `authority`.
async fn tokens(harness: &Harness, authority: &str, grant: &[(&str, &str)]) -> Value {
    let response = harness
        .token_request(authority, &form(grant))
        .send()
        .await
        .unwrap();
    response.json().await.unwrap()
}

fn form<'a>(grant: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    const NOTES: &str = "94d1b7e2-6c05-4f8a-a3b9-52e7c0d8f103";
    assert_eq!(NOTES, demo::NOTES_CLIENT_ID.to_string());
    let own = [("client_id", NOTES), ("redirect_uri", BRIDGE_CALLBACK)];
    [&own, grant].concat()
}

#[tokio::test]
async fn each_authority_has_metadata_and_keys() {
    let harness = Harness::start().await;
    let issuer = |tenant: &str| format!("{}/{tenant}/v2.0", harness.base);
    let (contoso, fabrikam) = (
        demo::TENANT_ID.to_string(),
        demo::FABRIKAM_TENANT_ID.to_string(),
    );
    let consumers = CONSUMERS.to_string();
    for (segment, named, tenant) in [
        ("common", "common", "{tenantid}"),
        ("organizations", "organizations", "{tenantid}"),
        ("consumers", "consumers", consumers.as_str()),
        (&consumers, &consumers, &consumers),
        (&contoso, &contoso, &contoso),
        (CONTOSO, &contoso, &contoso),
        (&fabrikam, &fabrikam, &fabrikam),
        (FABRIKAM, &fabrikam, &fabrikam),
    ] {
        let get = async |path: &str| -> Value {
            let url = format!("{}/{segment}{path}", harness.base);
            http().get(url).send().await.unwrap().json().await.unwrap()
        };
        let document = get("/v2.0/.well-known/openid-configuration").await;
        assert_eq!(document["issuer"], issuer(tenant), "{segment}");
        let endpoint = format!("{}/{named}/oauth2/v2.0/token", harness.base);
        assert_eq!(document["token_endpoint"], endpoint, "{segment}");
        let keys = get("/discovery/v2.0/keys").await;
        let keys = keys["keys"].as_array().unwrap();
        assert!(keys.iter().all(|key| key["issuer"] == issuer(tenant)));
    }
}

#[tokio::test]
async fn token_contains_tenant_of_user() {
    let harness = Harness::start().await;
    for (authority, username, tenant) in [
        ("common", ADELE, demo::TENANT_ID),
        ("organizations", MEGAN, demo::FABRIKAM_TENANT_ID),
        ("common", LEE, CONSUMERS),
        ("consumers", LEE, CONSUMERS),
        (CONTOSO, ADELE, demo::TENANT_ID),
    ] {
        let url = notes(&harness, authority, &[]);
        let response = Browser::new().sign_in(&url, username).await;
        let code = response.parameter("code");
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("code_verifier", crate::harness::VERIFIER),
            ("client_info", "1"),
        ];
        let first = tokens(&harness, authority, &grant).await;
        assert_eq!(first["client_info"], response.parameter("client_info"));
        let id_token = claims(&first["id_token"]);
        assert_eq!(
            id_token["tid"],
            tenant.to_string(),
            "{authority} {username}"
        );
        assert_eq!(id_token["iss"], format!("{}/{tenant}/v2.0", harness.base));
        let refresh = first["refresh_token"].as_str().unwrap();
        let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        let second = tokens(&harness, &tenant.to_string(), &grant).await;
        assert_eq!(claims(&second["access_token"])["tid"], tenant.to_string());
    }
}

#[tokio::test]
async fn code_and_refresh_token_are_bound_to_tenant() {
    let harness = Harness::start().await;
    let url = notes(&harness, "common", &[]);
    let code = Browser::new().sign_in(&url, MEGAN).await.parameter("code");
    let by_code = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("code_verifier", crate::harness::VERIFIER),
    ];
    for authority in [CONTOSO, "consumers"] {
        let foreign = harness.token_request(authority, &form(&by_code));
        harness
            .expect_error(foreign, 400, "invalid_grant", 700_005)
            .await;
    }
    let tokens = tokens(&harness, "organizations", &by_code).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let by_refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let foreign = harness.token_request(CONTOSO, &form(&by_refresh));
    harness
        .expect_error(foreign, 400, "invalid_grant", 50_020)
        .await;
}

#[tokio::test]
async fn app_is_rejected_outside_its_audience() {
    let mut tenant = Tenant::demo("http://localhost/cb");
    let client = |audience| {
        let id = Uuid::new_v4();
        let app = App {
            sign_in_audience: audience,
            redirect_uris: vec!["http://localhost".to_owned()],
            ..App::new(id, "One of four", Platform::MobileDesktop)
        };
        (id, app)
    };
    let (my_org, app) = client(SignInAudience::MyOrg);
    tenant.apps.push(app);
    let (organisations, app) = client(SignInAudience::MultipleOrgs);
    tenant.apps.push(app);
    let (all_accounts, app) = client(SignInAudience::OrgsAndPersonal);
    tenant.apps.push(app);
    let (personal, app) = client(SignInAudience::Personal);
    tenant.apps.push(app);
    let harness = Harness::with(tenant).await;

    const NOT_MULTI_TENANT: u32 = 50_194;
    const NOT_PERSONAL: u32 = 9_002_332;
    const ONLY_PERSONAL: u32 = 9_002_331;
    const UNKNOWN: u32 = 700_016;
    for (app, expected) in [
        (
            my_org,
            [
                Some(NOT_MULTI_TENANT),
                Some(NOT_MULTI_TENANT),
                Some(NOT_PERSONAL),
                None,
                Some(UNKNOWN),
            ],
        ),
        (organisations, [None, None, Some(NOT_PERSONAL), None, None]),
        (all_accounts, [None; 5]),
        (
            personal,
            [
                Some(ONLY_PERSONAL),
                Some(ONLY_PERSONAL),
                None,
                Some(ONLY_PERSONAL),
                Some(ONLY_PERSONAL),
            ],
        ),
    ] {
        let authorities = ["common", "organizations", "consumers", CONTOSO, FABRIKAM];
        for (authority, refused) in authorities.into_iter().zip(expected) {
            let url = harness.authorize(&[("client_id", &app.to_string()), ("scope", "openid")]);
            let page = Browser::new().open(&through(&url, authority)).await;
            match refused {
                Some(code) => page.shows_error(code),
                None => page.shows("name=\"loginfmt\""),
            }
        }
    }
}

#[tokio::test]
async fn only_users_of_authority_can_sign_in() {
    let harness = Harness::start().await;
    let personal = "You can’t sign in here with a personal account";
    let elsewhere = "does not exist in this tenant";
    for (authority, offered, refused) in [
        ("common", &[ADELE, MEGAN, LEE] as &[_], &[] as &[_]),
        ("organizations", &[ADELE, MEGAN], &[(LEE, personal)]),
        (
            "consumers",
            &[LEE],
            &[(ADELE, elsewhere), (MEGAN, elsewhere)],
        ),
        (CONTOSO, &[ADELE], &[(MEGAN, elsewhere), (LEE, personal)]),
    ] {
        let browser = Browser::new();
        let page = browser.open(&notes(&harness, authority, &[])).await;
        for name in [ADELE, MEGAN, LEE] {
            let tile = page.body.contains(&format!("data-account=\"{name}\""));
            assert_eq!(tile, offered.contains(&name), "{authority} {name}");
        }
        for (name, problem) in refused {
            browser
                .submit(&page, &[("loginfmt", name)])
                .await
                .shows(problem);
        }
    }
}

#[tokio::test]
async fn session_of_other_tenant_is_ignored() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    let common = notes(&harness, "common", &[]);
    browser.sign_in(&common, MEGAN).await.parameter("code");
    browser.open(&common).await.parameter("code");
    let silent = notes(&harness, CONTOSO, &[("prompt", "none")]);
    let response = browser.open(&silent).await;
    assert_eq!(response.parameter("error"), "login_required");
    let page = browser.open(&notes(&harness, CONTOSO, &[])).await;
    page.shows("name=\"loginfmt\"");
    browser
        .submit(&page, &[("account", ADELE)])
        .await
        .shows("Enter password");
}

#[tokio::test]
async fn single_tenant_api_is_unknown_elsewhere() {
    let harness = Harness::start().await;
    let scope = demo::gateway_scope();
    let ask = async |authority| {
        let url = notes(&harness, authority, &[("scope", &scope)]);
        Browser::new().open(&url).await
    };
    ask(CONTOSO).await.shows("Sign in");
    for authority in [FABRIKAM, "common"] {
        let response = ask(authority).await;
        assert_eq!(response.parameter("error"), "invalid_resource");
    }
}

#[tokio::test]
async fn duplicate_ids_prevent_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tenant = Tenant::demo("http://localhost/cb");
    let options = Options {
        others: vec![Tenant {
            id: Uuid::new_v4(),
            ..tenant.clone()
        }],
        ..Options::new(tenant, Clock::system())
    };
    let started = emulator::serve(options, listener, CancellationToken::new()).await;
    let error = started.unwrap_err().to_string();
    assert!(
        error.contains("two users") && error.contains("hint: "),
        "{error}"
    );
    assert!(error.contains(&json!(demo::ADELE_OBJECT_ID).as_str().unwrap()[..8]));
}
