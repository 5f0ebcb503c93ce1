//! Third-party MCP clients and servers for the end-to-end cases, including the conformance suite, at
//! pinned versions under `target/tools/clients`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{node::Node, steps::Steps, tree};

/// The files that pin the versions.
const NODE_PINS: [&str; 2] = ["package.json", "package-lock.json"];
const PYTHON_PINS: &str = "requirements.txt";

pub(crate) fn steps(steps: &mut Steps, node: &Node) -> Result<()> {
    let pins = tree::root().join("tests/clients");
    let target = tree::tools().join("clients");
    steps.step(
        "clients in TypeScript",
        "the SDKs, MSAL, the Inspector, the reference servers, oidc-provider and the conformance suite",
        || node_clients(&pins, &target.join("node"), node),
    )?;
    steps.step(
        "hosts",
        "Claude Code, Codex, Gemini CLI, Qwen Code and opencode",
        || node_clients(&pins.join("hosts"), &target.join("hosts"), node),
    )?;
    steps.step("clients in Python", "the SDK, FastMCP and MSAL", || {
        python_clients(&pins, &target.join("python"))
    })
}

fn node_clients(pins: &Path, target: &Path, node: &Node) -> Result<()> {
    let lock = fs::read(pins.join(NODE_PINS[1]))?;
    if is_installed(target, &lock) {
        return Ok(());
    }
    fs::create_dir_all(target)?;
    for file in NODE_PINS {
        fs::copy(pins.join(file), target.join(file))
            .with_context(|| format!("cannot copy {}", pins.join(file).display()))?;
    }
    let mut npm = node.npm("", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    crate::steps::run(npm.current_dir(target))?;
    mark_installed(target, &lock)
}

fn python_clients(pins: &Path, target: &Path) -> Result<()> {
    let requirements = pins.join(PYTHON_PINS);
    let pinned = fs::read(&requirements)?;
    if is_installed(target, &pinned) {
        return Ok(());
    }
    let mut venv = Command::new("python3");
    crate::steps::run(venv.args(["-m", "venv", "--clear"]).arg(target))?;
    let mut pip = Command::new(target.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]);
    crate::steps::run(pip.arg(&requirements))?;
    mark_installed(target, &pinned)
}

/// Returns true if the installation of these pins is complete.
fn is_installed(target: &Path, pins: &[u8]) -> bool {
    fs::read(target.join(".installed")).is_ok_and(|installed| installed == pins)
}

fn mark_installed(target: &Path, pins: &[u8]) -> Result<()> {
    fs::write(target.join(".installed"), pins).context("cannot record what was installed")
}
