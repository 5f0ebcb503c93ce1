//! `postern hosts`.

mod import;

use control::api::{HostChange, HostView, Problem, Reply, Request};

use crate::cli::{HostArgs, HostsCommand};
use crate::context::{Context, unexpected};
use crate::error::CliError;
use crate::terminal::{self, table_with_problems};

pub(crate) fn run(command: HostsCommand, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        match command {
            HostsCommand::List(args) => list(args.json, context).await,
            HostsCommand::Add(args) => {
                let HostArgs { host, server, yes } = args;
                let preview = Request::PreviewHostAdd {
                    host,
                    server: server.clone(),
                };
                let make = |approved| Request::AddToHost {
                    host,
                    server,
                    approved,
                };
                change(&preview, make, yes, context).await
            }
            HostsCommand::Remove(args) => {
                let HostArgs { host, server, yes } = args;
                let preview = Request::PreviewHostRemove {
                    host,
                    server: server.clone(),
                };
                let make = |approved| Request::RemoveFromHost {
                    host,
                    server,
                    approved,
                };
                change(&preview, make, yes, context).await
            }
            HostsCommand::Import { host, entries } => import::run(host, entries, context).await,
        }
    })
}

async fn list(json: bool, context: &Context) -> Result<(), CliError> {
    let reply = context.call(&Request::ListHosts).await?;
    let Reply::Hosts(hosts) = reply else {
        return Err(unexpected(&reply));
    };
    if json {
        return Ok(terminal::json(&hosts)?);
    }
    let rows: Vec<_> = hosts.iter().map(row).collect::<Result<_, _>>()?;
    terminal::print(table_with_problems(rows));
    Ok(())
}

fn row(view: &HostView) -> Result<([String; 4], Option<&Problem>), CliError> {
    let finding = match (&view.problem, view.exists, view.servers.as_slice()) {
        (Some(_), _, _) => "unreadable".to_owned(),
        (None, false, _) => "no file yet".to_owned(),
        (None, true, []) => "no servers of Postern".to_owned(),
        (None, true, servers) => servers.join(", "),
    };
    let row = [
        host_id(view)?,
        view.name.clone(),
        finding,
        view.path.clone(),
    ];
    Ok((row, view.problem.as_ref()))
}

/// The host as commands name it.
pub(super) fn host_id(view: &HostView) -> Result<String, CliError> {
    let id = serde_json::to_value(view.id)?;
    Ok(id.as_str().unwrap_or_default().to_owned())
}

/// Shows the change, asks for confirmation, and makes exactly that change.
async fn change(
    preview: &Request,
    make: impl FnOnce(String) -> Request,
    yes: bool,
    context: &Context,
) -> Result<(), CliError> {
    let planned = host_change(context.call(preview).await?)?;
    if planned.diff.is_empty() {
        terminal::print(format_args!(
            "{} is already up to date; nothing to change.",
            planned.path
        ));
        return Ok(());
    }
    terminal::print(format_args!(
        "{}\n\n{}",
        planned.path,
        planned.diff.trim_end()
    ));
    if !yes {
        match terminal::confirm("\nWrite this?") {
            Some(true) => {}
            Some(false) => return Err(CliError::new("nothing was written")),
            None => {
                return Err(CliError::usage(
                    "nothing was written, because there is no terminal to confirm at",
                    "run the command at a terminal, or add --yes",
                ));
            }
        }
    }
    let made = host_change(context.call(&make(planned.diff)).await?)?;
    if let Some(backup) = &made.backup {
        terminal::print(format_args!("\nBackup of the file: {backup}"));
    }
    if let Some(afterwards) = &made.afterwards {
        terminal::print(afterwards);
    }
    Ok(())
}

fn host_change(reply: Reply) -> Result<HostChange, CliError> {
    match reply {
        Reply::HostChange(change) => Ok(change),
        other => Err(unexpected(&other)),
    }
}
