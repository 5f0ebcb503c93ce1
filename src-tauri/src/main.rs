//! The desktop app: the tray, the window, and the bridge that it keeps running.
//!
//! Owns: what the user sees and clicks. [`bridge_status`] keeps the bridge running and follows its
//! state. [`controller`] handles every [`event::Event`] in one loop. [`menu`], [`tray_icon`] and
//! [`notification`] are pure functions of the status. [`tray`], [`window`] and [`commands`] connect
//! them to the desktop.
//! Packages install `postern` and `postern-shim` beside it. `tauri.bundle.conf.json` is merged only
//! for bundling, because Tauri would not compile without the programs that it names.
//! Does not own: HTTP, OAuth, the keychain, MCP. The bridge owns them and survives a crash of this
//! app.

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
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "without a desktop, only the terminal can show the error"
)]
fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
