//! `postern servers`.

mod add;

use control::api::{Reply, Request, State, TestReport};

use super::hosts::host_id;
use super::status;
use crate::cli::ServersCommand;
use crate::context::{Context, unexpected};
use crate::error::CliError;
use crate::terminal;

pub(crate) fn run(command: ServersCommand, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        match command {
            ServersCommand::List(args) => list(args.json, context).await,
            ServersCommand::Add {
                name,
                url,
                no_check,
            } => add::run(name, url, no_check, context).await,
            ServersCommand::Remove { name } => {
                context
                    .call(&Request::RemoveServer { name: name.clone() })
                    .await?;
                terminal::print(format_args!("Removed {name}."));
                warn_about_hosts_with(&name, context).await
            }
            ServersCommand::Test { name, json } => test(name, json.json, context).await,
        }
    })
}

async fn list(json: bool, context: &Context) -> Result<(), CliError> {
    let State {
        servers, bridge, ..
    } = context.state().await?;
    // If the configuration file cannot be read, its servers are missing from the list.
    if let Some(problem) = &bridge.config_problem {
        terminal::note(format_args!("{problem}\n"));
    }
    if json {
        terminal::json(&servers)?;
    } else if !servers.is_empty() {
        terminal::print(status::servers(&servers));
    } else if bridge.config_problem.is_none() {
        terminal::print(status::NO_SERVERS);
    }
    Ok(())
}

/// Warns about hosts that still have an entry for a removed server, because they go on to start shims
/// for it.
async fn warn_about_hosts_with(name: &str, context: &Context) -> Result<(), CliError> {
    let reply = context.call(&Request::ListHosts).await?;
    let Reply::Hosts(hosts) = reply else {
        return Err(unexpected(&reply));
    };
    for host in &hosts {
        if host.servers.iter().any(|server| server == name) {
            terminal::note(format_args!(
                "{} still names {name} in {}.\nhint: remove it with `postern hosts remove {} {name}`",
                host.name,
                host.path,
                host_id(host)?
            ));
        }
    }
    Ok(())
}

async fn test(name: String, json: bool, context: &Context) -> Result<(), CliError> {
    let reply = context
        .call(&Request::TestServer { name: name.clone() })
        .await?;
    let Reply::Test(report) = reply else {
        return Err(unexpected(&reply));
    };
    if json {
        return Ok(terminal::json(&report)?);
    }
    terminal::print(text(&name, &report));
    Ok(())
}

fn text(name: &str, report: &TestReport) -> String {
    let tools: String = report
        .tools
        .iter()
        .map(|tool| format!("\n  {tool}"))
        .collect();
    format!(
        "{name} works: {}, MCP {}, {} ms, {} tools{tools}",
        report.server_info,
        report.protocol_version,
        report.milliseconds,
        report.tools.len()
    )
}

#[cfg(test)]
mod tests {
    use control::api::TestReport;

    use super::text;

    #[test]
    fn test_report_lists_tools() {
        let report = TestReport {
            server_info: "snippets 0.1.0".into(),
            protocol_version: "2025-11-25".into(),
            tools: vec!["hello_mcp".into(), "get_snippet".into()],
            milliseconds: 12,
        };
        assert_eq!(
            text("snippets", &report),
            "snippets works: snippets 0.1.0, MCP 2025-11-25, 12 ms, 2 tools\n  hello_mcp\n  get_snippet"
        );
    }
}
