//! A host for the client scenarios of the official conformance suite.
//!
//! Owns: what a host does in each scenario, in either era, over the stdio of a program. It spawns
//! the program as hosts do, with six environment variables.
//! Does not own: HTTP. The suite judges the program's HTTP requests. The host follows the scenario
//! and exits with success, or reports why it could not.
//!
//! Run as `mcp-host ERA PROGRAM HOME`, where ERA is `legacy` or `modern` and HOME is the program's
//! home folder. The suite appends the URL of its server and sets the scenario in the environment.
//! An `auth/` scenario has its own home below HOME ([`sign_ins`]).
//!
//! ERA may end with `-plain`. Such a host does not know of sign-ins: it lists the tools once and
//! calls those, even if it is notified of a change.

mod call;
mod environment;
mod program;
mod response;
mod scenarios;
mod session;
mod sign_ins;
mod skills;

use std::io::{self, Write as _};

use anyhow::{Result, bail};

use crate::{
    environment::Environment,
    program::Program,
    scenarios::ToolReload,
    session::{Era, Session},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let environment = Environment::read()?;
    scenarios::check(&environment.scenario)?;
    let mut arguments = std::env::args().skip(1);
    let (era, reload) = match arguments.next().as_deref() {
        Some("legacy") => (Era::Legacy, ToolReload::OnNotification),
        Some("legacy-plain") => (Era::Legacy, ToolReload::Never),
        Some("modern") => (Era::Modern, ToolReload::OnNotification),
        Some("modern-plain") => (Era::Modern, ToolReload::Never),
        other => bail!("not an era: {other:?}; hint: legacy or modern, or one with -plain"),
    };
    let [Some(program), Some(home), Some(url)] = std::array::from_fn(|_| arguments.next()) else {
        bail!("hint: mcp-host ERA PROGRAM HOME URL");
    };
    let home = sign_ins::home(&environment, &program, &home, &url).await?;
    let connect = ["connect", "--home", &home, &url].map(str::to_owned);
    let program = Program::spawn(&program, connect, environment.passed_on.clone())?;
    let mut host = Session::new(era, program);
    scenarios::play(&environment, reload, &mut host).await?;
    host.end().await?;
    writeln!(io::stdout(), "The host has done its part.")?;
    Ok(())
}
