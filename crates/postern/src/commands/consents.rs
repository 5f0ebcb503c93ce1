//! `postern consents`.

use control::api::{ConsentView, Reply, Request};

use crate::cli::ConsentsCommand;
use crate::context::{Context, unexpected};
use crate::failure::Failure;
use crate::terminal::{self, table};

pub(crate) fn run(command: ConsentsCommand, context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        match command {
            ConsentsCommand::List { server, json } => list(server, json.json, context).await,
            ConsentsCommand::Revoke { server, id } => {
                context.call(&Request::RevokeConsent { server, id }).await?;
                terminal::say(
                    "The consent is taken back. The gateway asks again at the next sign-in.",
                );
                Ok(())
            }
        }
    })
}

async fn list(server: Option<String>, json: bool, context: &Context) -> Result<(), Failure> {
    let reply = context.call(&Request::ListConsents { server }).await?;
    let Reply::Consents(consents) = reply else {
        return Err(unexpected(&reply));
    };
    if json {
        terminal::json(&consents)?;
    } else if consents.is_empty() {
        terminal::say("No gateway that could be asked allows anything yet.");
    } else {
        terminal::say(text(&consents));
    }
    Ok(())
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
