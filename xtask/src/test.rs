//! `cargo xtask test`: runs all checks that a change must pass, from a fresh clone and without
//! questions.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::{
    bench, clients, install, need, no_arguments,
    node::{self, Node},
    only_flag, platforms, schemas,
    steps::Steps,
    threats,
    tree::{self, cargo},
};

/// The folder in which ts-rs writes the types that the UI shares with the bridge.
const BINDINGS: &str = "ui/src/bindings";

pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let full = only_flag(arguments, "--full")?;
    let mut steps = Steps::new("xtask test");
    let node = system(&mut steps)?;
    steps.command("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    steps.step("schemas", "docs/schemas against the types", schemas::check)?;
    steps.step(
        "threats",
        "docs/threats.md against the names of the tests",
        threats::check,
    )?;
    ui(&mut steps, &node)?;
    rust(&mut steps, &node, full)?;
    if full {
        platforms::steps(&mut steps)?;
        steps.step(
            "bench",
            "figures and limits of the release build",
            bench::measure,
        )?;
    }
    steps.finish();
    Ok(())
}

/// `cargo xtask tools`: installs what the tests need, for running them one by one.
pub(crate) fn tools(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let mut steps = Steps::new("xtask tools");
    let node = system(&mut steps)?;
    clients::steps(&mut steps, &node)?;
    steps.finish();
    Ok(())
}

fn system(steps: &mut Steps) -> Result<Node> {
    steps.step("system", "what the build and the tests need", || {
        install::ensure(need::DESKTOP)?;
        install::ensure(need::TESTS)?;
        Node::at_least(node::FOR_CLIENTS)
    })
}

fn ui(steps: &mut Steps, node: &Node) -> Result<()> {
    steps.command(
        "ui packages",
        &mut node.npm("ui", &["ci", "--no-audit", "--no-fund"]),
    )?;
    steps.command("ui lint", &mut node.npm("ui", &["run", "lint"]))?;
    steps.command("ui test", &mut node.npm("ui", &["test"]))?;
    steps.command("ui build", &mut node.npm("ui", &["run", "build"]))
}

fn rust(steps: &mut Steps, node: &Node, full: bool) -> Result<()> {
    steps.command(
        "clippy",
        &mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    // Builds all targets at once, so that the programs that the tests start have the same features as
    // the tests, and are not compiled twice.
    steps.command(
        "build",
        &mut cargo(&["build", "--workspace", "--all-targets"]),
    )?;
    clients::steps(steps, node)?;
    let before = contents(BINDINGS)?;
    let mut test = cargo(&["test", "--workspace", "--no-fail-fast"]);
    test.env("PATH", node.path())
        .env("POSTERN_TESTS_PREBUILT", "1");
    if full {
        test.env("POSTERN_TESTS_FULL", "1");
    }
    steps.command("test", &mut test)?;
    steps.step(
        "bindings",
        "what the tests generate against what is there",
        || unchanged(&before, &contents(BINDINGS)?),
    )?;
    if need::succeeds(&mut cargo(&["deny", "--version"])) {
        let checks = ["deny", "check", "bans", "licenses", "sources"];
        steps.command("deny", &mut cargo(&checks))?;
    }
    Ok(())
}

/// Returns the files of a folder of the tree, by name.
fn contents(folder: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    collect(&tree::root().join(folder), &mut files)
        .with_context(|| format!("cannot read {folder}"))?;
    Ok(files)
}

fn collect(folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.insert(path.display().to_string(), fs::read(&path)?);
        }
    }
    Ok(())
}

fn unchanged(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let stale: Vec<&str> = after
        .iter()
        .filter(|(name, content)| before.get(*name) != Some(content))
        .map(|(name, _)| name.as_str())
        .collect();
    if !stale.is_empty() {
        bail!(
            "the types changed and these files with them: {}; hint: commit them",
            stale.join(", ")
        );
    }
    Ok(())
}
