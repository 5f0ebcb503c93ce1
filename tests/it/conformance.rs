//! The official conformance suite: against the fixture server directly, so that its results show
//! only Postern's faults elsewhere, and through the bridge and the gateway. It also runs against
//! the bridge as a client ([`client`]) and against the gateway as an authorization server
//! ([`authorization`]).
//!
//! All scored scenarios must pass. The results of others are printed.

mod authorization;
mod client;
mod client_credentials;
mod suite;

use std::{fs, path::Path};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    Harness,
    bridge::Bridge,
    fixture::Fixture,
    wire::{Sse, Streamable},
};
use suite::{Report, suite};

/// A revision and the number of scored scenarios.
const LEGACY: (&str, usize) = ("2025-11-25", 30);
const MODERN: (&str, usize) = ("2026-07-28", 37);

#[tokio::test(flavor = "multi_thread")]
async fn fixture_passes_suite() {
    let fixture = Fixture::start().await;
    for revision in [LEGACY, MODERN] {
        check(&fixture.url("mcp"), revision).await;
    }
}

/// The suite does not support HTTP+SSE.
#[tokio::test(flavor = "multi_thread")]
async fn fixture_supports_http_sse() {
    let fixture = Fixture::start().await;
    let mut host = Sse::connect(&fixture.url("sse"), Default::default()).await;
    let answer = host.call("test_simple_text", json!({})).await;
    assert_eq!(
        answer.unwrap(),
        "This is a simple text response for testing."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn server_behind_bridge_passes_suite() {
    let fixture = Fixture::start().await;
    let folder = folder();
    let bridge = bridge_to(folder.path(), &fixture.url("mcp"));
    bridge.start().await;
    for revision in [LEGACY, MODERN] {
        check(&endpoint(&bridge).await, revision).await;
    }
}

/// The same server over HTTP+SSE, where one stream carries the messages of all requests.
#[tokio::test(flavor = "multi_thread")]
async fn http_sse_server_behind_bridge_passes_suite() {
    let fixture = Fixture::start().await;
    let folder = folder();
    let bridge = bridge_to(folder.path(), &fixture.url("sse"));
    bridge.start().await;
    check(&endpoint(&bridge).await, LEGACY).await;
}

/// The suite only warns if this fails.
#[tokio::test(flavor = "multi_thread")]
async fn cut_stream_is_resumed_by_bridge() {
    let fixture = Fixture::start().await;
    let folder = folder();
    let bridge = bridge_to(folder.path(), &fixture.url("mcp"));
    bridge.start().await;
    let mut host = Streamable::connect(&endpoint(&bridge).await, Default::default()).await;
    let answer = host.call("test_reconnection", json!({})).await;
    assert_eq!(answer.unwrap(), "Nothing was lost.");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_behind_bridge_and_gateway_passes_suite() {
    let fixture = Fixture::start().await;
    let harness = Harness::start().await;
    put_behind_the_gateway(&harness, &fixture).await;
    let url = format!("{}/fixture/mcp", harness.servers.gateway_url());
    let bridge = bridge_to(harness.folder(), &url);
    bridge.start().await;
    let sign_in = bridge.run(&["sign-in", "fixture"]);
    let user = async { harness.sign_in_at(&bridge.browser.page(0).await).await };
    tokio::join!(sign_in, user);
    for revision in [LEGACY, MODERN] {
        check(&endpoint(&bridge).await, revision).await;
    }
}

/// Runs the suite's server requirements of a revision against `url`.
#[expect(clippy::print_stdout, reason = "unscored results are informative")]
async fn check(url: &str, (revision, scored): (&str, usize)) {
    let results = folder();
    let arguments = ["server", "--url", url, "--requirements", revision];
    let suite = suite(&arguments, results.path());
    let report = Report::run(suite, results.path(), "server-").await;
    for scenario in report.scenarios.iter().filter(|one| !one.scored) {
        println!("{revision}, not scored: {scenario}");
    }
    let (passed, failed): (Vec<_>, Vec<_>) = report
        .scenarios
        .iter()
        .filter(|one| one.scored)
        .partition(|one| one.failures.is_empty());
    println!("{revision}: {} of {scored} pass at {url}", passed.len());
    let shown: Vec<String> = failed.iter().map(ToString::to_string).collect();
    assert!(
        shown.is_empty(),
        "{revision} at {url}:\n{}",
        shown.join("\n")
    );
    assert_eq!(passed.len(), scored, "{}", report.said);
    assert!(report.succeeded, "{}", report.said);
}

/// Adds the fixture to the gateway's configuration.
async fn put_behind_the_gateway(harness: &Harness, fixture: &Fixture) {
    let file = harness.folder().join("gateway.toml");
    let mut configuration = fs::read_to_string(&file).expect("a gateway.toml");
    configuration += &format!("\n[servers.fixture]\nurl = \"{}\"\n", fixture.url("mcp"));
    fs::write(&file, configuration).expect("a gateway.toml");
    harness.servers.kill_gateway().await;
    harness.servers.restart_gateway().await;
}

/// Returns a bridge that knows one server and does not run yet.
fn bridge_to(folder: &Path, url: &str) -> Bridge {
    let config = format!("[bridge]\nport = 0\n[servers.fixture]\nurl = \"{url}\"\n");
    Bridge::configured(folder, &config)
}

async fn endpoint(bridge: &Bridge) -> String {
    let state = bridge.state().await;
    state.servers[0].endpoint.clone().expect("an endpoint")
}

fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("postern-it-")
        .tempdir()
        .expect("a temporary folder")
}
