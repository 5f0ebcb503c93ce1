//! A fake bridge that shows the states of the case and records requests.

use control::api::{
    AccountState, AccountView, BridgeView, Reply, Request, ServerModeState, ServerState,
    ServerView, State, VaultState, VaultView,
};
use control::hello::{self, Hello, MAX_LINE, PROTOCOL, Welcome};
use control::lines::Lines;
use control::socket::{Listener, Stream};
use control::{ControlResponse, Home};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::within;

pub(crate) struct Bridge {
    state: watch::Sender<State>,
    requests: mpsc::UnboundedReceiver<Request>,
    tasks: JoinSet<()>,
}

impl Bridge {
    pub(crate) fn listen(home: &Home) -> Self {
        let (mcp, mut control) = Listener::bind(home).expect("the sockets");
        let (state, shown) = watch::channel(state());
        let (recorded, requests) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _mcp = mcp;
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = control.accept().await {
                let serving = serve(stream, shown.clone(), recorded.clone());
                connections.spawn(async move { serving.await.unwrap_or_default() });
            }
        });
        Self {
            state,
            requests,
            tasks,
        }
    }

    /// Stops the bridge. Its sockets are free then.
    pub(crate) async fn end(mut self) {
        self.tasks.shutdown().await;
    }

    pub(crate) fn show(&self, state: &State) {
        self.state.send_replace(state.clone());
    }

    /// Returns the next recorded request, except for the state.
    pub(crate) async fn request(&mut self) -> Request {
        within("a request", self.requests.recv())
            .await
            .expect("a bridge that runs")
    }
}

/// Serves a connection. Its end is not an error.
async fn serve(
    stream: Stream,
    shown: watch::Receiver<State>,
    recorded: mpsc::UnboundedSender<Request>,
) -> Option<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = Lines::new(reader, MAX_LINE);
    let hello: Hello = hello::receive(&mut lines).await.ok()??;
    let welcome = Welcome {
        postern: PROTOCOL,
        version: hello.version,
        pid: std::process::id(),
        problem: None,
    };
    hello::send(&mut writer, &welcome).await.ok()?;
    while let Some(request) = hello::receive::<Request, _>(&mut lines).await.ok()? {
        if request == Request::Watch {
            return watched(&mut writer, shown).await;
        }
        recorded.send(request).ok()?;
        hello::send(&mut writer, &ControlResponse::Ok(Reply::Done))
            .await
            .ok()?;
    }
    None
}

async fn watched(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut shown: watch::Receiver<State>,
) -> Option<()> {
    loop {
        let state = Box::new(shown.borrow_and_update().clone());
        hello::send(writer, &ControlResponse::Ok(Reply::State(state)))
            .await
            .ok()?;
        shown.changed().await.ok()?;
    }
}

/// A state without accounts and servers.
pub(crate) fn state() -> State {
    State {
        bridge: BridgeView {
            version: "0.1.0".into(),
            pid: std::process::id(),
            http: None,
            socket: None,
            http_problem: None,
            config_file: "config.toml".into(),
            config_problem: None,
            vault: VaultView {
                state: VaultState::Keychain,
                detail: "in the keychain".into(),
                hint: None,
            },
        },
        accounts: vec![],
        servers: vec![],
        sessions: vec![],
        sign_ins: vec![],
        server_mode: ServerModeState::Unconfigured,
    }
}

pub(crate) fn server(name: &str, is: ServerState) -> ServerView {
    ServerView {
        foreign_scopes: Vec::new(),
        name: name.into(),
        url: format!("https://mcp.example.com/{name}/mcp"),
        endpoint: Some(format!("http://127.0.0.1:4127/{name}/mcp")),
        sse_endpoint: None,
        socket_endpoint: None,
        state: is,
        sign_in_problem: None,
        account: None,
        tools: None,
        ephemeral: false,
        headers: Vec::new(),
    }
}

pub(crate) fn account(name: &str) -> AccountView {
    AccountView {
        id: name.into(),
        issuer: "https://login.example.com".into(),
        name: Some(name.into()),
        username: None,
        state: AccountState::SignedIn,
    }
}
