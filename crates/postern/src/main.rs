//! `postern`: the command line, and the shim that hosts run.
//!
//! Owns: arguments, the environment, exit codes, and the terminal output.
//! Does not own: state that outlives a command, which the bridge has. The path to the shim through
//! this file stays short, because hosts run many shims.

mod cli;
mod commands;
mod context;
mod demo;
mod environment;
mod error;
mod exe_path;
mod fd_limit;
mod flatpak;
mod logging;
mod random;
mod signals;
mod terminal;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use context::Context;
use environment::Environment;
use error::CliError;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::note(format_args!("error: {failure}"));
            ExitCode::from(failure.exit() as u8)
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let context = Context::new(Environment::read(), cli.home)?;
    if let Command::Connect(args) = cli.command {
        return commands::connect::run(args, &context);
    }
    // Before anything can open a TLS connection; the shim never does.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if provider.install_default().is_err() {
        tracing::debug!("a TLS provider was already installed");
    }
    match cli.command {
        Command::Connect(args) => commands::connect::run(args, &context),
        Command::SignIn(args) => commands::sign_in::run(&args, &context),
        Command::SignOut(args) => commands::sign_out::run(&args, &context),
        Command::Status(args) => commands::status::run(&args, &context),
        Command::Servers(command) => commands::servers::run(command, &context),
        Command::Hosts(command) => commands::hosts::run(command, &context),
        Command::Consents(command) => commands::consents::run(command, &context),
        Command::Secrets(command) => commands::secrets::run(command, &context),
        Command::Doctor(args) => commands::doctor::run(&args, &context),
        Command::Ui(args) => ui::run(&args, &context),
        Command::Bridge(args) => commands::bridge::run(&args, context),
        Command::Gateway(args) => commands::gateway::run(&args, &context),
        Command::EntraSetup(command) => commands::entra_setup::run(*command, &context),
        Command::Emulator(args) => commands::emulator::run(&args, &context),
        Command::Snippets(args) => commands::snippets::run(&args, &context),
        Command::Demo(args) => demo::run(&args, &context),
        Command::DemoBrowser { url } => demo::browser::run(&url, &context),
    }
}
