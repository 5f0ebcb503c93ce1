//! The official conformance suite: directly against the fixture server, so that what it says of
//! the rest is not the fixture's fault, and through the bridge and the gateway.
//!
//! What the suite scores has to pass; the rest that it runs is printed.

use std::{collections::BTreeSet, fs, path::Path, process::Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::world::{
    World,
    bridge::Bridge,
    program,
    wire::{Sse, Streamable},
    within,
};

/// A revision, and how many scenarios its requirements score.
const LEGACY: (&str, usize) = ("2025-11-25", 30);
const MODERN: (&str, usize) = ("2026-07-28", 37);

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_conforms() {
    let fixture = Fixture::start().await;
    for revision in [LEGACY, MODERN] {
        check(&fixture.url("mcp"), revision).await;
    }
}

/// The suite knows no HTTP+SSE.
#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_speaks_http_and_sse() {
    let fixture = Fixture::start().await;
    let mut host = Sse::connect(&fixture.url("sse"), Default::default()).await;
    let answer = host.call("test_simple_text", json!({})).await;
    assert_eq!(
        answer.unwrap(),
        "This is a simple text response for testing."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_conforms_through_the_bridge() {
    let fixture = Fixture::start().await;
    let folder = folder();
    let bridge = bridge_to(folder.path(), &fixture.url("mcp"));
    bridge.start().await;
    for revision in [LEGACY, MODERN] {
        check(&endpoint(&bridge).await, revision).await;
    }
}

/// The same server over HTTP+SSE: what it says there comes on one stream for all requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_http_and_sse_conforms_through_the_bridge() {
    let fixture = Fixture::start().await;
    let folder = folder();
    let bridge = bridge_to(folder.path(), &fixture.url("sse"));
    bridge.start().await;
    check(&endpoint(&bridge).await, LEGACY).await;
}

/// The suite only warns where this fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_goes_on_at_the_bridge() {
    let fixture = Fixture::start().await;
    let folder = folder();
    let bridge = bridge_to(folder.path(), &fixture.url("mcp"));
    bridge.start().await;
    let mut host = Streamable::connect(&endpoint(&bridge).await, Default::default()).await;
    let answer = host.call("test_reconnection", json!({})).await;
    assert_eq!(answer.unwrap(), "Nothing was lost.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_conforms_through_the_bridge_and_the_gateway() {
    let fixture = Fixture::start().await;
    let world = World::start().await;
    put_behind_the_gateway(&world, &fixture).await;
    let url = format!("{}/fixture/mcp", world.servers.gateway_url());
    let bridge = bridge_to(world.folder(), &url);
    bridge.start().await;
    let sign_in = bridge.run(&["sign-in", "fixture"]);
    let person = async { world.sign_in_at(&bridge.tabs.page(0).await).await };
    tokio::join!(sign_in, person);
    for revision in [LEGACY, MODERN] {
        check(&endpoint(&bridge).await, revision).await;
    }
}

/// Runs what a revision requires of a server against the one at `url`.
#[expect(clippy::print_stdout, reason = "what is not scored is worth a look")]
async fn check(url: &str, (revision, scored): (&str, usize)) {
    let report = Report::of(url, revision).await;
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

/// What the suite found out.
struct Report {
    scenarios: Vec<Scenario>,
    /// Whether the suite is content.
    succeeded: bool,
    said: String,
}

struct Scenario {
    name: String,
    scored: bool,
    failures: Vec<String>,
}

impl Report {
    async fn of(url: &str, revision: &str) -> Self {
        let results = folder();
        let output = within(
            "the conformance suite",
            suite(url, revision, results.path()).output(),
        )
        .await
        .expect("the conformance suite; hint: `cargo xtask tools` installs it");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let unscored = unscored(&said);
        let mut scenarios: Vec<Scenario> = fs::read_dir(results.path())
            .expect("results")
            .map(|entry| Scenario::read(&entry.expect("a result").path(), &unscored))
            .collect();
        scenarios.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            scenarios,
            succeeded: output.status.success(),
            said,
        }
    }
}

impl Scenario {
    /// Reads `server-{scenario}-{time}/checks.json`.
    fn read(folder: &Path, unscored: &BTreeSet<&str>) -> Self {
        let shown = folder.file_name().and_then(|name| name.to_str());
        let name = shown
            .and_then(|name| name.strip_prefix("server-"))
            .and_then(|name| {
                name.len()
                    .checked_sub("-2026-07-28T00-00-00-000Z".len())
                    .map(|end| &name[..end])
            })
            .unwrap_or_else(|| panic!("not a result: {}", folder.display()));
        let checks = fs::read(folder.join("checks.json")).expect("checks");
        let checks: Value = serde_json::from_slice(&checks).expect("JSON");
        let failures = checks
            .as_array()
            .expect("checks")
            .iter()
            .filter(|check| check["status"] == "FAILURE")
            .map(|check| format!("{}: {}", check["id"], check["errorMessage"]))
            .collect();
        Self {
            name: name.to_owned(),
            scored: !unscored.contains(name),
            failures,
        }
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.failures.is_empty() {
            return write!(to, "{} passes", self.name);
        }
        write!(to, "{} fails: {}", self.name, self.failures.join("; "))
    }
}

/// The scenarios that the suite ran without scoring them: it lists them at the end.
fn unscored(said: &str) -> BTreeSet<&str> {
    said.lines()
        .skip_while(|line| !line.starts_with("Not scored for "))
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect()
}

fn suite(url: &str, revision: &str, results: &Path) -> Command {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    // The Node.js that `cargo xtask` fetched, else the system's.
    let mut path = tools.join("node/node_modules/.bin").into_os_string();
    path.push(":");
    path.push(program::search_path());
    let loopback = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/loopback.cjs");
    let mut command = Command::new("node");
    command
        .args(["--require", loopback])
        .arg("node_modules/@modelcontextprotocol/conformance/dist/index.js")
        .args(["server", "--url", url, "--requirements", revision, "-o"])
        .arg(results)
        .current_dir(tools.join("clients/node"))
        .env_clear()
        .env("PATH", path)
        .env("HOME", results)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The fixture server as a process of its own. It ends with this value.
struct Fixture {
    _process: Child,
    address: String,
}

impl Fixture {
    /// Returns when it listens.
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_mcp-fixture"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the fixture server starts");
        let output = process.stdout.take().expect("its output");
        let line = within(
            "the fixture server",
            BufReader::new(output).lines().next_line(),
        )
        .await
        .expect("its output")
        .expect("the fixture server says where it listens");
        let address = line
            .split_once("listens on http://")
            .and_then(|(_, rest)| rest.split('/').next())
            .expect("an address")
            .to_owned();
        Self {
            _process: process,
            address,
        }
    }

    /// Where a transport is.
    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

/// Lets the gateway offer the fixture too.
async fn put_behind_the_gateway(world: &World, fixture: &Fixture) {
    let file = world.folder().join("gateway.toml");
    let mut configuration = fs::read_to_string(&file).expect("a gateway.toml");
    configuration += &format!("\n[servers.fixture]\nurl = \"{}\"\n", fixture.url("mcp"));
    fs::write(&file, configuration).expect("a gateway.toml");
    world.servers.kill_gateway().await;
    world.servers.restart_gateway().await;
}

/// A bridge that knows one server, and does not run yet.
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
