//! Installs missing packages with apt, or prints their names if that is not possible.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    need::{Need, Packages, succeeds},
    steps::run,
    tree,
};

/// Installs those of `needs` that are missing, after printing which ones and why.
///
/// # Errors
///
/// If a package is missing and cannot be installed. The error names the packages.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let system = System::of_this_machine();
    let missing: Vec<&Need> = needs
        .iter()
        .filter(|need| !system.packages(need).is_empty() && !need.is_met())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Missing on this machine:");
    for need in &missing {
        println!("  {:<28} {}", system.packages(need), need.why);
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| system.packages(need).split(' '))
        .collect();
    match (&system, root_prefix()) {
        (System::Debian, Some(prefix)) => apt_install(&prefix, &packages)?,
        _ => bail!(
            "{} package(s) are missing and cannot be installed from here; hint: {} {}",
            packages.len(),
            system.install_command(),
            packages.join(" ")
        ),
    }
    match missing.iter().find(|need| !need.is_met()) {
        None => Ok(()),
        Some(need) => bail!(
            "{} was installed, yet what it should bring is still not there ({})",
            system.packages(need),
            need.why
        ),
    }
}

/// A system with its package names and its package manager.
#[derive(Clone, Copy)]
enum System {
    Debian,
    Fedora,
    Arch,
    MacOs,
    Unknown,
}

impl System {
    fn of_this_machine() -> Self {
        if cfg!(target_os = "macos") {
            return Self::MacOs;
        }
        [
            ("apt-get", Self::Debian),
            ("dnf", Self::Fedora),
            ("pacman", Self::Arch),
        ]
        .into_iter()
        .find(|(program, _)| succeeds(Command::new(program).arg("--version")))
        .map_or(Self::Unknown, |(_, system)| system)
    }

    fn packages(self, need: &Need) -> &'static str {
        let Packages {
            debian,
            fedora,
            arch,
            homebrew,
        } = need.packages;
        match self {
            Self::Debian | Self::Unknown => debian,
            Self::Fedora => fedora,
            Self::Arch => arch,
            Self::MacOs => homebrew,
        }
    }

    fn install_command(self) -> &'static str {
        match self {
            Self::Debian => "run as root: apt-get install",
            Self::Fedora => "run as root: dnf install",
            Self::Arch => "run as root: pacman -S",
            Self::MacOs => "brew install",
            Self::Unknown => "install what your system calls (Debian's names)",
        }
    }
}

/// Returns the prefix of a command that needs root: empty for root, or `sudo` if it needs no password.
fn root_prefix() -> Option<Vec<&'static str>> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(Vec::new());
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then(|| vec!["sudo", "-n"])
}

fn apt_install(prefix: &[&str], packages: &[&str]) -> Result<()> {
    // A private folder, because another apt-get on the machine may empty the shared one.
    let archives = tree::tools().join("apt-archives");
    fs::create_dir_all(archives.join("partial")).context("cannot make a folder for packages")?;
    let archives = format!("Dir::Cache::archives={}", archives.display());
    run(&mut apt(prefix, &["update", "-qq"]))?;
    let mut install = apt(
        prefix,
        &[
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "-o",
            &archives,
        ],
    );
    run(install.args(packages))
}

fn apt(prefix: &[&str], arguments: &[&str]) -> Command {
    let words = [
        prefix,
        &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"],
        arguments,
    ]
    .concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}
