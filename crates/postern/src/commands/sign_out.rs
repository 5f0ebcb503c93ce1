//! `postern sign-out`.

use control::api::{AccountView, Request, State};

use crate::cli::SignOutArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal;

/// Forgets one account's tokens, or everybody's.
pub(crate) fn run(args: &SignOutArgs, context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        let state = context.state().await?;
        let whom = match args.all {
            true if !state.accounts.is_empty() => Whom::Everybody,
            true => Whom::Nobody(None),
            false => whom(args.name.as_deref(), &state)?,
        };
        let (account, told) = match whom {
            Whom::Nobody(server) => {
                let place = server.map_or(String::new(), |server| format!(" to {server}"));
                terminal::say(format_args!("Nobody is signed in{place}."));
                return Ok(());
            }
            Whom::Everybody => (None, "everybody".to_owned()),
            Whom::Account(account) => {
                let told = with_servers(&account, &state);
                (Some(account.id), told)
            }
        };
        let request = Request::SignOut {
            account,
            everywhere: args.everywhere,
        };
        context.call(&request).await?;
        terminal::say(format_args!("Signed out {told}."));
        Ok(())
    })
}

/// Who is to be signed out.
#[derive(Debug, PartialEq)]
enum Whom {
    Everybody,
    Account(AccountView),
    /// Nobody is signed in, or nobody to this server.
    Nobody(Option<String>),
}

/// The account of that id, user name or name, or the one that opens the server of that name. If
/// none is named, the only one.
///
/// # Errors
///
/// If there is nothing of that name, or several accounts are meant.
fn whom(name: Option<&str>, state: &State) -> Result<Whom, Failure> {
    let accounts = &state.accounts;
    let Some(name) = name else {
        return match accounts.as_slice() {
            [] => Ok(Whom::Nobody(None)),
            [only] => Ok(Whom::Account(only.clone())),
            several => Err(Failure::usage(
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
        let called = called(name, accounts);
        return match called.is_empty() {
            true => Err(Failure::new(format_args!(
                "no account and no server is called `{name}`; hint: `postern status` lists both"
            ))),
            false => Ok(Whom::Account(only(name, called)?)),
        };
    };
    let id = server.account.as_ref();
    let opener = accounts.iter().find(|account| Some(&account.id) == id);
    let mut meant = called(name, accounts);
    meant.retain(|account| Some(&account.id) != id);
    match (opener, meant.as_slice()) {
        (Some(account), []) => Ok(Whom::Account(account.clone())),
        (None, []) if id.is_some() => Err(Failure::new(format_args!(
            "no account opens {name}: Postern signs in there by itself; hint: take `auth` out of [servers.{name}] in config.toml to end that"
        ))),
        (None, []) => Ok(Whom::Nobody(Some(name.to_owned()))),
        (_, others) => Err(Failure::usage(
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
pub(super) fn named(name: &str, accounts: &[AccountView]) -> Result<AccountView, Failure> {
    let called = called(name, accounts);
    match called.is_empty() {
        true => Err(Failure::new(format_args!(
            "nobody called `{name}` is signed in; hint: `postern status` lists the accounts"
        ))),
        false => only(name, called),
    }
}

fn called(name: &str, accounts: &[AccountView]) -> Vec<AccountView> {
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

fn only(name: &str, accounts: Vec<AccountView>) -> Result<AccountView, Failure> {
    match <[AccountView; 1]>::try_from(accounts) {
        Ok([one]) => Ok(one),
        Err(several) => Err(Failure::usage(
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
fn with_servers(account: &AccountView, state: &State) -> String {
    let servers = state.servers.iter();
    let opened = servers.filter(|server| server.account.as_ref() == Some(&account.id));
    let opened: Vec<&str> = opened.map(|server| server.name.as_str()).collect();
    match opened.is_empty() {
        true => shown(account).to_owned(),
        false => format!("{} of {}", shown(account), opened.join(", ")),
    }
}

pub(super) fn shown(account: &AccountView) -> &str {
    account
        .username
        .as_deref()
        .or(account.name.as_deref())
        .unwrap_or(&account.id)
}

#[cfg(test)]
mod tests;
