//! `cargo xtask platforms`: what can be found out about Windows and macOS on a Debian machine.
//!
//! Windows: the command line is compiled with mingw and run under Wine, a real sign-in and real
//! tool calls included. macOS: everything is compiled; nothing is linked or run. The libraries of
//! the window (WebView2, WKWebView) are beyond both. `target/platforms` holds what is made.
//!
//! The toolchain of the machine has a standard library for the machine only. Debian has the
//! source of one, and the compiler that it belongs to.

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

/// Every step, for a longer job too.
///
/// # Errors
/// Where one fails.
pub(crate) fn steps(steps: &mut Steps) -> Result<()> {
    steps.step("platforms", "compilers for other systems, and Wine", || {
        install::ensure(need::PLATFORMS)
    })?;
    windows::steps(steps)?;
    macos::steps(steps)
}

/// Where everything for other systems lies.
fn folder() -> PathBuf {
    tree::root().join("target/platforms")
}
