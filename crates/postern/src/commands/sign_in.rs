//! `postern sign-in`.

mod announcement;
mod signed_in;

use bridge::browser;
use control::api::{ApprovalView, BrowserAnswer, Request, SignInView, SignInWay};
use control::{CallError, Client, Watch};
use tokio::sync::watch;

use super::sign_out;
use crate::cli::SignInArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::terminal;
use announcement::{Announcer, Requested};
use signed_in::SignInAgain;

/// Opens the browser, by the bridge, or shows what to do without one, and waits until somebody
/// signed in there.
pub(crate) fn run(args: &SignInArgs, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        let select_account = match signed_in::ask_to_sign_in_again(args, context).await? {
            SignInAgain::No => return Ok(()),
            SignInAgain::Yes => true,
            SignInAgain::NotAsked => args.select_account,
        };
        let way = way(args, context);
        let mut client = context.bridge().await?;
        let mut watch = context.connect().await?.watch().await?;
        let before = next_sign_in(&mut watch, &args.server).await?;
        let request = request(args, select_account, way, context).await?;
        let reads_callback_url = way != SignInWay::Here
            && way != SignInWay::Code
            && (args.paste || terminal::is_interactive());
        let can_approve = terminal::is_interactive();
        let announcer = Announcer {
            server: args.server.clone(),
            reads_callback_url: (way != SignInWay::Here).then_some(reads_callback_url),
            can_approve,
            machine: context.environment.ssh_server().map(str::to_owned),
            requested: Some(Requested {
                joins: matches!(request, Request::SignIn { .. }).then_some(way),
                before: before.clone(),
            }),
        };
        let (pending, question) = watch::channel(None);
        let ended = tokio::select! {
            reply = client.call(&request) => reply,
            never = show(watch, before, &announcer, pending) => match never {},
            never = read_lines(context, &args.server, &question, reads_callback_url), if reads_callback_url || can_approve => match never {},
            () = shim::termination_signal() => return cancel(args, context).await,
        };
        ended?;
        let who = account_suffix(context, &args.server).await?;
        terminal::print(format_args!("Signed in to {}{who}.", args.server));
        Ok(())
    })
}

async fn request(
    args: &SignInArgs,
    select_account: bool,
    way: SignInWay,
    context: &Context,
) -> Result<Request, CliError> {
    let server = args.server.clone();
    let account = match (&args.account, select_account) {
        (None, false) => return Ok(Request::SignIn { server, way }),
        (None, true) => None,
        (Some(name), _) => {
            let accounts = context.state().await?.accounts;
            Some(sign_out::find_account(name, &accounts)?.id)
        }
    };
    Ok(Request::SwitchAccount {
        server,
        account,
        way,
    })
}

/// Where whoever typed the command has a browser.
fn way(args: &SignInArgs, context: &Context) -> SignInWay {
    if args.device_code {
        return SignInWay::Code;
    }
    if args.paste {
        return SignInWay::Page;
    }
    let environment = &context.environment;
    let command = environment.browser.as_deref();
    match browser::may_open(command, environment.surroundings()) {
        Ok(()) => SignInWay::Here,
        Err(why) => {
            terminal::note(format_args!("No browser is opened: {why}."));
            SignInWay::Elsewhere
        }
    }
}

/// Says where the page is, for a browser that does not show it. Never returns.
pub(crate) async fn show_page(client: Client, server: &str) -> std::convert::Infallible {
    let announcer = Announcer {
        server: server.to_owned(),
        reads_callback_url: None,
        can_approve: false,
        machine: None,
        requested: None,
    };
    let shown = async {
        let mut watch = client.watch().await?;
        let first = next_sign_in(&mut watch, server).await?;
        announce_pages(watch, first, &announcer, None).await
    };
    wait_for_call(shown.await).await
}

/// A question that waits for an answer at the terminal.
type PendingApproval = Option<ApprovalView>;

async fn show(
    watch: Watch,
    first: Option<SignInView>,
    announcer: &Announcer,
    pending: watch::Sender<PendingApproval>,
) -> std::convert::Infallible {
    wait_for_call(announce_pages(watch, first, announcer, Some(&pending)).await).await
}

/// Waits for the call itself, which says how it ends.
async fn wait_for_call(shown: Result<(), CallError>) -> std::convert::Infallible {
    match shown {
        // The call says that too.
        Ok(()) | Err(CallError::Hung(_)) => {}
        Err(error) => shim::print_error(error),
    }
    std::future::pending().await
}

/// Announces the page of the sign-in to that server, now `next`, whenever there is another one,
/// and tells `pending` which question waits.
async fn announce_pages(
    mut watch: Watch,
    mut next: Option<SignInView>,
    announcer: &Announcer,
    pending: Option<&watch::Sender<PendingApproval>>,
) -> Result<(), CallError> {
    let mut shown: Option<SignInView> = None;
    loop {
        next = next.filter(|page| announcer.is_current(page));
        if let Some(pending) = pending {
            let question = next.as_ref().and_then(|page| page.approval.clone());
            let question = question.filter(|question| !question.on_page);
            pending.send_if_modified(|pending| {
                let is_other = *pending != question;
                *pending = question;
                is_other
            });
        }
        if let Some(page) = &next
            && next != shown
        {
            terminal::note(announcer.announcement(page, shown.as_ref()));
        }
        shown = next;
        next = next_sign_in(&mut watch, &announcer.server).await?;
    }
}

/// The page of the sign-in to that server in the next state, if one waits.
async fn next_sign_in(watch: &mut Watch, server: &str) -> Result<Option<SignInView>, CallError> {
    let mut sign_ins = watch.next().await?.sign_ins.into_iter();
    Ok(sign_ins.find(|sign_in| sign_in.server == server))
}

/// Brings every line that is typed to the sign-in: as the answer to the question that waits, if
/// one does, else as the address that a browser ended on. Never returns.
async fn read_lines(
    context: &Context,
    server: &str,
    question: &watch::Receiver<PendingApproval>,
    reads_callback_url: bool,
) -> std::convert::Infallible {
    let mut asked = question.clone();
    let mut is_answered = false;
    // What runs in the background is stopped if it reads from its terminal for no reason.
    while reads_callback_url || asked.wait_for(Option::is_some).await.is_ok() {
        let line = terminal::line().await;
        let (server, is_end) = (server.to_owned(), line.is_none());
        // A question is answered once: the bridge may take a while to ask for nothing more.
        is_answered &= !asked.has_changed().unwrap_or_default();
        let pending = asked.borrow_and_update().clone();
        let pending = pending.filter(|_| terminal::is_interactive());
        let is_known = pending.is_some() && std::mem::replace(&mut is_answered, true);
        let request = match (pending, line) {
            (Some(_), Some(_)) if is_known => continue,
            (Some(_), None) if is_known => break,
            (Some(pending), Some(line)) if terminal::is_yes(&line) => Request::ApproveResource {
                server,
                resource: pending.resource,
                audience: pending.audience,
            },
            // The end of the input is no yes either.
            (Some(_), _) => Request::CancelSignIn { server },
            (None, None) => break,
            (None, Some(line)) if line.trim().is_empty() || !reads_callback_url => continue,
            (None, Some(line)) => Request::FinishSignIn {
                server,
                address: BrowserAnswer::from(line),
            },
        };
        if let Err(failure) = context.call(&request).await {
            terminal::note(failure);
        }
        if is_end {
            break;
        }
    }
    std::future::pending().await
}

async fn cancel(args: &SignInArgs, context: &Context) -> Result<(), CliError> {
    let server = args.server.clone();
    context.call(&Request::CancelSignIn { server }).await?;
    Err(control::api::Problem::new(
        control::api::ProblemKind::SignInEnded,
        "the sign-in was cancelled",
    )
    .with_hint(format!(
        "`postern sign-in {}` begins another one",
        args.server
    ))
    .into())
}

async fn account_suffix(context: &Context, server: &str) -> Result<String, CliError> {
    let state = context.state().await?;
    let id = state
        .servers
        .into_iter()
        .find(|view| view.name == server)
        .and_then(|view| view.account);
    let account = state
        .accounts
        .into_iter()
        .find(|account| Some(&account.id) == id.as_ref());
    Ok(account
        .and_then(|account| account.username.or(account.name))
        .map_or(String::new(), |who| format!(" as {who}")))
}
