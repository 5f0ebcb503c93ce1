//! The commands that the README and CI use. `cargo xtask help` lists them.
//!
//! Each command has a file. Other files have what several commands need: [`steps`] announces and times
//! steps, [`need`] knows what a machine must have and how to install it, and [`node`] finds a Node.js
//! that is new enough.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people: what it does is what it prints"
)]

mod bench;
mod clients;
mod environment;
mod install;
mod need;
mod node;
mod platforms;
mod run;
mod schemas;
mod steps;
mod test;
mod threats;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// A command of `cargo xtask`.
struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    main: fn(&[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "run",
        arguments: "[--headless]",
        about: "build the app and start it with the demo; without a display, print a transcript",
        main: run::main,
    },
    Command {
        name: "test",
        arguments: "[--full]",
        about: "install what the tests need and run all of them; --full adds long cases, platforms, bench",
        main: test::main,
    },
    Command {
        name: "tools",
        arguments: "",
        about: "install the prerequisites of the tests",
        main: test::tools,
    },
    Command {
        name: "bench",
        arguments: "[bridge [--peer NAME=COMMAND]... | gateway WHAT]",
        about: "measure the release build: memory, start, calls, or only the relay or the gateway; fail above a limit",
        main: bench::main,
    },
    Command {
        name: "platforms",
        arguments: "",
        about: "build for Windows and run under Wine, compile for macOS",
        main: platforms::main,
    },
    Command {
        name: "schemas",
        arguments: "[--check]",
        about: "write docs/schemas from the configuration types; --check only compares them",
        main: schemas::main,
    },
    Command {
        name: "threats",
        arguments: "[--write]",
        about: "compare docs/threats.md with the ids in names of tests; --write updates its column of tests",
        main: threats::main,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        help();
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        help();
        return Ok(());
    }
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.main)(rest),
        None => bail!("unknown command `{name}`; hint: `cargo xtask help` lists the commands"),
    }
}

fn help() {
    println!("cargo xtask COMMAND\n");
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.arguments);
        println!("  {usage:<28} {}", command.about);
    }
}

/// Returns true if the command's only flag is among its arguments. Fails on any other argument.
fn only_flag(arguments: &[String], flag: &str) -> Result<bool> {
    match arguments {
        [] => Ok(false),
        [one] if one == flag => Ok(true),
        _ => bail!("the only argument is {flag}, got: {}", arguments.join(" ")),
    }
}

/// Fails if there are arguments.
fn no_arguments(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => Ok(()),
        _ => bail!("the command has no arguments, got: {}", arguments.join(" ")),
    }
}
