//! The sign-in without I/O.

use model::Issuer;
use url::Url;

use super::pending::Answer;
use super::{AnswerError, Pending, SignIn, Whom, merged};
use crate::discovery::{AuthorizationServer, IssuerRule, Proof};
use crate::http::Side;

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
        takes_client_metadata: false,
        signing_algorithms: None,
        names_itself: true,
        proof: Proof::Advertised,
        side: Side::Inside,
    }
}

fn start(scopes: &[&str]) -> (Url, Pending) {
    start_as(scopes, &Whom::Same)
}

fn start_as(scopes: &[&str], whom: &Whom) -> (Url, Pending) {
    let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let mut next = 0;
    let sign_in = SignIn {
        server: &server(),
        client_id: "client",
        redirect_uri: "http://127.0.0.1:1/callback",
        scopes: &scopes,
        resource: None,
        response_mode: None,
        claims: None,
        whom,
    };
    sign_in.start(&mut |bytes| {
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

fn answer(text: &str) -> Answer {
    Answer::parse(text.as_bytes()).unwrap()
}

#[test]
fn chance_is_an_argument() {
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
fn a_parameter_never_comes_twice() {
    let (url, _) = start(&["ours"]);
    assert_eq!(parameter(&url, "scope").as_deref(), Some("ours"));
    assert_eq!(parameter(&url, "prompt").as_deref(), Some("login"));
    let plain = merged(&"https://as.example/a".parse().unwrap(), &[("x", "a b&c")]);
    assert_eq!(plain.as_str(), "https://as.example/a?x=a+b%26c");
}

#[test]
fn an_answer_is_taken_once_and_only_if_it_fits() {
    let finish = |text: &dyn Fn(&str) -> String| {
        let (url, pending) = start(&[]);
        let state = parameter(&url, "state").unwrap();
        pending.finish(&answer(&text(&state)))
    };
    let good = finish(&|state| format!("code=c&state={state}&iss=https%3A%2F%2Fas.example"));
    assert_eq!(good.unwrap().code.expose(), "c");
    for (text, error) in [
        (
            "code=c&state=other&iss=https://as.example",
            AnswerError::Foreign,
        ),
        ("code=c&iss=https://as.example", AnswerError::Foreign),
        ("code=c&state=STATE", AnswerError::IssuerMissing),
        ("error=x&state=STATE", AnswerError::IssuerMissing),
        (
            "code=c&state=STATE&iss=https://as.example/",
            AnswerError::IssuerDiffers,
        ),
        (
            "code=c&state=STATE&iss=HTTPS://as.example",
            AnswerError::IssuerDiffers,
        ),
        ("state=STATE&iss=https://as.example", AnswerError::Empty),
        (
            "code=&state=STATE&iss=https://as.example",
            AnswerError::Empty,
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
    let Err(AnswerError::Refused(refusal)) = refused else {
        panic!("a code beside an error was believed");
    };
    assert_eq!(refusal.to_string(), "access_denied (no way)");
}

#[test]
fn an_answer_that_repeats_itself_is_none() {
    assert!(Answer::parse(b"code=a&code=b").is_none());
    assert!(Answer::parse(b"code=a&%63ode=b").is_none());
    assert!(Answer::parse(b"a=1&b=1").is_some());
}

#[test]
fn a_person_is_proposed_or_chosen_and_never_both() {
    let named = Whom::Named {
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
    let (url, _) = start_as(&["openid"], &Whom::Chosen);
    assert_eq!(parameter(&url, "prompt").as_deref(), Some("select_account"));
    assert_eq!(parameter(&url, "login_hint"), None);
    let (url, _) = start_as(&["mcp"], &named);
    assert_eq!(
        parameter(&url, "login_hint"),
        None,
        "not an OpenID provider"
    );
}
