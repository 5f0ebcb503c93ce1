//! `postern consents revoke`: which consent is meant, and what its end means.

use control::api::{ConsentView, Request, ServerState};

use super::{fetch_consents, not_asked};
use crate::context::Context;
use crate::error::CliError;
use crate::terminal;

/// Takes a consent back: `id` of the gateway of the server `consent`, or, without an `id`, the one
/// that `consent` means by itself.
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
            "The consent is taken back, and you are signed out there. `postern sign-in {server}` asks for it again."
        ));
    } else {
        terminal::print("The consent is taken back. The gateway asks again at the next sign-in.");
    }
    Ok(())
}

/// The server and the id of the consent that `named` means: by its id, or as the only one of a
/// server's gateway.
///
/// # Errors
///
/// If there is none, or more than one could be meant. A gateway chooses the ids, so an id that is a
/// server's name as well means neither.
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
            "the gateway of {server} lists no consent; hint: `postern consents list` lists those of the others"
        ))),
        [one] => Ok((server.to_owned(), one.id.clone())),
        several => Err(CliError::usage(
            format!("the gateway of {server} lists {} consents", several.len()),
            &format!(
                "say which with `postern consents revoke ID`: {}",
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
        format!("`{named}` could be more than one consent"),
        &format!(
            "name the server too: {}",
            commands.collect::<Vec<_>>().join(", ")
        ),
    )
}
