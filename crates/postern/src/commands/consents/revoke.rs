//! `postern consents revoke`: finds the consent, revokes it, and reports the consequences.

use control::api::{ConsentView, Request, ServerState};

use super::{fetch_consents, not_asked};
use crate::context::Context;
use crate::error::CliError;
use crate::terminal;

/// Revokes a consent: `id` at the gateway of the server `consent`, or without `id` the one that
/// `consent` identifies.
pub(super) async fn run(
    consent: String,
    id: Option<String>,
    context: &Context,
) -> Result<(), CliError> {
    let (server, id) = match id {
        Some(id) => (consent, id),
        None => find(&consent, context).await?,
    };
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
        terminal::print(format_args!(
            "Revoked the consent, and you are signed out there. `postern sign-in {server}` asks for it again."
        ));
    } else {
        terminal::print("Revoked the consent. The gateway asks again at the next sign-in.");
    }
    Ok(())
}

/// Returns the server and the ID of the consent that `named` identifies: by its ID, or as the only
/// consent of a server's gateway.
///
/// # Errors
///
/// If no consent matches, or several do. Gateways choose the IDs, so if an ID is also a server's
/// name, `named` is ambiguous.
async fn find(named: &str, context: &Context) -> Result<(String, String), CliError> {
    let is_server = context.state().await?;
    let is_server = is_server.servers.iter().any(|server| server.name == named);
    let all = fetch_consents(None, context).await?;
    let with_id: Vec<_> = all.consents.iter().filter(|one| one.id == named).collect();
    match (with_id.as_slice(), is_server) {
        ([], true) => only_one_of(named, context).await,
        ([one], false) => Ok((one.via.clone(), one.id.clone())),
        ([], false) => Err(unknown(named, &all)),
        ([..], _) => Err(ambiguous(named, &with_id)),
    }
}

async fn only_one_of(server: &str, context: &Context) -> Result<(String, String), CliError> {
    let list = fetch_consents(Some(server.to_owned()), context).await?;
    match list.consents.as_slice() {
        [] => Err(CliError::new(format_args!(
            "the gateway of {server} lists no consent; hint: `postern consents list` lists those of all gateways"
        ))),
        [one] => Ok((server.to_owned(), one.id.clone())),
        several => Err(CliError::usage(
            format!("the gateway of {server} lists {} consents", several.len()),
            &format!(
                "choose one with `postern consents revoke ID`: {}",
                several
                    .iter()
                    .map(|one| format!("{} for {}", one.id, one.server))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        )),
    }
}

fn unknown(named: &str, all: &control::api::ConsentList) -> CliError {
    let missing = match all.not_asked.is_empty() {
        true => String::new(),
        false => format!(" ({})", not_asked(all)),
    };
    CliError::new(format_args!(
        "there is no consent and no server `{named}`{missing}; hint: `postern consents list` lists the consents"
    ))
}

fn ambiguous(named: &str, consents: &[&ConsentView]) -> CliError {
    let commands = consents.iter();
    let commands = commands.map(|one| format!("`postern consents revoke {} {}`", one.via, one.id));
    CliError::usage(
        format!("`{named}` matches more than one consent"),
        &format!(
            "name the server too: {}",
            commands.collect::<Vec<_>>().join(", ")
        ),
    )
}
