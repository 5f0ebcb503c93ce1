//! The management API: the `control` socket, and the handling of each request.
//!
//! Owns: serving [`control::api`]. Does not own: what the requests act on. It is never part of the
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
use control::ControlResponse;
use control::api::{HostId, Problem, ProblemKind, Reply, Request, SignInWay};
use control::hello::{self, ConnectionKind, MAX_LINE};
use control::lines::Lines;
use control::socket::{Listener, Reader, Stream, Writer, split};
use futures_util::TryFutureExt;
use model::config::ServerConfig;
use model::{EndpointUrl, ServerName};
use threads::run_blocking;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::account_id::account_id;
use crate::bridge::Bridge;
use crate::pending_sign_ins::SignInTrigger;
use crate::registry::Server;
use crate::sign_in;
use hosts::{apply, host_view, plan_add, plan_remove, shown};

use crate::{client_hello, config_file, doctor, inspection, probe, problem};

/// The maximum of queued requests of a client. It is left unread beyond that.
const MAX_QUEUED_REQUESTS: usize = 16;

/// How long changes are gathered before a watching client gets the new state. Short enough for a
/// user, and a burst of sessions costs at most ten states a second.
const GATHER_TIME: Duration = Duration::from_millis(100);

/// Accepts clients until the socket fails.
pub(crate) async fn serve(bridge: &Arc<Bridge>, listener: &mut Listener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let bridge = Arc::clone(bridge);
        bridge.background.clone().spawn(async move {
            let served = tokio::select! {
                // No client is accepted during shutdown.
                biased;
                () = bridge.background.shutdown().cancelled() => Ok(()),
                served = serve_connection(&bridge, stream) => served,
            };
            if let Err(error) = served {
                tracing::debug!(%error, "a client's connection broke");
            }
        });
    }
}

async fn serve_connection(bridge: &Arc<Bridge>, stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = split(stream)?;
    let mut lines = Lines::new(reader, MAX_LINE);
    let Some(hello) = client_hello::receive(&mut lines).await? else {
        return Ok(());
    };
    client_hello::welcome(&bridge.options.version, &mut writer, None).await?;
    let ConnectionKind::Control { desktop } = hello.wants else {
        return Ok(());
    };
    let _attached = bridge.clients.attach(desktop);
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
                    .with_hint("use the same version of Postern for both");
                hello::send(&mut writer, &ControlResponse::Problem(problem)).await?;
                continue;
            }
        };
        if matches!(request, Request::Watch) {
            return watch(bridge, &mut lines, &mut writer).await;
        }
        let last = is_last(&request);
        let mut answered = start_request(bridge, request);
        let answer = loop {
            tokio::select! {
                answer = &mut answered => break answer,
                line = lines.next(), if ahead.len() < MAX_QUEUED_REQUESTS => match line? {
                    Some(line) => ahead.push_back(line),
                    None => break Err(NoAnswer),
                },
            }
        };
        match answer {
            Ok(answer) => hello::send_line(&mut writer, &answer?).await?,
            Err(NoAnswer) => return Ok(()),
        }
        if last {
            bridge.background.shutdown().cancel();
        }
    }
}

/// The client no longer waits for its response, or there is none.
struct NoAnswer;

/// Runs a request to its end, even if the client stops waiting: half a sign-out or half a start
/// would be worse than either. Returns the response line.
fn start_request(
    bridge: &Arc<Bridge>,
    request: Request,
) -> impl Future<Output = Result<io::Result<Vec<u8>>, NoAnswer>> + Unpin + use<> {
    let (response_sender, answered) = oneshot::channel();
    let shared = Arc::clone(bridge);
    bridge.background.spawn(async move {
        let last = is_last(&request);
        let done = tokio::select! {
            done = handle_request(&shared, request) => done,
            () = shared.background.shutdown().cancelled() => return,
        };
        let answer = match done {
            Ok(reply) => ControlResponse::Ok(reply),
            Err(problem) => ControlResponse::Problem(problem),
        };
        let sent = response_sender.send(run_blocking(move || hello::line(&answer)).await);
        // A connected client ends the bridge once its response is written. This one is not
        // connected any more.
        if sent.is_err() && last {
            shared.background.shutdown().cancel();
        }
    });
    answered.map_err(|_| NoAnswer)
}

/// Returns true if the bridge ends after this request.
fn is_last(request: &Request) -> bool {
    matches!(request, Request::Quit | Request::Yield)
}

async fn watch(
    bridge: &Arc<Bridge>,
    lines: &mut Lines<Reader>,
    writer: &mut Writer,
) -> io::Result<()> {
    let mut changes = bridge.notifications.state_changes();
    let mut last = None;
    loop {
        let state = bridge.state.line().await?;
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

/// Handles a request.
async fn handle_request(bridge: &Arc<Bridge>, request: Request) -> Result<Reply, Problem> {
    bridge.config.reload(false);
    match request {
        Request::Status | Request::Watch => Ok(Reply::State(Box::new(bridge.state.state().await))),
        Request::SignIn { server, way } => sign_in(bridge, &server, way).await,
        Request::CheckSignIn { server } => {
            let checked = signed_in::check(&bridge.session, &server).await;
            checked.map(Reply::SignInCheck)
        }
        Request::SwitchAccount {
            server,
            account,
            way,
        } => switch_account(bridge, &server, account.as_deref(), way).await,
        Request::FinishSignIn { server, address } => {
            bridge.sign_ins.submit_address(&server, &address).await?;
            Ok(Reply::Done)
        }
        Request::ApproveResource {
            server,
            resource,
            audience,
        } => {
            let sign_ins = &bridge.sign_ins;
            sign_ins.approve(&server, &resource, audience.as_deref())?;
            Ok(Reply::Done)
        }
        Request::CancelSignIn { server } => {
            bridge.sign_ins.cancel(&server);
            Ok(Reply::Done)
        }
        Request::SignOut {
            account,
            everywhere,
        } => sign_out(bridge, account.as_deref(), everywhere).await,
        Request::InspectServer {
            name,
            url,
            allow_http,
        } => {
            let (_, url) = new_server(bridge, &name, &url, allow_http)?;
            Ok(Reply::Inspection(
                inspection::inspect(&bridge.session, &url).await,
            ))
        }
        Request::AddServer {
            name,
            url,
            allow_http,
        } => add_server(bridge, &name, &url, allow_http),
        Request::RemoveServer { name } => remove_server(bridge, &name).await,
        Request::TestServer { name } => {
            let tested = probe::test(&bridge.session, &bridge.config.server(&name)?).await;
            tested
                .map(Reply::Test)
                .map_err(|problem| problem::about(&name, &problem))
        }
        Request::CallTool {
            server,
            tool,
            arguments,
        } => {
            let called = probe::call(
                &bridge.session,
                &bridge.config.server(&server)?,
                &tool,
                &arguments,
            )
            .await;
            called
                .map(Reply::Tool)
                .map_err(|problem| problem::about(&server, &problem))
        }
        Request::ListHosts => Ok(Reply::Hosts(vec![host_view(bridge, HostId::ClaudeDesktop)])),
        Request::PreviewHostAdd { host, server } => {
            Ok(Reply::HostChange(shown(&plan_add(bridge, host, &server)?)))
        }
        Request::PreviewHostRemove { host, server } => Ok(Reply::HostChange(shown(&plan_remove(
            bridge, host, &server,
        )?))),
        Request::AddToHost {
            host,
            server,
            approved,
        } => apply(bridge, &plan_add(bridge, host, &server)?, &approved),
        Request::RemoveFromHost {
            host,
            server,
            approved,
        } => apply(bridge, &plan_remove(bridge, host, &server)?, &approved),
        Request::PreviewHostImport { host, entries } => {
            import::preview(bridge, host, &entries).await
        }
        Request::ImportFromHost {
            host,
            entries,
            approved,
            allow_http,
        } => import::make(bridge, host, &entries, &approved, allow_http).await,
        Request::ListConsents { server } => {
            let listed = consents::list(bridge, server.as_deref()).await;
            listed.map(Reply::Consents)
        }
        Request::RevokeConsent { server, id } => {
            consents::revoke(bridge, &server, &id).await?;
            Ok(Reply::Done)
        }
        Request::ListSecrets => secrets::list(&bridge.identity, bridge.config.registry()).await,
        Request::SetSecret { name, value } => {
            secrets::set(&bridge.identity, &bridge.notifications, &name, &value).await
        }
        Request::RemoveSecret { name } => {
            secrets::remove(&bridge.identity, &bridge.notifications, &name).await
        }
        Request::ConfigureServerMode { form } => {
            bridge.server_mode.configure(&form).map(|()| Reply::Done)
        }
        Request::StartServerMode => bridge.server_mode.start().await.map(|()| Reply::Done),
        Request::StopServerMode => {
            bridge.server_mode.turn_off().await;
            Ok(Reply::Done)
        }
        Request::Doctor => Ok(Reply::Doctor(doctor::diagnose(bridge).await)),
        Request::Quit => {
            bridge.server_mode.turn_off().await;
            Ok(Reply::Done)
        }
        Request::Yield => {
            bridge.sessions.drain().await;
            Ok(Reply::Done)
        }
    }
}

async fn sign_in(bridge: &Arc<Bridge>, name: &str, way: SignInWay) -> Result<Reply, Problem> {
    let server = bridge.config.server(name)?;
    let ended = sign_in::until_end(&bridge.sign_in, &server, SignInTrigger::User(way)).await;
    ended.map_err(|problem| problem::about(name, &problem))?;
    probe_in_background(bridge, server);
    Ok(Reply::Done)
}

/// Tests a server in the background, so that its tools and state can be shown.
fn probe_in_background(bridge: &Arc<Bridge>, server: Arc<Server>) {
    let session = Arc::clone(&bridge.session);
    bridge.background.spawn(async move {
        if let Err(problem) = probe::test(&session, &server).await {
            tracing::info!(server = %server.name, %problem, "the first test failed");
        }
    });
}

async fn switch_account(
    bridge: &Arc<Bridge>,
    name: &str,
    account: Option<&str>,
    way: SignInWay,
) -> Result<Reply, Problem> {
    let server = bridge.config.server(name)?;
    let account = match account {
        Some(account) => find_accounts(bridge, Some(account)).await?.pop(),
        None => None,
    };
    let ended = sign_in::switch(&bridge.sign_in, &server, account, way).await;
    ended.map_err(|problem| problem::about(name, &problem))?;
    probe_in_background(bridge, server);
    Ok(Reply::Done)
}

/// Returns the accounts with that id or user name, at least one. Returns all if `called` is `None`.
async fn find_accounts(bridge: &Bridge, called: Option<&str>) -> Result<Vec<Account>, Problem> {
    let mut accounts = bridge.identity.accounts().await;
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
    bridge: &Arc<Bridge>,
    account: Option<&str>,
    everywhere: bool,
) -> Result<Reply, Problem> {
    let wanted = find_accounts(bridge, account).await?;
    let mut left = None;
    for account in wanted {
        if everywhere
            && let Some(page) = bridge.identity.end_session_url(&account.key).await
            && let Err(error) = bridge.sign_in.browser.open(&page).await
        {
            let text = format!("the browser's own session could not be ended: {error}");
            let hint = format!("open {page} in your browser");
            left = Some(Problem::new(ProblemKind::Failed, text).with_hint(hint));
        }
        if let Err(error) = bridge.identity.sign_out(&account.key).await {
            left = Some(Problem::from_text(
                ProblemKind::Unreachable,
                &error.to_string(),
            ));
        }
    }
    for server in bridge.config.registry().all() {
        let is_for_people = server.config.auth.is_interactive();
        if is_for_people
            && server.is_protected()
            && bridge.identity.account_for(&server.target()).is_none()
        {
            server.signed_out();
        }
    }
    bridge.notifications.accounts_changed();
    bridge.notifications.state_changed();
    left.map_or(Ok(Reply::Done), Err)
}

/// Checks a server that is to be added: its name must be unused and its URL valid.
fn new_server(
    bridge: &Bridge,
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
    let taken = bridge
        .config
        .registry()
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

fn add_server(
    bridge: &Arc<Bridge>,
    name: &str,
    url: &str,
    allow_http: bool,
) -> Result<Reply, Problem> {
    let (name, url) = new_server(bridge, name, url, allow_http)?;
    let mut config = ServerConfig::at(url);
    config.allow_http = config.url.is_exposed();
    bridge
        .config
        .edit(|path| config_file::put(path, &name, &config))?;
    probe_in_background(bridge, bridge.config.server(name.as_str())?);
    Ok(Reply::Done)
}

async fn remove_server(bridge: &Arc<Bridge>, name: &str) -> Result<Reply, Problem> {
    let server = bridge.config.server(name)?;
    if !bridge.config.forget_ephemeral(&server.name) {
        bridge
            .config
            .edit(|path| config_file::remove(path, &server.name))?;
        server.forget();
    }
    let is_shared = |other: &Arc<Server>| other.config.url == server.config.url;
    if !bridge.config.registry().all().iter().any(is_shared)
        && let Err(error) = bridge.identity.forget_approvals(&server.target()).await
    {
        tracing::warn!(server = name, %error, "the approvals for the server cannot be deleted");
    }
    Ok(Reply::Done)
}
