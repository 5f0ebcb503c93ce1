//! Runs the suite and reads its results.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{program, within};

/// The results of a run.
pub(super) struct Report {
    /// Sorted by name.
    pub(super) scenarios: Vec<Scenario>,
    /// Whether the suite exited with success.
    pub(super) succeeded: bool,
    /// All output.
    pub(super) said: String,
}

/// The results of a scenario.
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) scored: bool,
    /// The number of passed checks.
    pub(super) passed: usize,
    pub(super) failures: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// The folder of its results.
    pub(super) folder: PathBuf,
}

impl Report {
    /// Runs the suite to its end. Its results are in folders of `results` that begin with `prefix`.
    pub(super) async fn run(mut suite: Command, results: &Path, prefix: &str) -> Self {
        let output = within("the conformance suite", suite.output())
            .await
            .expect("the conformance suite; hint: `cargo xtask tools` installs it");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Self::read(said, output.status.success(), results, prefix)
    }

    /// Reads the results of a run.
    pub(super) fn read(said: String, succeeded: bool, results: &Path, prefix: &str) -> Self {
        let unscored = unscored(&said);
        let mut scenarios: Vec<Scenario> = folders(results)
            .into_iter()
            .flat_map(|folder| match folder.ends_with("auth") {
                true => folders(&folder),
                false => vec![folder],
            })
            .filter(|folder| folder.join("checks.json").exists())
            .map(|folder| Scenario::read(results, folder, prefix, &unscored))
            .collect();
        scenarios.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            scenarios,
            succeeded,
            said,
        }
    }

    /// Removes a scenario and returns it.
    pub(super) fn take(&mut self, name: &str) -> Scenario {
        let at = self.scenarios.iter().position(|one| one.name == name);
        self.scenarios.remove(at.expect("the scenario"))
    }
}

impl Scenario {
    /// Reads `{prefix}{scenario}-{time}/checks.json`. The name of a scenario may contain a slash.
    fn read(results: &Path, folder: PathBuf, prefix: &str, unscored: &BTreeSet<&str>) -> Self {
        let shown = folder.strip_prefix(results).ok();
        let name = shown
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix(prefix))
            .and_then(|name| {
                name.len()
                    .checked_sub("-2026-07-28T00-00-00-000Z".len())
                    .map(|end| name[..end].to_owned())
            })
            .unwrap_or_else(|| panic!("not a result: {}", folder.display()));
        let checks = fs::read(folder.join("checks.json")).expect("checks");
        let checks: Value = serde_json::from_slice(&checks).expect("JSON");
        let checks = checks.as_array().expect("checks");
        let with = |status: &'static str| checks.iter().filter(move |one| one["status"] == status);
        let shown = |check: &Value| {
            let text = check
                .get("errorMessage")
                .unwrap_or_else(|| &check["description"]);
            format!("{}: {text}", check["id"])
        };
        Self {
            scored: !unscored.contains(&*name),
            name,
            passed: with("SUCCESS").count(),
            failures: with("FAILURE").map(shown).collect(),
            warnings: with("WARNING").map(shown).collect(),
            folder,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<_> = [&self.failures[..], &self.warnings].concat();
        if faults.is_empty() {
            let verb = if self.passed == 0 {
                "has no check that passes"
            } else {
                "passes"
            };
            return write!(to, "{} {verb}", self.name);
        }
        let verb = if self.failures.is_empty() {
            "passes with warnings"
        } else {
            "fails"
        };
        write!(to, "{} {verb}: {}", self.name, faults.join("; "))
    }
}

/// Returns the entries of a folder.
fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).expect("results");
    entries
        .map(|entry| entry.expect("a result").path())
        .collect()
}

/// Returns the suite with these arguments, on the Node.js that `cargo xtask` fetched, or the
/// system's. It writes into `results`. Of our environment it gets only the search path.
pub(super) fn suite(arguments: &[&str], results: &Path) -> Command {
    let loopback = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/loopback.cjs");
    let mut command = Command::new("node");
    command
        .args(["--require", loopback])
        .arg("node_modules/@modelcontextprotocol/conformance/dist/index.js")
        .args(arguments)
        .arg("-o")
        .arg(results)
        .current_dir(tools().join("clients/node"))
        .env_clear()
        .env("PATH", search_path())
        .env("HOME", results)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Returns the suite's search path.
pub(super) fn search_path() -> OsString {
    let mut path = tools().join("node/node_modules/.bin").into_os_string();
    path.push(":");
    path.push(program::search_path());
    path
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools")
}

/// Returns the scenarios that the suite lists as not scored.
fn unscored(said: &str) -> BTreeSet<&str> {
    said.lines()
        .skip_while(|line| !line.starts_with("Not scored for "))
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect()
}
