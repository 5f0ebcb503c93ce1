//! Starts and runs sign-ins.
//!
//! Does not own: the state of the running ones (`pending_sign_ins`).
//!
//! Invariants: no sign-in starts by itself while the server rejects the tokens of the last one.
//! Lists, probes and timers never start one.

mod attempt;
mod context;

use std::sync::Arc;

use auth::{Account, AccountSelection, Identity};
use control::api::{Problem, ProblemKind, SignInWay};

use crate::pending_sign_ins::{Begun, ElicitationSender, OngoingSignIn, SignInTrigger};
use crate::registry::Server;
use crate::{problem, server_problem};
pub(crate) use context::SignInContext;

/// Starts a sign-in, or joins the running one. Returns `None` if `trigger` may not start one.
///
/// If `sender` is set, its host is asked to show the page, and no browser is opened.
pub(crate) fn begin(
    context: &Arc<SignInContext>,
    server: &Arc<Server>,
    trigger: SignInTrigger,
    sender: Option<ElicitationSender>,
) -> Option<OngoingSignIn> {
    begin_as(context, server, trigger, AccountSelection::Last, sender)
}

fn begin_as(
    context: &Arc<SignInContext>,
    server: &Arc<Server>,
    trigger: SignInTrigger,
    selection: AccountSelection,
    sender: Option<ElicitationSender>,
) -> Option<OngoingSignIn> {
    let now = context.clock.unix();
    let is_refused = || refused_after_sign_in(&context.identity, server).is_some();
    let begun = context
        .sign_ins
        .begin(server, trigger, sender, now, is_refused);
    let started = match begun {
        Begun::Denied => return None,
        Begun::Joined { ongoing, reopen } => {
            if let Some(page) = reopen {
                attempt::reopen(context, server, page);
            }
            return Some(ongoing);
        }
        Begun::Started(started) => started,
    };
    let ongoing = started.ongoing();
    let (shared, server) = (Arc::clone(context), Arc::clone(server));
    let running = started.run(async move |plans, cancel| {
        attempt::run(&shared, &server, selection, plans, cancel).await
    });
    context.background.spawn(running);
    Some(ongoing)
}

/// Returns why no sign-in starts by itself: the server rejects the tokens of the last one. Returns
/// `None` otherwise.
pub(crate) fn refused_after_sign_in(identity: &Identity, server: &Server) -> Option<Problem> {
    let account = identity.account_for(&server.target());
    server.refusal_after_sign_in(account.map(|account| account.key).as_ref())
}

/// Starts or joins a sign-in and waits for its result.
pub(crate) async fn until_end(
    context: &Arc<SignInContext>,
    server: &Arc<Server>,
    trigger: SignInTrigger,
) -> Result<(), Problem> {
    ended(server, begin(context, server, trigger, None)).await
}

/// Signs in to the server with another account: `account`, or the one that the user chooses.
pub(crate) async fn switch(
    context: &Arc<SignInContext>,
    server: &Arc<Server>,
    account: Option<Account>,
    way: SignInWay,
) -> Result<(), Problem> {
    let selection = match account {
        None => AccountSelection::Prompt,
        Some(account) => {
            let target = server.target();
            let switched = context.identity.switch_account(&target, &account.key).await;
            if switched.map_err(|error| server_problem::from_authorization(server, &error))? {
                server.allow_sign_ins_again();
                server.signed_in(&account.key);
                context.notifications.accounts_changed();
                context.notifications.state_changed();
                return Ok(());
            }
            let issuer = account.key.issuer;
            let username = account.username;
            username.map_or(AccountSelection::Prompt, |username| {
                AccountSelection::Named { username, issuer }
            })
        }
    };
    if context.sign_ins.awaits(server.name.as_str()) {
        let text = "a sign-in to the server waits for the browser already";
        return Err(
            Problem::new(ProblemKind::InUse, text).with_hint("finish or cancel that one first")
        );
    }
    let begun = begin_as(context, server, SignInTrigger::User(way), selection, None);
    ended(server, begun).await
}

async fn ended(server: &Server, begun: Option<OngoingSignIn>) -> Result<(), Problem> {
    let Some(begun) = begun else {
        return Err(problem::sign_in_needed(&server.name));
    };
    begun.outcome().await.into_result(|| cancelled(server))
}

/// The user cancelled the sign-in.
pub(crate) fn cancelled(server: &Server) -> Problem {
    Problem::new(ProblemKind::SignInEnded, "the sign-in was cancelled").with_hint(format!(
        "start it again from the tray menu or with `postern sign-in {}`",
        server.name
    ))
}
