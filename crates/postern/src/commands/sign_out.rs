//! `postern sign-out`.

use control::api::{AccountView, Request, State};

use crate::cli::SignOutArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::terminal;

/// Deletes and revokes the tokens of one account, or of all accounts.
pub(crate) fn run(args: &SignOutArgs, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        let state = context.state().await?;
        let target = match args.all {
            true if !state.accounts.is_empty() => SignOutTarget::All,
            true => SignOutTarget::None(None),
            false => target(args.name.as_deref(), &state)?,
        };
        let (account, description) = match target {
            SignOutTarget::None(server) => {
                let suffix = server.map_or(String::new(), |server| format!(" to {server}"));
                terminal::print(format_args!("No account is signed in{suffix}."));
                return Ok(());
            }
            SignOutTarget::All => (None, "all accounts".to_owned()),
            SignOutTarget::Account(account) => {
                let description = describe(&account, &state);
                (Some(account.id), description)
            }
        };
        let request = Request::SignOut {
            account,
            everywhere: args.end_browser_session,
        };
        context.call(&request).await?;
        terminal::print(format_args!("Signed out {description}."));
        Ok(())
    })
}

/// The accounts to sign out.
#[derive(Debug, PartialEq)]
enum SignOutTarget {
    All,
    Account(AccountView),
    /// No account is signed in, or none to this server.
    None(Option<String>),
}

/// Finds the account with this ID, username or name, or the account of the server with this name.
/// Without a name, returns the only account.
///
/// # Errors
///
/// If nothing has this name, or several accounts match.
fn target(name: Option<&str>, state: &State) -> Result<SignOutTarget, CliError> {
    let accounts = &state.accounts;
    let Some(name) = name else {
        return match accounts.as_slice() {
            [] => Ok(SignOutTarget::None(None)),
            [only] => Ok(SignOutTarget::Account(only.clone())),
            several => Err(CliError::usage(
                "several accounts are signed in",
                &format!(
                    "name a server of the account, or one of {}, or add --all",
                    ids(several)
                ),
            )),
        };
    };
    let server = state.servers.iter().find(|server| server.name == name);
    let Some(server) = server else {
        let matching = matching(name, accounts);
        return match matching.is_empty() {
            true => Err(CliError::new(format_args!(
                "no account and no server is named `{name}`; hint: `postern status` lists both"
            ))),
            false => Ok(SignOutTarget::Account(only(name, matching)?)),
        };
    };
    let id = server.account.as_ref();
    let used = accounts.iter().find(|account| Some(&account.id) == id);
    let mut others = matching(name, accounts);
    others.retain(|account| Some(&account.id) != id);
    match (used, others.as_slice()) {
        (Some(account), []) => Ok(SignOutTarget::Account(account.clone())),
        (None, []) if id.is_some() => Err(CliError::new(format_args!(
            "no account is signed in to {name}: it uses client credentials; hint: remove `auth` from [servers.{name}] in config.toml to stop that"
        ))),
        (None, []) => Ok(SignOutTarget::None(Some(name.to_owned()))),
        (_, others) => Err(CliError::usage(
            format!("`{name}` is a server and also an account that the server does not use"),
            &match used {
                Some(used) => format!(
                    "name the account: {}, which the server uses, or {}",
                    used.id,
                    ids(others)
                ),
                None => format!(
                    "no account is signed in to the server; to sign out the account, name {}",
                    ids(others)
                ),
            },
        )),
    }
}

/// Finds the account with this ID, username or name.
///
/// # Errors
///
/// If no account matches, or several do.
pub(super) fn find_account(name: &str, accounts: &[AccountView]) -> Result<AccountView, CliError> {
    let matching = matching(name, accounts);
    match matching.is_empty() {
        true => Err(CliError::new(format_args!(
            "no account named `{name}` is signed in; hint: `postern status` lists the accounts"
        ))),
        false => only(name, matching),
    }
}

fn matching(name: &str, accounts: &[AccountView]) -> Vec<AccountView> {
    let is_called = |account: &&AccountView| {
        let names = [
            Some(&account.id),
            account.username.as_ref(),
            account.name.as_ref(),
        ];
        names
            .into_iter()
            .flatten()
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    accounts.iter().filter(is_called).cloned().collect()
}

fn only(name: &str, accounts: Vec<AccountView>) -> Result<AccountView, CliError> {
    match <[AccountView; 1]>::try_from(accounts) {
        Ok([one]) => Ok(one),
        Err(several) => Err(CliError::usage(
            format!("several accounts are named `{name}`"),
            &format!("name one of {}", ids(&several)),
        )),
    }
}

fn ids(accounts: &[AccountView]) -> String {
    let ids: Vec<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
    ids.join(", ")
}

/// Returns the account's display name with the servers that use it.
fn describe(account: &AccountView, state: &State) -> String {
    let servers = state.servers.iter();
    let servers = servers.filter(|server| server.account.as_ref() == Some(&account.id));
    let servers: Vec<&str> = servers.map(|server| server.name.as_str()).collect();
    match servers.is_empty() {
        true => display_name(account).to_owned(),
        false => format!("{} of {}", display_name(account), servers.join(", ")),
    }
}

pub(super) fn display_name(account: &AccountView) -> &str {
    account
        .username
        .as_deref()
        .or(account.name.as_deref())
        .unwrap_or(&account.id)
}

#[cfg(test)]
mod tests;
