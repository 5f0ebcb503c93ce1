//! `postern sign-in`.

mod announcement;

use bridge::browser;
use control::api::{BrowserAnswer, Request, SignInView, SignInWay};
use control::{CallError, Client};

use super::sign_out;
use crate::cli::SignInArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal;
use announcement::Announcer;

/// Opens the browser, by the bridge, or shows what to do without one, and waits until somebody
/// signed in there.
pub(crate) fn run(args: &SignInArgs, context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        let way = way(args, context);
        let mut client = context.bridge().await?;
        let watching = context.connect().await?;
        let request = request(args, way, context).await?;
        let reads_address = way != SignInWay::Here
            && way != SignInWay::Code
            && (args.paste || terminal::is_there());
        let announcer = Announcer {
            server: args.server.clone(),
            reads_address: (way != SignInWay::Here).then_some(reads_address),
            machine: context.environment.ssh_server().map(str::to_owned),
        };
        let ended = tokio::select! {
            reply = client.call(&request) => reply,
            never = show(watching, &announcer) => match never {},
            never = bring_addresses(context, &args.server), if reads_address => match never {},
            () = shim::told_to_end() => return cancel(args, context).await,
        };
        ended?;
        let who = signed_in_as(context, &args.server).await?;
        terminal::say(format_args!("Signed in to {}{who}.", args.server));
        Ok(())
    })
}

async fn request(args: &SignInArgs, way: SignInWay, context: &Context) -> Result<Request, Failure> {
    let server = args.server.clone();
    let account = match (&args.account, args.choose) {
        (None, false) => return Ok(Request::SignIn { server, way }),
        (None, true) => None,
        (Some(name), _) => {
            let accounts = context.state().await?.accounts;
            Some(sign_out::named(name, &accounts)?.id)
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
    if args.device {
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
        reads_address: None,
        machine: None,
    };
    show(client, &announcer).await
}

async fn show(client: Client, announcer: &Announcer) -> std::convert::Infallible {
    if let Err(error) = follow(client, announcer).await {
        shim::complain(error);
    }
    // The call itself says how it ends.
    std::future::pending().await
}

async fn follow(client: Client, announcer: &Announcer) -> Result<(), CallError> {
    let mut watch = client.watch().await?;
    let mut shown: Option<SignInView> = None;
    loop {
        let state = watch.next().await?;
        let waiting = state
            .sign_ins
            .into_iter()
            .find(|sign_in| sign_in.server == announcer.server);
        if let Some(page) = &waiting
            && waiting != shown
        {
            terminal::note(announcer.announcement(page, shown.as_ref()));
        }
        shown = waiting;
    }
}

/// Brings every line that is typed to the sign-in, as the address that a browser ended on, until
/// one will do. Never returns.
async fn bring_addresses(context: &Context, server: &str) -> std::convert::Infallible {
    while let Some(line) = terminal::line().await {
        if line.trim().is_empty() {
            continue;
        }
        let request = Request::FinishSignIn {
            server: server.to_owned(),
            address: BrowserAnswer::from(line),
        };
        if let Err(failure) = context.call(&request).await {
            terminal::note(failure);
        }
    }
    std::future::pending().await
}

async fn cancel(args: &SignInArgs, context: &Context) -> Result<(), Failure> {
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

async fn signed_in_as(context: &Context, server: &str) -> Result<String, Failure> {
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
