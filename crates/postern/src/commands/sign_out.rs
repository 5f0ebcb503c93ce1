//! `postern sign-out`.

use control::api::{AccountView, Request};

use crate::cli::SignOutArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal;

/// Forgets one account's tokens, or everybody's.
pub(crate) fn run(args: SignOutArgs, context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        let accounts = context.state().await?.accounts;
        if args.account.is_none() && accounts.is_empty() {
            terminal::say("Nobody is signed in.");
            return Ok(());
        }
        let account = if args.all {
            None
        } else {
            match (args.account, accounts.as_slice()) {
                (None, [only]) => Some(only.clone()),
                (None, several) => return Err(ambiguous(several)),
                (Some(name), all) => Some(named(&name, all)?),
            }
        };
        let who = account
            .as_ref()
            .map_or("everybody", |account| shown(account))
            .to_owned();
        let account = account.map(|account| account.id);
        let everywhere = args.everywhere;
        let request = Request::SignOut {
            account,
            everywhere,
        };
        context.call(&request).await?;
        terminal::say(format_args!("Signed out {who}."));
        Ok(())
    })
}

/// By id, user name or name.
pub(super) fn named(name: &str, accounts: &[AccountView]) -> Result<AccountView, Failure> {
    let is_named = |account: &&AccountView| {
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
    let found: Vec<_> = accounts.iter().filter(is_named).cloned().collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::new(format_args!(
            "nobody called `{name}` is signed in; hint: `postern status` lists the accounts"
        ))),
        several => Err(ambiguous(several)),
    }
}

fn ambiguous(accounts: &[AccountView]) -> Failure {
    let ids: Vec<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
    Failure::usage(
        "several accounts are signed in",
        &format!("name one of {}, or say --all", ids.join(", ")),
    )
}

pub(super) fn shown(account: &AccountView) -> &str {
    account
        .username
        .as_deref()
        .or(account.name.as_deref())
        .unwrap_or(&account.id)
}

#[cfg(test)]
mod tests {
    use control::api::{AccountState, AccountView};

    use super::named;

    #[test]
    fn an_account_is_found_by_any_of_its_names_if_only_one_has_it() {
        let account = |id: &str, username: &str| AccountView {
            id: id.to_owned(),
            issuer: "https://login.example".to_owned(),
            name: Some("Adele".to_owned()),
            username: Some(username.to_owned()),
            state: AccountState::SignedIn,
        };
        let all = [
            account("1", "adele@a.example"),
            account("2", "adele@b.example"),
        ];
        assert_eq!(named("ADELE@b.example", &all).unwrap().id, "2");
        assert_eq!(named("1", &all).unwrap().id, "1");
        assert!(
            named("adele", &all)
                .unwrap_err()
                .to_string()
                .contains("1, 2")
        );
        assert!(
            named("grady", &all)
                .unwrap_err()
                .to_string()
                .contains("postern status")
        );
    }
}
