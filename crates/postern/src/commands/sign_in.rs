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

/// Has the bridge open the browser, or shows what to do without one, and waits until the sign-in
/// completes.
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
        let reads_callback_url = way != SignInWay::Local
            && way != SignInWay::DeviceCode
            && (args.paste || terminal::is_interactive());
        let can_approve = terminal::is_interactive();
        let announcer = Announcer {
            server: args.server.clone(),
            reads_callback_url: (way != SignInWay::Local).then_some(reads_callback_url),
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
        let suffix = account_suffix(context, &args.server).await?;
        terminal::print(format_args!("Signed in to {}{suffix}.", args.server));
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

/// Returns how to deliver the sign-in page, from the arguments and the environment.
fn way(args: &SignInArgs, context: &Context) -> SignInWay {
    if args.device_code {
        return SignInWay::DeviceCode;
    }
    if args.paste {
        return SignInWay::Manual;
    }
    let environment = &context.environment;
    let command = environment.browser.as_deref();
    match browser::may_open(command, environment.surroundings()) {
        Ok(()) => SignInWay::Local,
        Err(why) => {
            terminal::note(format_args!("No browser is opened: {why}."));
            SignInWay::Remote
        }
    }
}

/// Prints the page's URL, in case the browser does not show the page. Never returns.
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

/// The question to answer at the terminal, if any.
type PendingApproval = Option<ApprovalView>;

async fn show(
    watch: Watch,
    first: Option<SignInView>,
    announcer: &Announcer,
    pending: watch::Sender<PendingApproval>,
) -> std::convert::Infallible {
    wait_for_call(announce_pages(watch, first, announcer, Some(&pending)).await).await
}

/// Prints an error of the announcements, then waits forever. The sign-in call itself ends the
/// command.
async fn wait_for_call(shown: Result<(), CallError>) -> std::convert::Infallible {
    match shown {
        // The call reports that too.
        Ok(()) | Err(CallError::Hung(_)) => {}
        Err(error) => shim::print_error(error),
    }
    std::future::pending().await
}

/// Prints the page of the sign-in to the server, starting with `next`, whenever it changes. Sets
/// `pending` to the question to answer at the terminal.
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

/// Waits for the next state, and returns its sign-in to the server, if any.
async fn next_sign_in(watch: &mut Watch, server: &str) -> Result<Option<SignInView>, CallError> {
    let mut sign_ins = watch.next().await?.sign_ins.into_iter();
    Ok(sign_ins.find(|sign_in| sign_in.server == server))
}

/// Sends every typed line to the sign-in: as the answer to the pending question, if any, otherwise as
/// the callback URL from a browser. Never returns.
async fn read_lines(
    context: &Context,
    server: &str,
    question: &watch::Receiver<PendingApproval>,
    reads_callback_url: bool,
) -> std::convert::Infallible {
    let mut asked = question.clone();
    let mut is_answered = false;
    // Reads only when needed: a background process is stopped when it reads from its terminal.
    while reads_callback_url || asked.wait_for(Option::is_some).await.is_ok() {
        let line = terminal::line().await;
        let (server, is_end) = (server.to_owned(), line.is_none());
        // Each question is answered once: the bridge may take a while to remove it from the state.
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
            // Any other line and the end of the input decline.
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
        "start another one with `postern sign-in {}`",
        args.server
    ))
    .into())
}

/// Returns ` as ACCOUNT` for the account that the server uses, or nothing if there is none.
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
        .map_or(String::new(), |account| format!(" as {account}")))
}
