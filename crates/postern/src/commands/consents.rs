//! `postern consents`.

mod revoke;

use control::api::{ConsentList, ConsentView, Problem, Reply, Request};

use crate::cli::ConsentsCommand;
use crate::context::{Context, unexpected};
use crate::error::CliError;
use crate::terminal::{self, table};

/// The hint if some gateways could not be asked.
const DETAILS_HINT: &str = "`postern consents list NAME` says more about one of them";

pub(crate) fn run(command: ConsentsCommand, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        match command {
            ConsentsCommand::List { server, json } => list(server, json.json, context).await,
            ConsentsCommand::Revoke { consent, id } => revoke::run(consent, id, context).await,
        }
    })
}

async fn list(server: Option<String>, json: bool, context: &Context) -> Result<(), CliError> {
    let list = fetch_consents(server, context).await?;
    if json {
        terminal::json(&list.consents)?;
    } else if !list.consents.is_empty() {
        terminal::print(text(&list.consents));
    } else if list.not_asked.is_empty() {
        terminal::print("No consents.");
    } else if list.answered > 0 {
        terminal::print("No consents at the gateways that could be asked.");
    }
    match list.not_asked.as_slice() {
        [] => Ok(()),
        [..] if list.answered > 0 => {
            terminal::note(format_args!("{}\nhint: {DETAILS_HINT}", not_asked(&list)));
            Ok(())
        }
        // Success with an empty list would mean that there are no consents.
        [first, others @ ..] => {
            if others.is_empty() {
                // The error for this one server has more details.
                fetch_consents(Some(first.server.clone()), context).await?;
            }
            let text = format!("no consents could be listed; {}", not_asked(&list));
            Err(Problem::new(first.kind, text)
                .with_hint(DETAILS_HINT)
                .into())
        }
    }
}

async fn fetch_consents(
    server: Option<String>,
    context: &Context,
) -> Result<ConsentList, CliError> {
    match context.call(&Request::ListConsents { server }).await? {
        Reply::Consents(list) => Ok(list),
        other => Err(unexpected(&other)),
    }
}

/// Lists the servers that could not be asked, in one line.
fn not_asked(list: &ConsentList) -> String {
    let servers = list.not_asked.iter();
    let servers = servers.map(|one| format!("{} ({})", one.server, one.reason));
    format!("not asked: {}", servers.collect::<Vec<_>>().join(", "))
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
    fn consent_is_shown_with_client_scopes_and_date() {
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
