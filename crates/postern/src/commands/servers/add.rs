//! `postern servers add`: probes the server, adds it, and prints the next step.
//!
//! Owns: when a server is not added, which is if no MCP server answers at its URL. A server that
//! cannot be reached now is added anyway. If an MCP server answers at another URL, the user decides,
//! because another path may be another server. Does not own: the probe, which the bridge makes.

use control::api::{Inspection, Problem, Reply, Request};
use model::{EndpointUrl, shown_url};

use crate::context::{Context, unexpected};
use crate::error::CliError;
use crate::terminal;

/// The server to add.
#[derive(Clone)]
struct NewServer {
    name: String,
    url: String,
    allow_http: bool,
}

pub(super) async fn run(
    name: String,
    url: String,
    no_check: bool,
    context: &Context,
) -> Result<(), CliError> {
    let allow_http = EndpointUrl::allowing_http(&url).is_ok_and(|url| url.is_exposed());
    if allow_http {
        terminal::confirm_http(shown_url(&url), "Add it", "the server was not added")?;
    }
    let new = NewServer {
        name,
        url,
        allow_http,
    };
    if no_check {
        add(&new, context).await?;
        let NewServer { name, .. } = new;
        terminal::print(format_args!(
            "Added {name} unchecked. Next: `postern servers test {name}`"
        ));
        return Ok(());
    }
    let (new, inspection) = inspect(new, context).await?;
    add(&new, context).await?;
    terminal::print(outcome(&new.name, &inspection));
    Ok(())
}

/// Probes the URL, and asks the user if a server was found at another one.
async fn inspect(new: NewServer, context: &Context) -> Result<(NewServer, Inspection), CliError> {
    let request = Request::InspectServer {
        name: new.name.clone(),
        url: new.url.clone(),
        allow_http: new.allow_http,
    };
    let reply = context.call(&request).await?;
    let Reply::Inspection(inspection) = reply else {
        return Err(unexpected(&reply));
    };
    match inspection {
        Inspection::Elsewhere {
            problem,
            url,
            found,
        } => {
            let question = format!(
                "{}. An MCP server answers at {url}. Add that instead?",
                describe(&new, &problem)
            );
            match terminal::confirm(&question) {
                Some(true) => Ok((NewServer { url, ..new }, *found)),
                Some(false) => Err(CliError::new("the server was not added")),
                None => Err(propose_url(&new, problem, &url)),
            }
        }
        Inspection::NoServer { problem } => {
            let name = &new.name;
            let hint = problem.hint.as_deref().unwrap_or("check the URL");
            let hint =
                format!("{hint}; `postern servers add {name} URL --no-check` adds it anyway");
            Err(not_added(&new, &problem).with_hint(hint).into())
        }
        Inspection::Ready { .. }
        | Inspection::SignIn
        | Inspection::HeaderNeeded { .. }
        | Inspection::NotNow { .. } => Ok((new, inspection)),
    }
}

async fn add(new: &NewServer, context: &Context) -> Result<(), CliError> {
    let request = Request::AddServer {
        name: new.name.clone(),
        url: new.url.clone(),
        allow_http: new.allow_http,
    };
    context.call(&request).await.map(drop)
}

/// Returns the error that names the command to run, for use without a terminal.
fn propose_url(new: &NewServer, problem: Problem, url: &str) -> CliError {
    let name = &new.name;
    let message = format!(
        "{}, but an MCP server answers at {url}",
        not_added(new, &problem).message
    );
    let hint = format!(
        "to add that one, run `postern servers add {name} {url}`; `--no-check` adds the original URL anyway"
    );
    Problem { message, ..problem }.with_hint(hint).into()
}

fn not_added(new: &NewServer, problem: &Problem) -> Problem {
    let message = format!("{} was not added: {}", new.name, describe(new, problem));
    Problem {
        message,
        ..problem.clone()
    }
}

/// Returns the problem's message with the server's URL as the subject.
fn describe(new: &NewServer, problem: &Problem) -> String {
    let shown = shown_url(&new.url);
    match problem.message.strip_prefix("the server ") {
        Some(rest) => format!("{shown} {rest}"),
        None => format!("{shown}: {}", problem.message),
    }
}

/// Describes the added server and the next step.
fn outcome(name: &str, inspection: &Inspection) -> String {
    match inspection {
        Inspection::Ready { report } => format!(
            "Added {name}: it is ready, with {} tool{} ({}, MCP {}).\nNext: `postern hosts add claude-desktop {name}`",
            report.tools.len(),
            if report.tools.len() == 1 { "" } else { "s" },
            report.server_info,
            report.protocol_version
        ),
        Inspection::SignIn => {
            format!("Added {name}: it requires a sign-in.\nNext: `postern sign-in {name}`")
        }
        Inspection::HeaderNeeded { words } => {
            let words = words
                .as_ref()
                .map_or_else(String::new, |words| format!(": {words}"));
            format!(
                "Added {name}: it responds with 401 and names no authorization server{words}.\nNext: if it accepts an API key, write the header's name under [servers.{name}] in config.toml, as in `headers = {{ X-Api-Key = {{ secret = \"{name}-key\" }} }}`, and store the key with `postern secrets set {name}-key`"
            )
        }
        Inspection::Elsewhere { problem, .. }
        | Inspection::NoServer { problem }
        | Inspection::NotNow { problem } => {
            let next = format!("Next: `postern servers test {name}`");
            let hint = problem
                .hint
                .as_ref()
                .map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            format!(
                "Added {name}, which cannot be used yet: {}.{hint}\n{next}",
                problem.message
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use control::api::{Inspection, Problem, ProblemKind, TestReport};

    use super::outcome;

    #[test]
    fn outcome_names_next_command() {
        let report = TestReport {
            server_info: "demo 1.0".into(),
            protocol_version: "2025-11-25".into(),
            tools: vec!["one".into(), "two".into()],
            milliseconds: 12,
        };
        let problem = Problem::new(ProblemKind::Unreachable, "the server cannot be reached: no")
            .with_hint("check the network");
        for (inspection, expected) in [
            (
                Inspection::Ready { report },
                "Added crm: it is ready, with 2 tools (demo 1.0, MCP 2025-11-25).\nNext: `postern hosts add claude-desktop crm`",
            ),
            (
                Inspection::SignIn,
                "Added crm: it requires a sign-in.\nNext: `postern sign-in crm`",
            ),
            (
                Inspection::HeaderNeeded {
                    words: Some("no key".into()),
                },
                "Added crm: it responds with 401 and names no authorization server: no key.\nNext: if it accepts an API key, write the header's name under [servers.crm] in config.toml, as in `headers = { X-Api-Key = { secret = \"crm-key\" } }`, and store the key with `postern secrets set crm-key`",
            ),
            (
                Inspection::NotNow { problem },
                "Added crm, which cannot be used yet: the server cannot be reached: no.\nhint: check the network\nNext: `postern servers test crm`",
            ),
        ] {
            assert_eq!(outcome("crm", &inspection), expected);
        }
    }
}
