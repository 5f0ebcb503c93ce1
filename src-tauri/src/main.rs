//! The desktop app: tray, window, and the bridge kept running.
//!
//! Owns: what a person sees and clicks. [`bridge_status`] keeps the bridge running and follows its state;
//! [`controller`] is the one loop over the one closed [`event::Event`]; [`menu`], [`tray_icon`] and
//! [`notification`] are pure functions of the state; [`tray`], [`window`] and [`commands`] carry them
//! to the desktop.
//! Packages put `postern` and `postern-shim` beside it: `tauri.bundle.conf.json` is merged when
//! bundling and only then, because Tauri would not compile without the programs it names.
//! Does not own: HTTP, OAuth, the keychain, MCP. All of that is the bridge's, which lives on when
//! this app crashes.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod app;
mod arguments;
mod bridge_status;
mod commands;
mod controller;
mod desktop;
mod event;
mod menu;
mod notification;
mod tray;
mod tray_icon;
mod window;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var("POSTERN_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match desktop::present().and_then(|()| app::run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "where there is no desktop, the terminal is all there is"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
