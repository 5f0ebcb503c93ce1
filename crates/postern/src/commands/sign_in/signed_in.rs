//! `postern sign-in` for a server that already accepts an account.

use control::api::{Reply, Request, SignInCheck};

use crate::cli::SignInArgs;
use crate::commands::sign_out::display_name;
use crate::context::{Context, unexpected};
use crate::error::CliError;
use crate::terminal;

/// Whether the user wants to sign in again.
pub(super) enum SignInAgain {
    /// A sign-in is needed, or the arguments select the account.
    NotAsked,
    /// The user wants to sign in again.
    Yes,
    /// The user keeps the account, or there is no terminal to ask at.
    No,
}

/// If the server already accepts an account, prints that and asks whether to sign in again. Without a
/// terminal, prints the command that signs in again.
pub(super) async fn ask_to_sign_in_again(
    args: &SignInArgs,
    context: &Context,
) -> Result<SignInAgain, CliError> {
    if args.select_account || args.account.is_some() {
        return Ok(SignInAgain::NotAsked);
    }
    let server = args.server.clone();
    let account = match context.call(&Request::CheckSignIn { server }).await? {
        Reply::SignInCheck(SignInCheck::Needed) => return Ok(SignInAgain::NotAsked),
        Reply::SignInCheck(SignInCheck::SignedIn { account }) => account,
        other => return Err(unexpected(&other)),
    };
    let server = &args.server;
    let accounts = context.state().await?.accounts;
    let account = accounts.iter().find(|known| known.id == account);
    let suffix = account.map_or(String::new(), |account| {
        format!(" as {}", display_name(account))
    });
    terminal::print(format_args!("Already signed in to {server}{suffix}."));
    match terminal::confirm("Sign in again, or as another account?") {
        Some(true) => Ok(SignInAgain::Yes),
        Some(false) => Ok(SignInAgain::No),
        None => {
            terminal::note(format_args!(
                "hint: `postern sign-in {server} --select-account{}` signs in again or as another account",
                match (args.device_code, args.paste) {
                    (true, _) => " --device-code",
                    (false, true) => " --paste",
                    (false, false) => "",
                }
            ));
            Ok(SignInAgain::No)
        }
    }
}
