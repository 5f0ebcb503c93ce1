//! `postern sign-in`.

use control::api::{Request, SignInView};
use control::{CallError, Client};

use super::sign_out;
use crate::cli::SignInArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal;

/// Opens the browser, by the bridge, and waits until somebody signed in there.
pub(crate) fn run(args: &SignInArgs, context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        let mut client = context.bridge().await?;
        let watching = context.connect().await?;
        let server = args.server.clone();
        let request = match (&args.account, args.choose) {
            (None, false) => Request::SignIn { server },
            (None, true) => Request::SwitchAccount {
                server,
                account: None,
            },
            (Some(name), _) => {
                let accounts = context.state().await?.accounts;
                let account = Some(sign_out::named(name, &accounts)?.id);
                Request::SwitchAccount { server, account }
            }
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
            terminal::note(announcement(page, shown.as_ref()));
        }
        shown = waiting;
    }
}

/// Where the page is, said once, and why no browser shows it.
fn announcement(page: &SignInView, shown: Option<&SignInView>) -> String {
    let is_shown = shown.is_some_and(|shown| shown.url == page.url);
    match &page.browser_problem {
        Some(problem) if is_shown => {
            format!("No browser could be opened ({problem}). Open the page above.")
        }
        Some(problem) => format!(
            "No browser could be opened ({problem}). Open this page:\n\n  {}\n",
            page.url
        ),
        None => format!(
            "Waiting for your browser. If it shows nothing, open this page:\n\n  {}\n",
            page.url
        ),
    }
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

#[cfg(test)]
mod tests {
    use control::api::SignInView;

    use super::announcement;

    #[test]
    fn the_page_is_named_once_and_so_is_what_keeps_the_browser_from_it() {
        let page = SignInView {
            server: "snippets".into(),
            url: "https://login.example/a".into(),
            browser_problem: None,
            since: 0,
        };
        let failed = SignInView {
            browser_problem: Some("`x` could not be started".into()),
            ..page.clone()
        };
        let first = announcement(&page, None);
        assert!(first.contains("\n  https://login.example/a\n"), "{first}");
        let then = announcement(&failed, Some(&page));
        assert!(then.contains("`x`") && !then.contains("https"), "{then}");
        let late = announcement(&failed, None);
        assert!(late.contains("`x`") && late.contains("https"), "{late}");
    }
}
