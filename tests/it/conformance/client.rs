//! The suite's scenarios for clients. It starts a server, and hosts of both eras connect to it
//! through the shim and the bridge, so that the bridge is the client under test.
//!
//! In the `auth/` scenarios each host has its own bridge, and a browser follows the redirects of
//! its pages.

use std::{fs, path::Path, time::Duration};

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::process::Command;

use super::{
    folder,
    suite::{Report, Scenario, search_path, suite},
};
use crate::harness::{bridge::Bridge, program, shim};

/// A revision and the number of scored scenarios.
const LEGACY: (&str, usize) = ("2025-11-25", 18);
const MODERN: (&str, usize) = ("2026-07-28", 32);

/// The scenario that measures time. It warns on a busy machine, and fails if a wait is too short or
/// a second too long.
const TIMED: &str = "sse-retry";

/// The scenarios of an extension (SEP-2640). It belongs to no revision, and their server supports
/// both eras.
const SKILLS: [&str; 4] = [
    "sep-2640-client-no-prefetch",
    "sep-2640-client-verify-digest",
    "sep-2640-client-verify-size",
    "sep-2640-client-verify-frontmatter",
];

/// How long the user of a plain host takes for a page. Its lists wait for that.
const PLAIN_USER: Duration = Duration::from_secs(1);

/// The scenarios in which a server of 2025-03-26 has no protected resource metadata, and in the
/// second one its authorization server has no metadata either.
const BEFORE_DESCRIPTIONS: [&str; 2] = [
    "auth/2025-03-26-oauth-metadata-backcompat",
    "auth/2025-03-26-oauth-endpoint-fallback",
];

#[tokio::test(flavor = "multi_thread")]
async fn legacy_host_and_server_pass_client_scenarios() {
    check("legacy", LEGACY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modern_host_and_server_pass_client_scenarios() {
    check("modern", MODERN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_host_with_modern_server_passes_client_scenarios() {
    let what = "2026-07-28, legacy host";
    let mut report = play("legacy", MODERN).await;
    // The host's own handshake comes first. It cannot name a version that has no handshake.
    let probed = report.take("request-metadata");
    assert!(!probed.failures.is_empty(), "{what}: {probed} after all");
    all_pass(what, &report, MODERN.1 - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn modern_host_with_legacy_server_passes_client_scenarios() {
    check("modern", LEGACY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_legacy_host_passes_every_client_scenario() {
    check("legacy-plain", LEGACY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_modern_host_passes_every_client_scenario() {
    check("modern-plain", MODERN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skills_scenarios_pass_in_both_eras() {
    check_each("skills", &SKILLS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_2025_03_26_accept_sign_in() {
    check_each("2025-03-26", &BEFORE_DESCRIPTIONS).await;
}

/// Runs scenarios outside of all revisions with hosts of both eras.
async fn check_each(what: &str, scenarios: &[&str]) {
    for host in ["legacy", "modern"] {
        let player = Player::start(host).await;
        let runs = scenarios
            .iter()
            .map(|scenario| player.play("--scenario", scenario));
        for report in join_all(runs).await {
            all_pass(&format!("{what}, {host} host"), &report, 1);
        }
    }
}

/// Runs the client requirements of a revision with a host of one era. All must pass.
async fn check(host: &'static str, (revision, scored): (&str, usize)) {
    let report = play(host, (revision, scored)).await;
    all_pass(&format!("{revision}, {host} host"), &report, scored);
}

/// Runs the client requirements of a revision and returns the scored scenarios.
#[expect(clippy::print_stdout, reason = "unscored results are informative")]
async fn play(host: &'static str, (revision, _): (&str, usize)) -> Report {
    let player = Player::start(host).await;
    let mut report = player.play("--requirements", revision).await;
    let what = format!("{revision}, {host} host");
    report.scenarios.retain(|scenario| {
        if !scenario.scored {
            println!("{what}, not scored: {scenario}");
        }
        scenario.scored
    });
    report
}

/// A host with a bridge of its own.
struct Player {
    host: &'static str,
    bridge: Bridge,
    folder: TempDir,
}

impl Player {
    async fn start(host: &'static str) -> Self {
        let folder = folder();
        let mut bridge = Bridge::configured(folder.path(), "[bridge]\nport = 0\n");
        bridge.browser.follow_after(match host {
            "legacy-plain" | "modern-plain" => PLAIN_USER,
            _ => Duration::ZERO,
        });
        bridge.start().await;
        Self {
            host,
            bridge,
            folder,
        }
    }

    /// Runs the scenarios that `option` selects by `name`.
    async fn play(&self, option: &str, name: &str) -> Report {
        let results = self.folder.path().join(name);
        fs::create_dir_all(&results).expect("a folder");
        let mut report = Report::run(self.suite(option, name, &results), &results, "").await;
        report.scenarios.iter_mut().for_each(note_outcome);
        report
    }

    /// Returns the suite with a command that needs no shell quoting.
    fn suite(&self, option: &str, name: &str, results: &Path) -> Command {
        let host = self.host;
        let command = format!(r#""$MCP_HOST" {host} "$POSTERN" "$ROOT""#);
        let arguments = ["client", "--command", &command, option, name];
        let mut suite = suite(&arguments, results);
        let environment = shim::environment(&self.bridge);
        // The fake browser comes first.
        let mut path = self.bridge.browser.program();
        path.pop();
        let mut path = path.into_os_string();
        path.push(":");
        path.push(search_path());
        suite
            .envs(environment)
            .env("PATH", path)
            .env("MCP_HOST", env!("CARGO_BIN_EXE_mcp-host"))
            .env("POSTERN", program::postern())
            .env("ROOT", self.bridge.root());
        suite
    }
}

/// Adds the host's outcome: the suite reports only its own checks.
fn note_outcome(scenario: &mut Scenario) {
    let said = |name: &str| {
        let said = fs::read_to_string(scenario.folder.join(name));
        said.expect("what the host said")
    };
    if !said("stdout.txt").contains("has done its part") {
        let failure = format!("the host: {}", said("stderr.txt"));
        scenario.failures.push(failure);
    }
}

fn all_pass(what: &str, report: &Report, expected: usize) {
    let scenarios = &report.scenarios;
    let is_faulty = |one: &&Scenario| {
        one.passed == 0
            || !one.failures.is_empty()
            || !(one.warnings.is_empty() || one.name == TIMED)
    };
    let faulty: Vec<String> = scenarios
        .iter()
        .filter(is_faulty)
        .map(ToString::to_string)
        .collect();
    assert!(faulty.is_empty(), "{what}:\n{}", faulty.join("\n"));
    assert_eq!(scenarios.len(), expected, "{what}: {}", report.said);
}
