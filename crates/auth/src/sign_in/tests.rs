//! The authorization request and its response, without I/O.

use model::Issuer;
use url::Url;

use super::pending::AuthorizationResponse;
use super::{AccountSelection, AuthorizationRequest, AuthorizationResponseError, Pending, merged};
use crate::discovery::{AuthorizationServer, IssuerRule, PkceSupport};
use crate::http::NetworkZone;

fn server() -> AuthorizationServer {
    let at = |path: &str| format!("https://as.example{path}").parse().unwrap();
    AuthorizationServer {
        issuer: IssuerRule::new("https://as.example"),
        authorization_endpoint: at("/authorize?prompt=login&scope=theirs"),
        token_endpoint: at("/token"),
        registration_endpoint: None,
        device_authorization_endpoint: None,
        revocation_endpoint: None,
        userinfo_endpoint: None,
        end_session_endpoint: None,
        consents_endpoint: None,
        scopes: Vec::new(),
        response_modes: Vec::new(),
        client_authentication: None,
        supports_client_metadata: false,
        signing_algorithms: None,
        sends_issuer: true,
        pkce: PkceSupport::Advertised,
        zone: NetworkZone::Local,
    }
}

fn start(scopes: &[&str]) -> (Url, Pending) {
    start_as(scopes, &AccountSelection::Last)
}

fn start_as(scopes: &[&str], account: &AccountSelection) -> (Url, Pending) {
    let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let mut next = 0;
    let request = AuthorizationRequest {
        server: &server(),
        client_id: "client",
        redirect_uri: "http://127.0.0.1:1/callback",
        scopes: &scopes,
        resource: None,
        response_mode: None,
        claims: None,
        account,
    };
    request.start(&mut |bytes| {
        next += 1;
        bytes.fill(next);
    })
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut found = url.query_pairs().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.into_owned());
    assert!(found.next().is_none(), "{name} comes twice");
    value
}

fn response(text: &str) -> AuthorizationResponse {
    AuthorizationResponse::parse(text.as_bytes()).unwrap()
}

#[test]
fn random_values_are_injected() {
    let (url, _) = start(&["a", "openid"]);
    assert_eq!(url, start(&["a", "openid"]).0);
    let state = parameter(&url, "state").unwrap();
    assert_eq!(state, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
    assert_eq!(
        parameter(&url, "code_challenge").unwrap(),
        "bB1ju9q0N8VDaMu9iIaohqea2XcpfiZe6_H19fAVM7k"
    );
    assert!(parameter(&url, "nonce").is_some());
    assert!(parameter(&start(&["a"]).0, "nonce").is_none());
    assert!(!format!("{:?}", start(&[]).1).contains("AQEB"));
}

#[test]
fn authorization_url_has_no_duplicate_parameter() {
    let (url, _) = start(&["ours"]);
    assert_eq!(parameter(&url, "scope").as_deref(), Some("ours"));
    assert_eq!(parameter(&url, "prompt").as_deref(), Some("login"));
    let plain = merged(&"https://as.example/a".parse().unwrap(), &[("x", "a b&c")]);
    assert_eq!(plain.as_str(), "https://as.example/a?x=a+b%26c");
}

#[test]
fn response_must_match_state_and_issuer() {
    let finish = |text: &dyn Fn(&str) -> String| {
        let (url, pending) = start(&[]);
        let state = parameter(&url, "state").unwrap();
        pending.finish(&response(&text(&state)))
    };
    let good = finish(&|state| format!("code=c&state={state}&iss=https%3A%2F%2Fas.example"));
    assert_eq!(good.unwrap().code.expose(), "c");
    for (text, error) in [
        (
            "code=c&state=other&iss=https://as.example",
            AuthorizationResponseError::Foreign,
        ),
        (
            "code=c&iss=https://as.example",
            AuthorizationResponseError::Foreign,
        ),
        (
            "code=c&state=STATE",
            AuthorizationResponseError::IssuerMissing,
        ),
        (
            "error=x&state=STATE",
            AuthorizationResponseError::IssuerMissing,
        ),
        (
            "code=c&state=STATE&iss=https://as.example/",
            AuthorizationResponseError::IssuerDiffers,
        ),
        (
            "code=c&state=STATE&iss=HTTPS://as.example",
            AuthorizationResponseError::IssuerDiffers,
        ),
        (
            "state=STATE&iss=https://as.example",
            AuthorizationResponseError::Empty,
        ),
        (
            "code=&state=STATE&iss=https://as.example",
            AuthorizationResponseError::Empty,
        ),
    ] {
        assert_eq!(
            finish(&|state| text.replace("STATE", state)).unwrap_err(),
            error,
            "{text}"
        );
    }
    let refused = finish(&|state| {
        format!(
            "error=access_denied&error_description=no%0D%0Away&state={state}&iss=https://as.example&code=c"
        )
    });
    let Err(AuthorizationResponseError::Refused(oauth_error)) = refused else {
        panic!("a code beside an error was believed");
    };
    assert_eq!(oauth_error.to_string(), "access_denied (no way)");
}

#[test]
fn response_with_duplicate_parameter_is_rejected() {
    assert!(AuthorizationResponse::parse(b"code=a&code=b").is_none());
    assert!(AuthorizationResponse::parse(b"code=a&%63ode=b").is_none());
    assert!(AuthorizationResponse::parse(b"a=1&b=1").is_some());
}

#[test]
fn login_hint_and_prompt_are_exclusive() {
    let named = AccountSelection::Named {
        username: "ada@contoso.example".to_owned(),
        issuer: Issuer::new("https://as.example"),
    };
    let (url, _) = start_as(&["openid"], &named);
    assert_eq!(
        parameter(&url, "login_hint").as_deref(),
        Some("ada@contoso.example")
    );
    assert_eq!(
        parameter(&url, "prompt").as_deref(),
        Some("login"),
        "theirs"
    );
    let (url, _) = start_as(&["openid"], &AccountSelection::Prompt);
    assert_eq!(parameter(&url, "prompt").as_deref(), Some("select_account"));
    assert_eq!(parameter(&url, "login_hint"), None);
    let (url, _) = start_as(&["mcp"], &named);
    assert_eq!(
        parameter(&url, "login_hint"),
        None,
        "not an OpenID provider"
    );
}
