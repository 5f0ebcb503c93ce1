//! The suite's scenarios for authorization servers: its own client, a user who consents and signs
//! in with a browser, and the gateway.

use std::{fs, process::Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};

use super::{
    folder,
    suite::{Report, suite},
};
use crate::harness::{
    Harness, browser::Browser, free_port, oauth::OAuthClient, sign_in_pages, within,
};

/// How many checks must pass.
const CHECKS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn gateway_passes_authorization_server_scenarios() {
    let (harness, browser) = tokio::join!(Harness::start(), Browser::open());
    let gateway = harness.servers.gateway_url();
    // The gateway ignores the port of a loopback redirect URI (RFC 8252 §7.3).
    let client = OAuthClient::new("127.0.0.1", "/callback").await;
    let client = client.register(&format!("{gateway}/register")).await;
    let report = run(&gateway, &client, &browser).await;
    print(&report);
    let failed: Vec<_> = (report.scenarios.iter())
        .filter(|one| !one.failures.is_empty())
        .map(ToString::to_string)
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let passed: usize = report.scenarios.iter().map(|one| one.passed).sum();
    assert_eq!(passed, CHECKS, "{}", report.said);
    assert!(report.succeeded, "{}", report.said);
}

/// Runs the suite and signs in when it prints an authorization request.
async fn run(gateway: &str, client: &str, browser: &Browser) -> Report {
    let results = folder();
    let port = free_port().await.to_string();
    let resource = format!("{gateway}/snippets/mcp");
    let arguments = [
        "authorization",
        "--url",
        gateway,
        "--client-id",
        client,
        "--resource",
        &resource,
        "-p",
        &port,
    ];
    let errors = fs::File::create(results.path().join("errors.log")).expect("a log");
    let mut process = suite(&arguments, results.path())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .expect("the conformance suite; hint: `cargo xtask tools` installs it");
    let output = process.stdout.take().expect("its output");
    let mut lines = BufReader::new(output).lines();
    let mut said = String::new();
    while let Some(line) = within("the suite", lines.next_line())
        .await
        .expect("its output")
    {
        said += &line;
        said.push('\n');
        if line.starts_with(&format!("{gateway}/authorize?")) {
            browser.go_to(&line).await;
            sign_in_pages::consent_at_gateway(browser).await;
            sign_in_pages::sign_in_at_entra(browser, emulator::demo::ADELE).await;
        }
    }
    let status = within("the suite", process.wait()).await.expect("a status");
    Report::read(
        said,
        status.success(),
        results.path(),
        "authorization-server-",
    )
}

#[expect(clippy::print_stdout, reason = "warnings are informative")]
fn print(report: &Report) {
    for scenario in &report.scenarios {
        println!("{scenario}");
    }
}
