//! Every error of Entra that a sign-in can meet, switched on at the emulator, met by the real
//! bridge, and told in words: `docs/sign-in-errors.md` is what was seen.

use std::{fs, path::Path};

use control::api::{Actor, Problem, ProblemKind, Request};
use emulator::demo;
use serde_json::json;

use crate::harness::{
    desktop::pictures::Pictures, entra_servers::EntraServers, program, sign_in_pages,
};

const FILE: &str = "docs/sign-in-errors.md";

const HEAD: &str = "\
# What Postern says when Entra refuses a sign-in

Each row was seen by `tests/it/entra_errors.rs`: the emulator answers with the error, the real bridge
meets it while somebody signs in with a real browser, and this is what that person reads in the
browser, the window, the terminal and the host. That case compares this file with what it sees.

Beside these words stand the code, Entra's correlation ID and, where an administrator can mend it
by consenting, the link to do so; all of them can be copied. Nothing is decided by the numbers.

![The page on which a sign-in ends that only an administrator can allow](images/sign-in-error-90094.png)

The words follow \"the sign-in to crm was refused: \" where they begin with three dots.

| Code | Told | What happened | What to do | Who |
| --- | --- | --- | --- | --- |
";

/// Errors whose last page is worth a picture.
const PICTURES: [u64; 5] = [50_076, 53_003, 65_001, 90_094, 7_000_218];

/// Switches `number` on at `endpoint`, signs in, and returns what is said.
async fn meet(
    place: &mut EntraServers,
    number: u64,
    endpoint: &str,
    pictures: &Pictures,
) -> Problem {
    place.command(&json!({ "do": "clear" })).await;
    let fail = json!({ "do": "fail", "number": number, "endpoint": endpoint });
    place.command(&fail).await;
    let refused = place.sign_in(async |place| {
        place.browser.find("main > .mark").await;
        let text = place.browser.text().await;
        assert!(text.contains("You are not signed in"), "{number}: {text}");
        let name = format!("sign-in-error-{number}.png");
        if PICTURES.contains(&number) {
            pictures.page(&name, &place.browser).await;
        }
    });
    refused.await.expect_err("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_of_entra_is_told_in_plain_words_with_who_has_to_act() {
    let mut place = EntraServers::start().await;
    let signed_in = place.sign_in(async |place| {
        sign_in_pages::sign_in_at_entra(&place.browser, demo::ADELE).await;
        sign_in_pages::expect_signed_in(&place.browser).await;
    });
    signed_in.await.expect("a sign-in");

    let pictures = Pictures::wanted();
    let mut document = HEAD.to_owned();
    for row in place.errors().await {
        let number = row["number"].as_u64().expect("a number");
        let mut told = Vec::new();
        match row["authorize"].as_str() {
            Some("page") => show_by_entra_alone(&mut place, number).await,
            Some(_) => {
                let problem = meet(&mut place, number, "authorize", &pictures).await;
                told.push(("by the browser", words(number, &problem)));
            }
            None => {}
        }
        if row["token"].is_object() {
            let problem = meet(&mut place, number, "token", &pictures).await;
            told.push(("for the code", words(number, &problem)));
        }
        document += &lines(number, &told);
    }
    compare(&document.replace(&place.base, "https://login.microsoftonline.com"));

    // The sign-in from before is as good as ever.
    place.command(&json!({ "do": "clear" })).await;
    assert_eq!(place.bridge.state().await.accounts.len(), 1);
}

/// Entra says some things on a page of its own and tells nobody else: a person reads it there,
/// and ends the sign-in.
async fn show_by_entra_alone(place: &mut EntraServers, number: u64) {
    place.command(&json!({ "do": "clear" })).await;
    let fail = json!({ "do": "fail", "number": number, "endpoint": "authorize" });
    place.command(&fail).await;
    let ended = place.sign_in(async |place| {
        let shown = format!("#exceptionMessage[data-error=\"{number}\"]");
        place.browser.find(&shown).await;
        let server = "crm".to_owned();
        place.bridge.ask(Request::CancelSignIn { server }).await;
    });
    let problem = ended.await.expect_err("a sign-in that was given up");
    assert_eq!(problem.kind, ProblemKind::SignInEnded, "{number}");
}

fn lines(number: u64, told: &[(&str, String)]) -> String {
    match told {
        [(one, words), (other, same)] if words == same => {
            format!("| AADSTS{number} | {one}, {other} | {words} |\n")
        }
        different => different
            .iter()
            .map(|(place, words)| format!("| AADSTS{number} | {place} | {words} |\n"))
            .collect(),
    }
}

/// What happened, what to do, and who has to.
fn words(number: u64, problem: &Problem) -> String {
    let (hint, message) = (
        problem.hint.as_deref().unwrap_or_default(),
        &problem.message,
    );
    let who = match &problem.refusal {
        Some(refusal) => {
            assert_eq!(refusal.code, format!("AADSTS{number}"));
            assert!(refusal.correlation_id.is_some(), "{number}: {problem:?}");
            match refusal.actor {
                Actor::You => "you",
                Actor::Administrator => "an administrator",
                Actor::Owner => "who set it up",
                Actor::Time => "nobody",
            }
        }
        // The authority could not be asked at all.
        None => "nobody",
    };
    assert!(!message.contains("AADSTS"), "{number}: {message}");
    assert!(!hint.is_empty(), "{number}");
    let message = match message.strip_prefix("the sign-in to crm was refused: ") {
        Some(rest) => format!("… {rest}"),
        None => message.clone(),
    };
    format!("{message} | {hint} | {who}")
}

/// Compares the document with what was seen, or writes it anew.
fn compare(document: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
    if program::renews() {
        fs::write(&path, document).expect("the document");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        committed, document,
        "{FILE} is not what was seen; hint: POSTERN_TESTS_RENEW=1 cargo test -p tests entra_errors"
    );
}
