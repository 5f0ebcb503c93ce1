//! Paths in the source tree, and commands that run in it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::environment;

/// Returns the root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
}

/// Returns the folder of the tools that only the build and the tests use.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Returns the path of a program of the debug build, which cargo places beside this one.
///
/// # Errors
///
/// If the system does not report the path of this program.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(this
        .with_file_name(name)
        .with_extension(std::env::consts::EXE_EXTENSION))
}

/// Returns the command `program` in `folder` of the tree.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, folder: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root().join(folder));
    command
}

/// Returns the command `cargo` with `arguments` at the root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = command(environment::cargo(), "");
    command.args(arguments);
    command
}
