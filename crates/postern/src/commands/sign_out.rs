//! `postern sign-out`.

use control::api::{AccountView, Request, State};

use crate::cli::SignOutArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::terminal;

/// Forgets one account's tokens, or everybody's.
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
                let place = server.map_or(String::new(), |server| format!(" to {server}"));
                terminal::print(format_args!("Nobody is signed in{place}."));
                return Ok(());
            }
            SignOutTarget::All => (None, "everybody".to_owned()),
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

/// Who is to be signed out.
#[derive(Debug, PartialEq)]
enum SignOutTarget {
    All,
    Account(AccountView),
    /// Nobody is signed in, or nobody to this server.
    None(Option<String>),
}

/// The account of that id, user name or name, or the one that opens the server of that name. If
/// none is named, the only one.
///
/// # Errors
///
/// If there is nothing of that name, or several accounts are meant.
fn target(name: Option<&str>, state: &State) -> Result<SignOutTarget, CliError> {
    let accounts = &state.accounts;
    let Some(name) = name else {
        return match accounts.as_slice() {
            [] => Ok(SignOutTarget::None(None)),
            [only] => Ok(SignOutTarget::Account(only.clone())),
            several => Err(CliError::usage(
                "several accounts are signed in",
                &format!(
                    "name a server that the account opens, or one of {}, or say --all",
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
                "no account and no server is called `{name}`; hint: `postern status` lists both"
            ))),
            false => Ok(SignOutTarget::Account(only(name, matching)?)),
        };
    };
    let id = server.account.as_ref();
    let opener = accounts.iter().find(|account| Some(&account.id) == id);
    let mut meant = matching(name, accounts);
    meant.retain(|account| Some(&account.id) != id);
    match (opener, meant.as_slice()) {
        (Some(account), []) => Ok(SignOutTarget::Account(account.clone())),
        (None, []) if id.is_some() => Err(CliError::new(format_args!(
            "no account opens {name}: Postern signs in there by itself; hint: take `auth` out of [servers.{name}] in config.toml to end that"
        ))),
        (None, []) => Ok(SignOutTarget::None(Some(name.to_owned()))),
        (_, others) => Err(CliError::usage(
            format!("`{name}` is a server and an account that does not open it"),
            &match opener {
                Some(opener) => format!(
                    "name the account that is meant: {}, which opens the server, or {}",
                    opener.id,
                    ids(others)
                ),
                None => format!(
                    "nobody is signed in to the server; for the account, say {}",
                    ids(others)
                ),
            },
        )),
    }
}

/// The account of that id, user name or name.
///
/// # Errors
///
/// If there is none, or several have it.
pub(super) fn find_account(name: &str, accounts: &[AccountView]) -> Result<AccountView, CliError> {
    let matching = matching(name, accounts);
    match matching.is_empty() {
        true => Err(CliError::new(format_args!(
            "nobody called `{name}` is signed in; hint: `postern status` lists the accounts"
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
            format!("several accounts are called `{name}`"),
            &format!("name one of {}", ids(&several)),
        )),
    }
}

fn ids(accounts: &[AccountView]) -> String {
    let ids: Vec<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
    ids.join(", ")
}

/// The account, and every server that it opened.
fn describe(account: &AccountView, state: &State) -> String {
    let servers = state.servers.iter();
    let opened = servers.filter(|server| server.account.as_ref() == Some(&account.id));
    let opened: Vec<&str> = opened.map(|server| server.name.as_str()).collect();
    match opened.is_empty() {
        true => display_name(account).to_owned(),
        false => format!("{} of {}", display_name(account), opened.join(", ")),
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
