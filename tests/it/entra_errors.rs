//! Every error of Entra that a sign-in can meet. The emulator injects it, the real bridge meets it,
//! and `docs/sign-in-errors.md` lists the resulting messages.

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

Each row is a result of `tests/it/entra_errors.rs`: the emulator returns the error, the real bridge
meets it while a user signs in with a real browser, and the row has the texts that the browser, the
window, the terminal and the host show. The case compares this file with its results.

The code, Entra's correlation ID and, if an administrator's consent can fix it, the link to do so are
shown beside these texts. All of them can be copied. No decision depends on the numbers.

![The final page of a sign-in that needs an administrator's consent](images/sign-in-error-90094.png)

Texts that begin with three dots follow \"the sign-in to crm was refused: \".

| Code | Endpoint | What happened | What to do | Who |
| --- | --- | --- | --- | --- |
";

/// Errors whose final page is in the documentation.
const PICTURES: [u64; 5] = [50_076, 53_003, 65_001, 90_094, 7_000_218];

/// Injects error `number` at `endpoint`, signs in, and returns the problem.
async fn meet(
    entra: &mut EntraServers,
    number: u64,
    endpoint: &str,
    pictures: &Pictures,
) -> Problem {
    entra.emulator_command(&json!({ "do": "clear" })).await;
    let fail = json!({ "do": "fail", "number": number, "endpoint": endpoint });
    entra.emulator_command(&fail).await;
    let refused = entra.sign_in(async |entra| {
        entra.browser.find("main > .mark").await;
        let text = entra.browser.text().await;
        assert!(text.contains("You are not signed in"), "{number}: {text}");
        let name = format!("sign-in-error-{number}.png");
        if PICTURES.contains(&number) {
            pictures.page(&name, &entra.browser).await;
        }
    });
    refused.await.expect_err("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entra_error_is_explained_with_actor() {
    let mut entra = EntraServers::start().await;
    let signed_in = entra.sign_in(async |entra| {
        sign_in_pages::sign_in_at_entra(&entra.browser, demo::ADELE).await;
        sign_in_pages::expect_signed_in(&entra.browser).await;
    });
    signed_in.await.expect("a sign-in");

    let pictures = Pictures::wanted();
    let mut document = HEAD.to_owned();
    for row in entra.errors().await {
        let number = row["number"].as_u64().expect("a number");
        let mut told = Vec::new();
        match row["authorize"].as_str() {
            Some("page") => show_on_entra_page(&mut entra, number).await,
            Some(_) => {
                let problem = meet(&mut entra, number, "authorize", &pictures).await;
                told.push(("authorization", words(number, &problem)));
            }
            None => {}
        }
        if row["token"].is_object() {
            let problem = meet(&mut entra, number, "token", &pictures).await;
            told.push(("token", words(number, &problem)));
        }
        document += &lines(number, &told);
    }
    compare(&document.replace(&entra.base, "https://login.microsoftonline.com"));

    // The earlier sign-in still works.
    entra.emulator_command(&json!({ "do": "clear" })).await;
    assert_eq!(entra.bridge.state().await.accounts.len(), 1);
}

/// Entra shows some errors only on its own page. The user reads it there and cancels the sign-in.
async fn show_on_entra_page(entra: &mut EntraServers, number: u64) {
    entra.emulator_command(&json!({ "do": "clear" })).await;
    let fail = json!({ "do": "fail", "number": number, "endpoint": "authorize" });
    entra.emulator_command(&fail).await;
    let ended = entra.sign_in(async |entra| {
        let shown = format!("#exceptionMessage[data-error=\"{number}\"]");
        entra.browser.find(&shown).await;
        let server = "crm".to_owned();
        entra.bridge.request(Request::CancelSignIn { server }).await;
    });
    let problem = ended.await.expect_err("a cancelled sign-in");
    assert_eq!(problem.kind, ProblemKind::SignInEnded, "{number}");
}

fn lines(number: u64, told: &[(&str, String)]) -> String {
    match told {
        [(one, text), (other, same)] if text == same => {
            format!("| AADSTS{number} | {one}, {other} | {text} |\n")
        }
        different => different
            .iter()
            .map(|(endpoint, text)| format!("| AADSTS{number} | {endpoint} | {text} |\n"))
            .collect(),
    }
}

/// Returns what happened, what to do, and the actor.
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
                Actor::Owner => "the application's owner",
                Actor::Time => "none",
            }
        }
        // The authorization server could not be reached.
        None => "none",
    };
    assert!(!message.contains("AADSTS"), "{number}: {message}");
    assert!(!hint.is_empty(), "{number}");
    let message = match message.strip_prefix("the sign-in to crm was refused: ") {
        Some(rest) => format!("… {rest}"),
        None => message.clone(),
    };
    format!("{message} | {hint} | {who}")
}

/// Compares the document with the results, or updates it.
fn compare(document: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
    if program::updates_documents() {
        fs::write(&path, document).expect("the document");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        committed, document,
        "{FILE} does not match the results; hint: run POSTERN_TESTS_RENEW=1 cargo test -p tests entra_errors"
    );
}
