//! Cargo for another system, including its standard library.

use std::process::Command;

use crate::tree;

/// Debian's compiler, which matches its source of the standard library.
const RUSTC: &str = "/usr/bin/rustc";

/// Returns `cargo SUBCOMMAND --target TARGET ARGUMENTS`, with another target folder than that of the
/// machine.
pub(super) fn cargo(subcommand: &str, target: &str, arguments: &[&str]) -> Command {
    let mut command = tree::cargo(&[subcommand, "--locked", "--target", target]);
    command
        .args(["-Z", "build-std=std,panic_unwind"])
        .args(arguments)
        .env("CARGO_TARGET_DIR", super::folder())
        .env("RUSTC", RUSTC)
        // Otherwise cargo accepts `-Z` only for nightly toolchains.
        .env("RUSTC_BOOTSTRAP", "1");
    command
}
