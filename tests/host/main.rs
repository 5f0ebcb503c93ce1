//! A host for the scenarios that the official conformance suite has for clients.
//!
//! Owns: what a host does in each scenario, in either era, over the stdio of a program that it
//! spawns as hosts do: with six variables of its environment and no more.
//! Does not own: HTTP. The suite sees the program and what that makes of the host's words, so it
//! is the program that is judged; the host does what it is asked and ends well, or says why not.
//!
//! Run as `mcp-host legacy|modern PROGRAM ARGUMENT…`; the suite adds the URL of its server, and
//! names the scenario in the environment.

mod conversation;
mod environment;
mod program;
mod scenarios;
mod skills;
mod turn;

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, bail};

use crate::{
    conversation::{Conversation, Era},
    environment::Environment,
    program::Program,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let environment = Environment::read()?;
    scenarios::check(&environment.scenario)?;
    let mut arguments = std::env::args().skip(1);
    let era = match arguments.next().as_deref() {
        Some("legacy") => Era::Legacy,
        Some("modern") => Era::Modern,
        other => bail!("not an era: {other:?}; hint: legacy or modern"),
    };
    let program = arguments.next().context("no program to spawn")?;
    let program = Program::spawn(&program, arguments, environment.passed_on)?;
    let mut host = Conversation::begin(era, program).await?;
    scenarios::play(&environment.scenario, &environment.context, &mut host).await?;
    host.end().await?;
    writeln!(io::stdout(), "The host has done its part.")?;
    Ok(())
}
