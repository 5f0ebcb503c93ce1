//! `postern consents`.

use control::CallError;
use control::api::{ConsentView, Problem, ProblemKind, Reply, Request, ServerState};

use crate::cli::ConsentsCommand;
use crate::context::{Context, unexpected};
use crate::failure::Failure;
use crate::terminal::{self, table};

pub(crate) fn run(command: ConsentsCommand, context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        match command {
            ConsentsCommand::List { server, json } => list(server, json.json, context).await,
            ConsentsCommand::Revoke { server, id } => revoke(server, id, context).await,
        }
    })
}

async fn revoke(server: String, id: String, context: &Context) -> Result<(), Failure> {
    let request = Request::RevokeConsent {
        server: server.clone(),
        id,
    };
    context.call(&request).await?;
    let state = context.state().await?;
    let is_signed_out = state
        .servers
        .iter()
        .any(|view| view.name == server && view.state == ServerState::SignInNeeded);
    if is_signed_out {
        terminal::say(format_args!(
            "The consent is taken back, and you are signed out there. `postern sign-in {server}` asks for it again."
        ));
    } else {
        terminal::say("The consent is taken back. The gateway asks again at the next sign-in.");
    }
    Ok(())
}

async fn list(server: Option<String>, json: bool, context: &Context) -> Result<(), Failure> {
    let listed = match server {
        Some(server) => Listed {
            consents: of_server(server, context).await?,
            problems: Vec::new(),
        },
        None => of_all(context).await?,
    };
    let Listed { consents, problems } = listed;
    if json {
        terminal::json(&consents)?;
    } else if !consents.is_empty() {
        terminal::say(text(&consents));
    } else if problems.is_empty() {
        terminal::say("No gateway allows anything yet.");
    }
    unasked(problems)
}

struct Listed {
    consents: Vec<ConsentView>,
    /// Why gateways could not be asked.
    problems: Vec<Problem>,
}

/// Every gateway once, by whichever server it is known.
async fn of_all(context: &Context) -> Result<Listed, Failure> {
    let (mut consents, mut problems) = (Vec::<ConsentView>::new(), Vec::new());
    for server in context.state().await?.servers {
        let request = Request::ListConsents {
            server: Some(server.name),
        };
        match context.bridge().await?.call(&request).await {
            Ok(Reply::Consents(listed)) => {
                let is_new = |view: &ConsentView| consents.iter().all(|known| known.id != view.id);
                let new: Vec<_> = listed.into_iter().filter(is_new).collect();
                consents.extend(new);
            }
            Ok(other) => return Err(unexpected(&other)),
            Err(CallError::Problem(problem)) => {
                // There is nothing to ask where nobody has to sign in, or no list is kept.
                let is_open = server.state == ServerState::Ready && server.account.is_none();
                if problem.kind != ProblemKind::NotOffered && !is_open {
                    problems.push(problem);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Listed { consents, problems })
}

async fn of_server(server: String, context: &Context) -> Result<Vec<ConsentView>, Failure> {
    let server = Some(server);
    match context.call(&Request::ListConsents { server }).await? {
        Reply::Consents(consents) => Ok(consents),
        other => Err(unexpected(&other)),
    }
}

/// Says which gateways were not asked and why. The first one decides the exit code.
fn unasked(problems: Vec<Problem>) -> Result<(), Failure> {
    let mut problems = problems.into_iter();
    let Some(first) = problems.next() else {
        return Ok(());
    };
    for problem in problems {
        terminal::note(format_args!("{problem}\n"));
    }
    Err(first.into())
}

fn text(consents: &[ConsentView]) -> String {
    let head = ["VIA", "SERVER", "CLIENT", "SCOPES", "SINCE", "ID"].map(str::to_owned);
    let rows = consents.iter().map(|consent| {
        [
            consent.via.clone(),
            consent.server.clone(),
            consent.client.clone(),
            consent.scopes.join(" "),
            consent.granted_at.map_or_else(|| "?".to_owned(), date),
            consent.id.clone(),
        ]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map_or_else(|| "?".to_owned(), |moment| moment.date().to_string())
}

#[cfg(test)]
mod tests {
    use control::api::ConsentView;

    use super::text;

    #[test]
    fn a_consent_says_who_may_do_what_since_when() {
        let consent = ConsentView {
            id: "c1".into(),
            via: "snippets".into(),
            server: "snippets".into(),
            client: "Postern".into(),
            scopes: vec!["mcp".into(), "more".into()],
            granted_at: Some(1_795_219_200),
        };
        let expected = "  VIA       SERVER    CLIENT   SCOPES    SINCE       ID
  snippets  snippets  Postern  mcp more  2026-11-21  c1";
        assert_eq!(text(&[consent]), expected);
    }
}
