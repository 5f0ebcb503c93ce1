//! Checks whether a sign-in to a server is needed, for clients that ask before they start one.

use std::sync::Arc;
use std::time::Duration;

use auth::AccountKey;
use control::api::{Problem, ServerState, SignInCheck};

use crate::account_id::account_id;
use crate::probe;
use crate::registry::Server;
use crate::session::SessionContext;
use crate::sign_in;

/// How long the server may take to accept the tokens of its account.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the server whether it accepts the tokens of its account.
///
/// # Errors
///
/// Returns a problem if there is no such server.
pub(super) async fn check(
    context: &Arc<SessionContext>,
    name: &str,
) -> Result<SignInCheck, Problem> {
    let server = context.config.server(name)?;
    // Reads the vault.
    context.identity.accounts().await;
    let Some(account) = account_to_keep(context, &server) else {
        return Ok(SignInCheck::Needed);
    };
    let tested = tokio::time::timeout(TIMEOUT, probe::test(context, &server)).await;
    // The test may have shown that the tokens are rejected. Other failures are left to the sign-in.
    let is_accepted = matches!(tested, Ok(Ok(_)));
    match is_accepted && account_to_keep(context, &server).as_ref() == Some(&account) {
        true => Ok(SignInCheck::SignedIn {
            account: account_id(&account),
        }),
        false => Ok(SignInCheck::Needed),
    }
}

/// Returns the account for the server. Returns `None` if it is known to need another sign-in.
fn account_to_keep(context: &SessionContext, server: &Server) -> Option<AccountKey> {
    let target = server.target();
    let account = context.identity.account_for(&target)?.key;
    let lacks_scopes = server.challenge().is_some_and(|challenge| {
        !context
            .identity
            .missing_scopes(&target, &challenge)
            .is_empty()
    });
    let is_wanted = lacks_scopes
        || server.awaits_scopes()
        || server.state() == ServerState::SignInNeeded
        || context.sign_ins.awaits(server.name.as_str())
        || sign_in::refused_after_sign_in(&context.identity, server).is_some();
    (server.config.auth.is_interactive() && !is_wanted).then_some(account)
}
