//! macOS: compiles as much as is possible without Apple's linker and libraries.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::cross;
use crate::{
    steps::{Steps, run},
    tree,
};

const TARGET: &str = "aarch64-apple-darwin";

/// Its C compiler supports macOS without Apple's files.
const ZIG: &str = "ziglang==0.17.0";

pub(super) fn steps(steps: &mut Steps) -> Result<()> {
    let zig = super::folder().join("zig");
    let python = zig.join("bin/python");
    steps.step("macOS compiler", ZIG, || install_zig(&zig, &python))?;
    let wrapper = |name: &str| tree::root().join("xtask/platforms").join(name);
    steps.command(
        "macOS check",
        cross::cargo("check", TARGET, &[])
            .env("CC_aarch64_apple_darwin", wrapper("macos-cc"))
            .env("AR_aarch64_apple_darwin", wrapper("macos-ar"))
            .env("ZIG_PYTHON", &python)
            // Otherwise build scripts call Apple's tools for it. Its value is not used.
            .env("SDKROOT", "/"),
    )
}

fn install_zig(zig: &Path, python: &PathBuf) -> Result<()> {
    let mark = zig.join(".installed");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == ZIG) {
        return Ok(());
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(zig))?;
    run(Command::new(python).args(["-m", "pip", "install", "--quiet", ZIG]))?;
    fs::write(mark, ZIG).context("cannot record what was installed")
}
