//! `postern status`.

use control::CallError;
use control::api::{
    AccountState, AccountView, Problem, Reply, Request, ServerModeState, ServerState, ServerView,
    SessionView, SignInView, State,
};

use super::sign_out;
use crate::cli::JsonArgs;
use crate::context::{Context, unexpected};
use crate::failure::Failure;
use crate::terminal::{self, table};

/// Shows what there is. Starts nothing: that no bridge runs is an answer too.
pub(crate) fn run(args: &JsonArgs, context: &Context) -> Result<(), Failure> {
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
                terminal::say(text(&state));
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    })
}

fn text(state: &State) -> String {
    let mut parts = vec![table(&bridge(state))];
    let mut section = |title: &str, rows: String| {
        if !rows.is_empty() {
            parts.push(format!("{title}\n{rows}"));
        }
    };
    let rows: Vec<_> = state.accounts.iter().map(account).collect();
    section("Accounts", table(&rows));
    section("Servers", servers(&state.servers));
    let rows: Vec<_> = state.sessions.iter().map(session).collect();
    section("Connected", table(&rows));
    let waiting: Vec<_> = state.sign_ins.iter().map(sign_in).collect();
    section("Waiting for a sign-in in the browser", waiting.join("\n"));
    if state.servers.is_empty() {
        parts.push("No servers yet; hint: `postern servers add NAME URL`".to_owned());
    }
    parts.join("\n\n")
}

fn bridge(state: &State) -> Vec<[String; 2]> {
    let view = &state.bridge;
    let http = match (&view.http, &view.http_problem) {
        (Some(base), None) => base.clone(),
        (_, Some(problem)) => one_line(problem),
        (None, None) => "off".to_owned(),
    };
    let mut rows = vec![
        [
            "bridge".to_owned(),
            format!("{}, process {}", view.version, view.pid),
        ],
        ["endpoints".to_owned(), http],
        ["tokens".to_owned(), view.vault.detail.clone()],
        ["configuration".to_owned(), view.config_file.clone()],
    ];
    if let Some(problem) = &view.config_problem {
        rows.push([String::new(), one_line(problem)]);
    }
    if let Some(mode) = server_mode(&state.server_mode) {
        rows.push(["server mode".to_owned(), mode]);
    }
    rows
}

fn server_mode(state: &ServerModeState) -> Option<String> {
    match state {
        ServerModeState::Unconfigured => None,
        ServerModeState::Off => Some("off".to_owned()),
        ServerModeState::Starting => Some("starting".to_owned()),
        ServerModeState::Running { url, pid } => Some(format!("{url}, process {pid}")),
        ServerModeState::Failed { problem } => Some(one_line(problem)),
    }
}

fn account(view: &AccountView) -> [String; 3] {
    let state = match view.state {
        AccountState::SignedIn => "signed in",
        AccountState::SignInNeeded => "sign-in needed",
    };
    [
        sign_out::shown(view).to_owned(),
        state.to_owned(),
        view.issuer.clone(),
    ]
}

/// Name, state and remote of each.
pub(super) fn servers(servers: &[ServerView]) -> String {
    let rows: Vec<_> = servers
        .iter()
        .map(|view| {
            [
                view.name.clone(),
                server_state(&view.state),
                view.url.clone(),
            ]
        })
        .collect();
    table(&rows)
}

fn server_state(state: &ServerState) -> String {
    match state {
        ServerState::Unknown => "not asked yet".to_owned(),
        ServerState::Connecting => "connecting".to_owned(),
        ServerState::Ready => "ready".to_owned(),
        ServerState::SignInNeeded => "sign-in needed".to_owned(),
        ServerState::Failed { problem } => one_line(problem),
    }
}

fn session(view: &SessionView) -> [String; 3] {
    [view.host.clone(), view.server.clone(), view.face.clone()]
}

fn sign_in(view: &SignInView) -> String {
    format!("  {}  {}", view.server, view.url)
}

fn one_line(problem: &Problem) -> String {
    problem.to_string().replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use control::api::{
        AccountState, AccountView, BridgeView, Problem, ProblemKind, ServerModeState, ServerState,
        ServerView, SessionView, State, VaultState, VaultView,
    };

    use super::text;

    #[test]
    fn what_there_is_can_be_read() {
        let server = |name: &str, state| ServerView {
            name: name.to_owned(),
            url: format!("https://mcp.example/{name}"),
            endpoint: None,
            sse_endpoint: None,
            state,
            account: None,
            tools: None,
            ephemeral: false,
        };
        let problem = Problem::new(ProblemKind::Unreachable, "cannot be reached")
            .with_hint("check the network");
        let state = State {
            bridge: BridgeView {
                version: "0.1.0".into(),
                pid: 7,
                http: Some("http://127.0.0.1:4127".into()),
                http_problem: None,
                config_file: "/c/config.toml".into(),
                config_problem: None,
                vault: VaultView {
                    state: VaultState::Keychain,
                    detail: "keychain".into(),
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
                face: "stdio".into(),
                since: 0,
            }],
            sign_ins: Vec::new(),
            server_mode: ServerModeState::Unconfigured,
        };
        let expected = "  bridge         0.1.0, process 7
  endpoints      http://127.0.0.1:4127
  tokens         keychain
  configuration  /c/config.toml

Accounts
  adele@contoso.example  signed in  https://login.example

Servers
  snippets  ready                                       https://mcp.example/snippets
  b         cannot be reached; hint: check the network  https://mcp.example/b

Connected
  Claude Desktop  snippets  stdio";
        assert_eq!(text(&state), expected);
    }
}
