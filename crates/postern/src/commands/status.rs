//! `postern status`.

use control::CallError;
use control::api::{
    AccountState, AccountView, Problem, ProblemKind, Reply, Request, ServerModeState, ServerState,
    ServerView, SessionState, SessionView, SignInView, State, UnixSeconds, VaultState, VaultView,
};

use model::Clock;

use super::sign_out;
use crate::cli::JsonArgs;
use crate::context::{Context, unexpected};
use crate::error::CliError;
use crate::terminal::{self, table, table_with_problems};

/// The output if no servers are configured.
pub(super) const NO_SERVERS: &str =
    "No servers yet.\nhint: add one with `postern servers add NAME URL`";

/// Prints the bridge's state. Does not start a bridge, because the command also reports that none
/// runs.
pub(crate) fn run(args: &JsonArgs, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        let mut client = match context.connect().await {
            Ok(client) => client,
            Err(CallError::NotRunning) if args.json => {
                terminal::json(&serde_json::Value::Null)?;
                return Err(CallError::NotRunning.into());
            }
            Err(error) => return Err(error.into()),
        };
        match client.call(&Request::Status).await? {
            Reply::State(state) if args.json => Ok(terminal::json(&state)?),
            Reply::State(state) => {
                terminal::print(text(&state, Clock::system().unix()));
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    })
}

fn text(state: &State, now: UnixSeconds) -> String {
    let vault = vault_problem(&state.bridge.vault);
    let mut parts = vec![table_with_problems(bridge(state, vault.as_ref()))];
    let mut section = |title: &str, rows: String| {
        if !rows.is_empty() {
            parts.push(format!("{title}\n{rows}"));
        }
    };
    let rows: Vec<_> = state.accounts.iter().map(account).collect();
    section("Accounts", table(&rows));
    section("Servers", servers(&state.servers));
    let dropped: Vec<_> = state.servers.iter().filter_map(dropped_scopes).collect();
    section("Dropped scopes", dropped.join("\n"));
    let sessions = state.sessions.iter();
    let rows: Vec<_> = sessions.map(|view| session(view, now)).collect();
    section("Connected", table(&rows));
    let waiting: Vec<_> = state.sign_ins.iter().map(sign_in).collect();
    section("Waiting for a sign-in in the browser", waiting.join("\n"));
    if state.servers.is_empty() && state.bridge.config_problem.is_none() {
        parts.push(NO_SERVERS.to_owned());
    }
    parts.join("\n\n")
}

/// Returns why tokens cannot be stored, if so.
fn vault_problem(view: &VaultView) -> Option<Problem> {
    let hint = view.hint.as_ref()?;
    Some(Problem::new(ProblemKind::Vault, &view.detail).with_hint(hint))
}

fn bridge<'a>(
    state: &'a State,
    vault: Option<&'a Problem>,
) -> Vec<([String; 2], Option<&'a Problem>)> {
    let view = &state.bridge;
    let tokens = match (vault, view.vault.state) {
        (None, _) => view.vault.detail.clone(),
        (Some(_), VaultState::Behind) => "not all stored".to_owned(),
        (
            Some(_),
            VaultState::Keychain | VaultState::KeyFile | VaultState::Locked | VaultState::Absent,
        ) => "cannot be stored".to_owned(),
    };
    let row = |name: &str, value: String| [name.to_owned(), value];
    let version = format!("{}, process {}", view.version, view.pid);
    let http = view.http.clone().unwrap_or_else(|| "none".to_owned());
    let socket = view.socket.clone().unwrap_or_else(|| "none".to_owned());
    let mut rows = vec![
        (row("bridge", version), None),
        (row("endpoints", http), view.http_problem.as_ref()),
        (row("socket", socket), None),
        (row("tokens", tokens), vault),
        (
            row("configuration", view.config_file.clone()),
            view.config_problem.as_ref(),
        ),
    ];
    if let Some((mode, problem)) = server_mode(&state.server_mode) {
        rows.push((row("server mode", mode), problem));
    }
    rows
}

fn server_mode(state: &ServerModeState) -> Option<(String, Option<&Problem>)> {
    match state {
        ServerModeState::Unconfigured => None,
        ServerModeState::Off => Some(("off".to_owned(), None)),
        ServerModeState::Starting => Some(("starting".to_owned(), None)),
        ServerModeState::Running { url, pid } => Some((format!("{url}, process {pid}"), None)),
        ServerModeState::Failed { problem } => Some(("failed".to_owned(), Some(problem))),
    }
}

fn account(view: &AccountView) -> [String; 3] {
    let state = match view.state {
        AccountState::SignedIn => "signed in",
        AccountState::SignInNeeded => "sign-in needed",
    };
    [
        sign_out::display_name(view).to_owned(),
        state.to_owned(),
        view.issuer.clone(),
    ]
}

/// Formats each server's name, state, URL and configured headers.
pub(super) fn servers(servers: &[ServerView]) -> String {
    let rows = servers.iter().map(|view| {
        let (state, problem) = server_state(&view.state);
        let problem = problem.or(view.sign_in_problem.as_ref());
        let headers = match view.headers.as_slice() {
            [] => String::new(),
            names => format!("with {}", names.join(", ")),
        };
        let row = [
            view.name.clone(),
            state.to_owned(),
            view.url.clone(),
            headers,
        ];
        (row, problem)
    });
    table_with_problems(rows.collect())
}

/// Returns a note about a server that requested scopes of other resources. Returns `None` if it
/// requested none.
fn dropped_scopes(view: &ServerView) -> Option<String> {
    let scopes = view.foreign_scopes.join(", ");
    let line = format!(
        "  {} asked for scopes of other resources, which Postern does not request: {scopes}",
        view.name
    );
    (!scopes.is_empty()).then_some(line)
}

fn server_state(state: &ServerState) -> (&'static str, Option<&Problem>) {
    match state {
        ServerState::Unknown => ("not connected yet", None),
        ServerState::Connecting => ("connecting", None),
        ServerState::Ready => ("ready", None),
        ServerState::SignInNeeded => ("sign-in needed", None),
        ServerState::Failed { problem } => ("failed", Some(problem)),
    }
}

fn session(view: &SessionView, now: UnixSeconds) -> [String; 4] {
    let host = match view.host.as_str() {
        "" => "unnamed".to_owned(),
        host => host.to_owned(),
    };
    let state = match view.state {
        SessionState::Active => "active".to_owned(),
        SessionState::Idle { since } => format!("idle for {}", age(now.saturating_sub(since))),
    };
    [host, view.server.clone(), view.transport.clone(), state]
}

/// Formats a duration in the largest unit of which there is at least one.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn sign_in(view: &SignInView) -> String {
    match &view.approval {
        Some(approval) if !approval.on_page => format!(
            "  {}  asks for access to {}: answer with `postern sign-in {}`",
            view.server, approval.resource, view.server
        ),
        // Without the page's URL, because a program could answer with it.
        Some(approval) => format!(
            "  {}  asks for access to {}: answer on the page in your browser",
            view.server, approval.resource
        ),
        None => format!("  {}  {}", view.server, view.url),
    }
}

#[cfg(test)]
mod tests {
    use control::api::{
        AccountState, AccountView, BridgeView, Problem, ProblemKind, ServerModeState, ServerState,
        ServerView, SessionState, SessionView, State, VaultState, VaultView,
    };

    use super::text;

    #[test]
    fn idle_session_is_shown_with_its_age() {
        let row = |host: &str, idle: u64| {
            let view = SessionView {
                id: 1,
                server: "snippets".into(),
                host: host.into(),
                transport: "http".into(),
                since: 0,
                state: SessionState::Idle { since: 10_000 },
            };
            super::session(&view, 10_000 + idle).join("  ")
        };
        assert_eq!(
            row("Cursor 1", 59),
            "Cursor 1  snippets  http  idle for 59 s"
        );
        assert_eq!(row("", 119), "unnamed  snippets  http  idle for 1 min");
        assert_eq!(row("x", 7300), "x  snippets  http  idle for 2 h");
    }

    #[test]
    fn status_is_formatted_as_text() {
        let server = |name: &str, state| ServerView {
            name: name.to_owned(),
            url: format!("https://mcp.example/{name}"),
            endpoint: None,
            sse_endpoint: None,
            socket_endpoint: None,
            state,
            account: None,
            tools: None,
            ephemeral: false,
            foreign_scopes: Vec::new(),
            headers: Vec::new(),
            sign_in_problem: None,
        };
        let problem = Problem::new(ProblemKind::Unreachable, "cannot be reached")
            .with_hint("check the network");
        let taken = Problem::new(ProblemKind::InUse, "port 4127 is taken");
        let state = State {
            bridge: BridgeView {
                version: "0.1.0".into(),
                pid: 7,
                http: None,
                socket: Some("unix:///r/http.sock".into()),
                http_problem: Some(taken),
                config_file: "/c/config.toml".into(),
                config_problem: None,
                vault: VaultView {
                    state: VaultState::Keychain,
                    detail: "keychain".into(),
                    hint: None,
                },
            },
            accounts: vec![AccountView {
                id: "x".into(),
                issuer: "https://login.example".into(),
                name: Some("Adele".into()),
                username: Some("adele@contoso.example".into()),
                state: AccountState::SignedIn,
            }],
            servers: vec![
                server("snippets", ServerState::Ready),
                server("b", ServerState::Failed { problem }),
            ],
            sessions: vec![SessionView {
                id: 1,
                server: "snippets".into(),
                host: "Claude Desktop".into(),
                transport: "stdio".into(),
                since: 0,
                state: SessionState::Active,
            }],
            sign_ins: Vec::new(),
            server_mode: ServerModeState::Unconfigured,
        };
        let expected = "  bridge         0.1.0, process 7
  endpoints      none
                 port 4127 is taken
  socket         unix:///r/http.sock
  tokens         keychain
  configuration  /c/config.toml

Accounts
  adele@contoso.example  signed in  https://login.example

Servers
  snippets  ready   https://mcp.example/snippets
  b         failed  https://mcp.example/b
            cannot be reached
            hint: check the network

Connected
  Claude Desktop  snippets  stdio  active";
        assert_eq!(text(&state, 0), expected);
    }
}
