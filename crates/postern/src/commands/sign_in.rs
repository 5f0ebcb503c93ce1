//! `postern sign-in`.

use control::api::{Request, SignInView};
use control::{CallError, Client};

use crate::cli::SignInArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal;

/// Opens the browser, by the bridge, and waits until somebody signed in there.
pub(crate) fn run(args: &SignInArgs, context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        let mut client = context.bridge().await?;
        let watching = context.connect().await?;
        let request = Request::SignIn {
            server: args.server.clone(),
        };
        let ended = tokio::select! {
            reply = client.call(&request) => reply,
            never = show_page(watching, &args.server) => match never {},
            () = shim::told_to_end() => return cancel(args, context).await,
        };
        ended?;
        let who = signed_in_as(context, &args.server).await?;
        terminal::say(format_args!("Signed in to {}{who}.", args.server));
        Ok(())
    })
}

/// Says where the page is, for a browser that does not show it. Never returns.
pub(crate) async fn show_page(client: Client, server: &str) -> std::convert::Infallible {
    if let Err(error) = follow(client, server).await {
        shim::complain(error);
    }
    // The call itself says how it ends.
    std::future::pending().await
}

async fn follow(client: Client, server: &str) -> Result<(), CallError> {
    let mut watch = client.watch().await?;
    let mut shown: Option<SignInView> = None;
    loop {
        let state = watch.next().await?;
        let waiting = state
            .sign_ins
            .into_iter()
            .find(|sign_in| sign_in.server == server);
        if let Some(page) = &waiting
            && waiting != shown
        {
            announce(page);
        }
        shown = waiting;
    }
}

fn announce(page: &SignInView) {
    match &page.browser_problem {
        None => terminal::note("Waiting for your browser. If it shows nothing, open this page:"),
        Some(problem) => terminal::note(format_args!(
            "No browser could be opened ({problem}). Open this page:"
        )),
    }
    terminal::note(format_args!("\n  {}\n", page.url));
}

async fn cancel(args: &SignInArgs, context: &Context) -> Result<(), Failure> {
    let server = args.server.clone();
    context.call(&Request::CancelSignIn { server }).await?;
    Err(control::api::Problem::new(
        control::api::ProblemKind::SignInEnded,
        "the sign-in was cancelled",
    )
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
