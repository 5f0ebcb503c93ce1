//! The allowed dependencies between crates: the table of ARCHITECTURE.md as a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Every crate of the workspace and the others that it may use outside of tests.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "auth",
        &[
            "client-assertion",
            "files",
            "model",
            "proxies",
            "reach",
            "texts",
            "threads",
        ],
    ),
    (
        "bridge",
        &[
            "auth", "control", "files", "mcp", "model", "texts", "threads",
        ],
    ),
    ("client-assertion", &[]),
    ("control", &["files", "model", "threads"]),
    ("emulator", &["files", "model"]),
    ("files", &[]),
    ("gateway", &["client-assertion", "files", "model"]),
    ("mcp", &["model", "proxies", "reach", "texts", "threads"]),
    ("model", &[]),
    (
        "postern",
        &[
            "auth", "bridge", "control", "emulator", "files", "gateway", "mcp", "model",
            "snippets", "texts",
        ],
    ),
    ("postern-desktop", &["control", "model"]),
    ("proxies", &["model", "threads"]),
    ("reach", &["model", "texts"]),
    ("snippets", &[]),
    ("tests", &[]),
    ("texts", &[]),
    ("threads", &[]),
    ("xtask", &["model"]),
];

/// Crates that a program without a window must not contain.
const DESKTOP_ONLY: &[&str] = &[
    "gtk",
    "gtk-sys",
    "tao",
    "tauri",
    "tray-icon",
    "webkit2gtk",
    "wry",
];

/// A second TLS stack, and crates with a known vulnerability (see deny.toml).
const BANNED: &[&str] = &["native-tls", "openssl", "openssl-sys", "ring", "rsa"];

/// Crates with exactly one version in the tree.
const ONCE: &[&str] = &[
    "aws-lc-rs",
    "axum",
    "hyper",
    "reqwest",
    "rustls",
    "tokio",
    "tower",
];

#[test]
fn crates_depend_only_on_allowed_crates() {
    let packages = workspace_packages();
    let ours: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, known, "the map names exactly the crates there are");

    for (name, allowed) in MAY_USE {
        let shipped = &packages[*name].shipped;
        let forbidden: Vec<&String> = shipped
            .iter()
            .filter(|used| ours.contains(used.as_str()) && !allowed.contains(&used.as_str()))
            .collect();
        assert!(
            forbidden.is_empty(),
            "{name} must not depend on {forbidden:?}"
        );
    }
}

#[test]
fn bridge_and_gateway_do_not_depend_on_each_other() {
    let packages = workspace_packages();
    for (one, other) in [("bridge", "gateway"), ("gateway", "bridge")] {
        let Uses { shipped, tests } = &packages[one];
        assert!(
            !shipped.contains(other) && !tests.contains(other),
            "{one} uses {other}"
        );
    }
}

#[test]
fn default_build_contains_no_window_crates() {
    assert_absent(&crate_versions(&[]), DESKTOP_ONLY);
}

#[test]
fn tree_has_one_tls_and_one_http_stack() {
    for selection in [&[][..], &["--workspace", "--target", "all"]] {
        let versions = crate_versions(selection);
        assert_absent(&versions, BANNED);
        for name in ONCE {
            assert_eq!(versions[*name].len(), 1, "{name}: {:?}", versions[*name]);
        }
    }
}

fn assert_absent(versions: &BTreeMap<String, BTreeSet<String>>, names: &[&str]) {
    let found: Vec<&&str> = names
        .iter()
        .filter(|name| versions.contains_key(**name))
        .collect();
    assert!(found.is_empty(), "in the tree, and must not be: {found:?}");
}

/// The names of a package's dependencies.
struct Uses {
    /// Its normal and build dependencies on all systems.
    shipped: BTreeSet<String>,
    /// Its dev dependencies only.
    tests: BTreeSet<String>,
}

fn workspace_packages() -> BTreeMap<String, Uses> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| (text(&package["name"]), uses(package)))
        .collect()
}

fn uses(package: &Value) -> Uses {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    let (tests, shipped): (Vec<&Value>, Vec<&Value>) = dependencies
        .iter()
        .partition(|dependency| dependency["kind"] == "dev");
    let names = |list: Vec<&Value>| list.iter().map(|one| text(&one["name"])).collect();
    Uses {
        shipped: names(shipped),
        tests: names(tests),
    }
}

/// Returns the versions that a build of the selected packages compiles, by crate.
fn crate_versions(selection: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let fixed = [
        "tree",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let mut versions = BTreeMap::<String, BTreeSet<String>>::new();
    for line in cargo(&[&fixed, selection].concat()).lines() {
        if let Some((name, rest)) = line.split_once(" v") {
            let version = rest.split(' ').next().unwrap_or(rest);
            versions
                .entry(name.to_owned())
                .or_default()
                .insert(version.to_owned());
        }
    }
    versions
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(arguments)
        .arg("--locked")
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
