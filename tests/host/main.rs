//! A host for the scenarios that the official conformance suite has for clients.
//!
//! Owns: what a host does in each scenario, in either era, over the stdio of a program that it
//! spawns as hosts do: with six variables of its environment and no more.
//! Does not own: HTTP. The suite sees the program and what that makes of the host's words, so it
//! is the program that is judged; the host does what it is asked and ends well, or says why not.
//!
//! Run as `mcp-host ERA PROGRAM HOME`, where ERA is `legacy` or `modern`, and HOME is what the
//! program keeps everything in; the suite adds the URL of its server, and names the scenario in the
//! environment. A scenario of signing in has a home of its own below that one ([`sign_ins`]).
//!
//! ERA may have `-plain` at its end: such a host does not know that there are sign-ins. It lists the
//! tools once and calls what is listed, whether or not it is told that there are others now.

mod call;
mod environment;
mod program;
mod scenarios;
mod session;
mod sign_ins;
mod skills;

use std::io::{self, Write as _};

use anyhow::{Result, bail};

use crate::{
    environment::Environment,
    program::Program,
    scenarios::Manner,
    session::{Conversation, Era},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let environment = Environment::read()?;
    scenarios::check(&environment.scenario)?;
    let mut arguments = std::env::args().skip(1);
    let (era, manner) = match arguments.next().as_deref() {
        Some("legacy") => (Era::Legacy, Manner::Attentive),
        Some("legacy-plain") => (Era::Legacy, Manner::Plain),
        Some("modern") => (Era::Modern, Manner::Attentive),
        Some("modern-plain") => (Era::Modern, Manner::Plain),
        other => bail!("not an era: {other:?}; hint: legacy or modern, or one with -plain"),
    };
    let [Some(program), Some(home), Some(url)] = std::array::from_fn(|_| arguments.next()) else {
        bail!("hint: mcp-host ERA PROGRAM HOME URL");
    };
    let home = sign_ins::home(&environment, &program, &home, &url).await?;
    let connect = ["connect", "--home", &home, &url].map(str::to_owned);
    let program = Program::spawn(&program, connect, environment.passed_on.clone())?;
    let mut host = Conversation::new(era, program);
    scenarios::play(&environment, manner, &mut host).await?;
    host.end().await?;
    writeln!(io::stdout(), "The host has done its part.")?;
    Ok(())
}
