//! Cargo for another system, its standard library included.

use std::process::Command;

use crate::tree;

/// Debian's compiler, to which its source of the standard library belongs.
const RUSTC: &str = "/usr/bin/rustc";

/// `cargo SUBCOMMAND --target TARGET ARGUMENTS`, in a target folder apart from that of the machine.
pub(super) fn cargo(subcommand: &str, target: &str, arguments: &[&str]) -> Command {
    let mut command = tree::cargo(&[subcommand, "--locked", "--target", target]);
    command
        .args(["-Z", "build-std=std,panic_unwind"])
        .args(arguments)
        .env("CARGO_TARGET_DIR", super::folder())
        .env("RUSTC", RUSTC)
        // Cargo would otherwise keep `-Z` to nightly toolchains.
        .env("RUSTC_BOOTSTRAP", "1");
    command
}
