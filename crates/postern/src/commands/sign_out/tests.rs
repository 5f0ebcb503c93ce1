//! Which account a name selects.

use control::api::{AccountState, AccountView, State};
use serde_json::{Value, json};

use super::{SignOutTarget, find_account, target};
use crate::error::{CliError, ExitStatus};

fn account(id: &str, username: &str) -> AccountView {
    AccountView {
        id: id.to_owned(),
        issuer: "https://login.example".to_owned(),
        name: Some("Adele".to_owned()),
        username: Some(username.to_owned()),
        state: AccountState::SignedIn,
    }
}

/// Returns the bridge's state with these accounts, and these servers with the account that each uses.
fn state(accounts: &[AccountView], servers: &[(&str, Option<&str>)]) -> State {
    let server = |&(name, account): &(&str, Option<&str>)| -> Value {
        json!({
            "name": name, "url": "https://mcp.example", "endpoint": null, "sseEndpoint": null,
            "state": { "is": "ready" }, "account": account, "tools": null, "ephemeral": false,
        })
    };
    let state = json!({
        "bridge": {
            "version": "1.0.0", "pid": 1, "http": null, "httpProblem": null,
            "configFile": "", "configProblem": null,
            "vault": { "state": "key-file", "detail": "" },
        },
        "accounts": accounts,
        "servers": servers.iter().map(server).collect::<Vec<_>>(),
        "sessions": [],
        "signIns": [],
        "serverMode": { "is": "off" },
    });
    serde_json::from_value(state).unwrap()
}

fn error(outcome: Result<SignOutTarget, CliError>) -> (ExitStatus, String) {
    let failure = outcome.unwrap_err();
    (failure.exit(), failure.to_string())
}

#[test]
fn account_is_found_by_any_unique_name() {
    let all = [
        account("1", "adele@a.example"),
        account("2", "adele@b.example"),
    ];
    assert_eq!(find_account("ADELE@b.example", &all).unwrap().id, "2");
    assert_eq!(find_account("1", &all).unwrap().id, "1");
    assert_eq!(
        find_account("adele", &all).unwrap_err().to_string(),
        "several accounts are named `adele`\nhint: name one of 1, 2"
    );
    assert!(
        find_account("grady", &all)
            .unwrap_err()
            .to_string()
            .contains("postern status")
    );
}

#[test]
fn server_name_selects_account_that_it_uses() {
    let accounts = [account("1", "adele@a.example"), account("2", "crm")];
    let state = state(
        &accounts,
        &[("notes", Some("2")), ("crm", Some("2")), ("wiki", None)],
    );
    let second = SignOutTarget::Account(accounts[1].clone());
    assert_eq!(target(Some("notes"), &state).unwrap(), second);
    // The account with the same name is that of the server.
    assert_eq!(target(Some("crm"), &state).unwrap(), second);
    let none = SignOutTarget::None(Some("wiki".to_owned()));
    assert_eq!(target(Some("wiki"), &state).unwrap(), none);
    let first = SignOutTarget::Account(accounts[0].clone());
    assert_eq!(target(Some("adele@a.example"), &state).unwrap(), first);
}

#[test]
fn name_of_server_and_another_account_is_ambiguous() {
    let accounts = [account("1", "adele@a.example"), account("2", "crm")];
    let opened = state(&accounts, &[("crm", Some("1"))]);
    assert_eq!(
        error(target(Some("crm"), &opened)),
        (
            ExitStatus::Usage,
            "`crm` is a server and also an account that the server does not use\n\
             hint: name the account: 1, which the server uses, or 2"
                .to_owned()
        )
    );
    let unopened = state(&accounts, &[("crm", None)]);
    assert_eq!(
        error(target(Some("crm"), &unopened)),
        (
            ExitStatus::Usage,
            "`crm` is a server and also an account that the server does not use\n\
             hint: no account is signed in to the server; to sign out the account, name 2"
                .to_owned()
        )
    );
}

#[test]
fn server_with_client_credentials_has_no_account_to_sign_out() {
    let state = state(&[], &[("nightly", Some("the-program"))]);
    let (exit, text) = error(target(Some("nightly"), &state));
    assert_eq!(exit, ExitStatus::Failed);
    assert!(text.contains("[servers.nightly]"), "{text}");
}

#[test]
fn several_accounts_require_name() {
    let accounts = [account("1", "a"), account("2", "b")];
    let (exit, text) = error(target(None, &state(&accounts, &[])));
    assert_eq!(exit, ExitStatus::Usage);
    assert!(text.contains("1, 2") && text.contains("--all"), "{text}");
    let only = state(&accounts[..1], &[]);
    assert_eq!(
        target(None, &only).unwrap(),
        SignOutTarget::Account(accounts[0].clone())
    );
    assert_eq!(
        target(None, &state(&[], &[])).unwrap(),
        SignOutTarget::None(None)
    );
}
