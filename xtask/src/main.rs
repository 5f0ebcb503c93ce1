//! What the README and CI call: `cargo xtask help` lists it.
//!
//! One file per command; what several of them need stands beside them: [`steps`] announces and
//! times, [`need`] knows what a machine must have and how it gets it, [`node`] finds a Node.js
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
        about: "build the app and start it in the demo world; without a display, print a transcript",
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
        about: "install what the tests need, and nothing else",
        main: test::tools,
    },
    Command {
        name: "bench",
        arguments: "[bridge [--peer NAME=COMMAND]... | gateway WHAT]",
        about: "measure the release build: memory, start, calls, or the relay or gateway alone; fails over the limits",
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
        about: "write docs/schemas from the configuration types; --check fails where they differ",
        main: schemas::main,
    },
    Command {
        name: "threats",
        arguments: "[--write]",
        about: "compare docs/threats.md with the ids in names of tests; --write renews its column of tests",
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
        None => bail!("there is no `{name}`; hint: `cargo xtask help` lists what there is"),
    }
}

fn help() {
    println!("cargo xtask COMMAND\n");
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.arguments);
        println!("  {usage:<28} {}", command.about);
    }
}

/// Whether the one flag a command knows is among its arguments; anything else is an error.
fn only_flag(arguments: &[String], flag: &str) -> Result<bool> {
    match arguments {
        [] => Ok(false),
        [one] if one == flag => Ok(true),
        _ => bail!("only {flag} is known here, got: {}", arguments.join(" ")),
    }
}

/// For commands that take none.
fn no_arguments(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => Ok(()),
        _ => bail!("no arguments are known here, got: {}", arguments.join(" ")),
    }
}
