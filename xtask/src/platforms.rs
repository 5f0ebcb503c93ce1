//! `cargo xtask platforms`: checks Windows and macOS as far as a Debian machine can.
//!
//! Windows: the command line is compiled with mingw and run under Wine, including a real sign-in and
//! real tool calls. macOS: everything is compiled, and nothing is linked or run. The libraries of the
//! window (WebView2, WKWebView) are not available for either. The results are in `target/platforms`.
//!
//! The toolchain of the machine has a standard library for this machine only. Debian has the source of
//! one, and the matching compiler.

mod cross;
mod host;
mod macos;
mod windows;
mod wine;

use std::path::PathBuf;

use anyhow::Result;

use crate::{install, need, no_arguments, steps::Steps, tree};

pub(crate) fn main(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let mut job = Steps::new("xtask platforms");
    steps(&mut job)?;
    job.finish();
    Ok(())
}

/// Runs every step, as part of a longer job.
///
/// # Errors
///
/// If a step fails.
pub(crate) fn steps(steps: &mut Steps) -> Result<()> {
    steps.step("platforms", "compilers for other systems, and Wine", || {
        install::ensure(need::PLATFORMS)
    })?;
    windows::steps(steps)?;
    macos::steps(steps)
}

/// Returns the folder for everything about other systems.
fn folder() -> PathBuf {
    tree::root().join("target/platforms")
}
