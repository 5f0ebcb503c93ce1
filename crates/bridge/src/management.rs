//! The management API: the `control` socket, and what each request does.
//!
//! Owns: serving [`control::api`]. Does not own: what is behind it. It is never part of the
//! endpoints that hosts reach.

mod consents;
mod hosts;
mod import;
mod secrets;
mod signed_in;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use auth::Account;
use control::Answer;
use control::api::{HostId, Problem, ProblemKind, Reply, Request, SignInWay};
use control::hello::{self, LONGEST_LINE, Wants};
use control::lines::Lines;
use control::socket::{Listener, Reader, Stream, Writer, split};
use futures_util::TryFutureExt;
use model::config::ServerConfig;
use model::{EndpointUrl, ServerName};
use threads::aside;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::bridge_state::{Hub, account_id};
use crate::registry::Server;
use crate::sign_in::{self, Wish};
use hosts::{apply, host_view, plan_add, plan_remove, shown};

use crate::{config_file, doctor, endpoint, inspection, probe, problem};

/// How many requests of a client may wait for their turn before it is left unread.
const MOST_AHEAD: usize = 16;

/// For how long changes are gathered before a client that watches gets the state with all of them:
/// short enough for a person, and a burst of sessions costs ten states a second at most.
const GATHER_TIME: Duration = Duration::from_millis(100);

/// Takes clients in until the socket breaks.
pub(crate) async fn serve(hub: &Arc<Hub>, listener: &mut Listener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let hub = Arc::clone(hub);
        hub.clone().spawn(async move {
            let served = tokio::select! {
                // Nobody is let in at the end.
                biased;
                () = hub.shutdown.cancelled() => Ok(()),
                served = converse(&hub, stream) => served,
            };
            if let Err(error) = served {
                tracing::debug!(%error, "a client's connection broke");
            }
        });
    }
}

async fn converse(hub: &Arc<Hub>, stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = split(stream)?;
    let mut lines = Lines::new(reader, LONGEST_LINE);
    let Some(hello) = endpoint::hello(&mut lines).await? else {
        return Ok(());
    };
    endpoint::welcome(hub, &mut writer, None).await?;
    let Wants::Control { desktop } = hello.wants else {
        return Ok(());
    };
    let _attached = hub.attach(desktop);
    let mut ahead = VecDeque::new();
    loop {
        let line = match ahead.pop_front() {
            Some(line) => line,
            None => match lines.next().await? {
                Some(line) => line,
                None => return Ok(()),
            },
        };
        let request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let text = format!("this bridge does not know that request: {error}");
                let problem = Problem::new(ProblemKind::Invalid, text)
                    .with_hint("use the same version of both");
                hello::send(&mut writer, &Answer::Problem(problem)).await?;
                continue;
            }
        };
        if matches!(request, Request::Watch) {
            return watch(hub, &mut lines, &mut writer).await;
        }
        let last = is_last(&request);
        let mut answered = begin(hub, request);
        let answer = loop {
            tokio::select! {
                answer = &mut answered => break answer,
                line = lines.next(), if ahead.len() < MOST_AHEAD => match line? {
                    Some(line) => ahead.push_back(line),
                    None => break Err(Gone),
                },
            }
        };
        match answer {
            Ok(answer) => hello::send_line(&mut writer, &answer?).await?,
            Err(Gone) => return Ok(()),
        }
        if last {
            hub.shutdown.cancel();
        }
    }
}

/// The client does not wait for its answer any more, or there will be none.
struct Gone;

/// Does what is asked to its end, even if the client does not wait for that: half a sign-out or
/// half a start would be worse than either. Returns the line that answers it.
fn begin(
    hub: &Arc<Hub>,
    request: Request,
) -> impl Future<Output = Result<io::Result<Vec<u8>>, Gone>> + Unpin + use<> {
    let (tell, answered) = oneshot::channel();
    let shared = Arc::clone(hub);
    hub.spawn(async move {
        let last = is_last(&request);
        let done = tokio::select! {
            done = answer(&shared, request) => done,
            () = shared.shutdown.cancelled() => return,
        };
        let answer = match done {
            Ok(reply) => Answer::Ok(reply),
            Err(problem) => Answer::Problem(problem),
        };
        let told = tell.send(aside(move || hello::line(&answer)).await);
        // The connection ends the bridge once the answer is out; this one has no connection.
        if told.is_err() && last {
            shared.shutdown.cancel();
        }
    });
    answered.map_err(|_| Gone)
}

/// Whether the bridge ends after this.
fn is_last(request: &Request) -> bool {
    matches!(request, Request::Quit | Request::Yield)
}

async fn watch(hub: &Arc<Hub>, lines: &mut Lines<Reader>, writer: &mut Writer) -> io::Result<()> {
    let mut changes = hub.changes();
    let mut last = None;
    loop {
        let state = hub.state_line().await?;
        if last.as_ref() != Some(&state) {
            hello::send_line(writer, &state).await?;
            last = Some(state);
        }
        let gathered = async {
            changes.changed().await.ok()?;
            sleep(GATHER_TIME).await;
            changes.mark_unchanged();
            Some(())
        };
        tokio::pin!(gathered);
        loop {
            tokio::select! {
                gathered = &mut gathered => match gathered {
                    Some(()) => break,
                    None => return Ok(()),
                },
                line = lines.next() => if line?.is_none() { return Ok(()) },
            }
        }
    }
}

/// Does what is asked.
async fn answer(hub: &Arc<Hub>, request: Request) -> Result<Reply, Problem> {
    hub.reload(false);
    match request {
        Request::Status | Request::Watch => Ok(Reply::State(Box::new(hub.state().await))),
        Request::SignIn { server, way } => sign_in(hub, &server, way).await,
        Request::CheckSignIn { server } => {
            let checked = signed_in::check(hub, &server).await;
            checked.map(Reply::SignInCheck)
        }
        Request::SwitchAccount {
            server,
            account,
            way,
        } => switch_account(hub, &server, account.as_deref(), way).await,
        Request::FinishSignIn { server, address } => {
            hub.sign_ins.hand_in(&server, &address).await?;
            Ok(Reply::Done)
        }
        Request::ApproveResource {
            server,
            resource,
            audience,
        } => {
            let sign_ins = &hub.sign_ins;
            sign_ins.approve(&server, &resource, audience.as_deref())?;
            Ok(Reply::Done)
        }
        Request::CancelSignIn { server } => {
            hub.sign_ins.cancel(&server);
            Ok(Reply::Done)
        }
        Request::SignOut {
            account,
            everywhere,
        } => sign_out(hub, account.as_deref(), everywhere).await,
        Request::InspectServer {
            name,
            url,
            allow_http,
        } => {
            let (_, url) = new_server(hub, &name, &url, allow_http)?;
            Ok(Reply::Inspection(inspection::inspect(hub, &url).await))
        }
        Request::AddServer {
            name,
            url,
            allow_http,
        } => add_server(hub, &name, &url, allow_http),
        Request::RemoveServer { name } => remove_server(hub, &name).await,
        Request::TestServer { name } => {
            let tested = probe::test(hub, &hub.server(&name)?).await;
            tested
                .map(Reply::Test)
                .map_err(|problem| problem::about(&name, &problem))
        }
        Request::CallTool {
            server,
            tool,
            arguments,
        } => {
            let called = probe::call(hub, &hub.server(&server)?, &tool, &arguments).await;
            called
                .map(Reply::Tool)
                .map_err(|problem| problem::about(&server, &problem))
        }
        Request::ListHosts => Ok(Reply::Hosts(vec![host_view(hub, HostId::ClaudeDesktop)])),
        Request::PreviewHostAdd { host, server } => {
            Ok(Reply::HostChange(shown(&plan_add(hub, host, &server)?)))
        }
        Request::PreviewHostRemove { host, server } => {
            Ok(Reply::HostChange(shown(&plan_remove(hub, host, &server)?)))
        }
        Request::AddToHost {
            host,
            server,
            approved,
        } => apply(hub, &plan_add(hub, host, &server)?, &approved),
        Request::RemoveFromHost {
            host,
            server,
            approved,
        } => apply(hub, &plan_remove(hub, host, &server)?, &approved),
        Request::PreviewHostImport { host, entries } => import::preview(hub, host, &entries).await,
        Request::ImportFromHost {
            host,
            entries,
            approved,
            allow_http,
        } => import::make(hub, host, &entries, &approved, allow_http).await,
        Request::ListConsents { server } => {
            let listed = consents::list(hub, server.as_deref()).await;
            listed.map(Reply::Consents)
        }
        Request::RevokeConsent { server, id } => {
            consents::revoke(hub, &server, &id).await?;
            Ok(Reply::Done)
        }
        Request::ListSecrets => secrets::list(hub).await,
        Request::SetSecret { name, value } => secrets::set(hub, &name, &value).await,
        Request::RemoveSecret { name } => secrets::remove(hub, &name).await,
        Request::ConfigureServerMode { form } => {
            hub.server_mode.configure(hub, &form).map(|()| Reply::Done)
        }
        Request::StartServerMode => hub.server_mode.start(hub).await.map(|()| Reply::Done),
        Request::StopServerMode => {
            hub.server_mode.turn_off(hub).await;
            Ok(Reply::Done)
        }
        Request::Doctor => Ok(Reply::Doctor(doctor::examine(hub).await)),
        Request::Quit => {
            hub.server_mode.turn_off(hub).await;
            Ok(Reply::Done)
        }
        Request::Yield => {
            hub.make_room().await;
            Ok(Reply::Done)
        }
    }
}

async fn sign_in(hub: &Arc<Hub>, name: &str, way: SignInWay) -> Result<Reply, Problem> {
    let server = hub.server(name)?;
    let ended = sign_in::until_end(hub, &server, Wish::Person(way)).await;
    ended.map_err(|problem| problem::about(name, &problem))?;
    look(hub, server);
    Ok(Reply::Done)
}

/// Has a look at a server in the background, so that its tools and its state can be shown.
fn look(hub: &Arc<Hub>, server: Arc<Server>) {
    let shared = Arc::clone(hub);
    hub.spawn(async move {
        if let Err(problem) = probe::test(&shared, &server).await {
            tracing::info!(server = %server.name, %problem, "a first look did not succeed");
        }
    });
}

async fn switch_account(
    hub: &Arc<Hub>,
    name: &str,
    account: Option<&str>,
    way: SignInWay,
) -> Result<Reply, Problem> {
    let server = hub.server(name)?;
    let account = match account {
        Some(account) => accounts_called(hub, Some(account)).await?.pop(),
        None => None,
    };
    let ended = sign_in::switch(hub, &server, account, way).await;
    ended.map_err(|problem| problem::about(name, &problem))?;
    look(hub, server);
    Ok(Reply::Done)
}

/// The accounts of that id or user name, at least one; all of them if none is named.
async fn accounts_called(hub: &Hub, called: Option<&str>) -> Result<Vec<Account>, Problem> {
    let mut accounts = hub.identity.accounts().await;
    let Some(called) = called else {
        return Ok(accounts);
    };
    accounts.retain(|known| {
        called == account_id(&known.key) || known.username.as_deref() == Some(called)
    });
    if accounts.is_empty() {
        let text = format!("`{called}` is not signed in");
        return Err(Problem::new(ProblemKind::NotFound, text)
            .with_hint("`postern status` lists the accounts"));
    }
    Ok(accounts)
}

async fn sign_out(
    hub: &Arc<Hub>,
    account: Option<&str>,
    everywhere: bool,
) -> Result<Reply, Problem> {
    let wanted = accounts_called(hub, account).await?;
    let mut left = None;
    for account in wanted {
        if everywhere
            && let Some(page) = hub.identity.end_session_url(&account.key).await
            && let Err(error) = hub.open_page(&page).await
        {
            let text = format!("the browser's own session could not be ended: {error}");
            let hint = format!("open {page} in your browser");
            left = Some(Problem::new(ProblemKind::Failed, text).with_hint(hint));
        }
        if let Err(error) = hub.identity.sign_out(&account.key).await {
            left = Some(Problem::from_text(
                ProblemKind::Unreachable,
                &error.to_string(),
            ));
        }
    }
    for server in hub.registry.all() {
        let is_for_people = server.config.auth.is_for_people();
        if is_for_people
            && server.is_protected()
            && hub.identity.account_for(&server.target()).is_none()
        {
            server.signed_out();
        }
    }
    hub.accounts_changed();
    hub.changed();
    left.map_or(Ok(Reply::Done), Err)
}

/// Checks what the user says of a server that is to be added: its name is free, its address is one.
fn new_server(
    hub: &Hub,
    name: &str,
    url: &str,
    allow_http: bool,
) -> Result<(ServerName, EndpointUrl), Problem> {
    let invalid = |text: String| Problem::from_text(ProblemKind::Invalid, &text);
    let name: ServerName = name
        .parse()
        .map_err(|error: model::NameError| invalid(error.to_string()))?;
    let url = match allow_http {
        true => EndpointUrl::allowing_http(url),
        false => url.parse(),
    };
    let url = url.map_err(|error| invalid(error.to_string()))?;
    let taken = hub
        .registry
        .named(name.as_str())
        .is_ok_and(|server| !server.ephemeral);
    if taken {
        return Err(Problem::new(
            ProblemKind::InUse,
            format!("there is a server `{name}` already"),
        )
        .with_hint("choose another name, or remove that one first"));
    }
    Ok((name, url))
}

fn add_server(hub: &Arc<Hub>, name: &str, url: &str, allow_http: bool) -> Result<Reply, Problem> {
    let (name, url) = new_server(hub, name, url, allow_http)?;
    let mut config = ServerConfig::at(url);
    config.allow_http = config.url.is_exposed();
    hub.edit_config(|path| config_file::put(path, &name, &config))?;
    look(hub, hub.server(name.as_str())?);
    Ok(Reply::Done)
}

async fn remove_server(hub: &Arc<Hub>, name: &str) -> Result<Reply, Problem> {
    let server = hub.server(name)?;
    if !hub.forget_ephemeral(&server.name) {
        hub.edit_config(|path| config_file::remove(path, &server.name))?;
        server.forget();
    }
    let is_shared = |other: &Arc<Server>| other.config.url == server.config.url;
    if !hub.registry.all().iter().any(is_shared)
        && let Err(error) = hub.identity.forget_approvals(&server.target()).await
    {
        tracing::warn!(server = name, %error, "what was approved for the server stays");
    }
    Ok(Reply::Done)
}
