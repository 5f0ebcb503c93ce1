//! An MCP server of the legacy era on raw sockets that fails as a case specifies.
//!
//! Each call names its [`Fault`], so concurrent calls can fail in different ways.
//! Owns: HTTP by hand, so that a response can end at any byte, and the counts of what arrived.
//! Does not own: the expected results, which are the cases'.

mod fault;
mod http;
mod mcp;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Mutex, oneshot, watch},
    task::{JoinHandle, JoinSet},
};

pub(crate) use fault::{Fault, Form, ServerRequest};

use super::within;

/// The server. It keeps its address while it is stopped. It stops when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<watch::Sender<UpstreamState>>,
    running: Mutex<Option<Running>>,
    /// Bound but not listening, so that no other program gets the port while the server is stopped.
    _reserved: TcpSocket,
}

/// The server's task. It ends when this is dropped.
struct Running {
    end: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// What the server has received, and how it must treat further requests.
#[derive(Debug, Default)]
pub(crate) struct UpstreamState {
    /// All HTTP requests.
    pub(crate) requests: u32,
    /// Sessions that began, and those that ended by DELETE.
    pub(crate) begun: u32,
    pub(crate) ended: u32,
    /// How often each call was received, by its key.
    pub(crate) calls: HashMap<String, u32>,
    /// Requests without a response whose connections are open.
    pub(crate) held: u32,
    /// The requests that were cancelled.
    pub(crate) cancelled: Vec<u64>,
    /// The responses of hosts to requests, by id.
    pub(crate) replies: HashMap<String, Value>,
    /// How many `notifications/initialized` are still to be lost.
    pub(crate) initialized_to_lose: u32,
    /// How many POSTs are still to be answered with 503.
    pub(crate) unready: u32,
    /// Whether no further request is answered.
    pub(crate) is_silent: bool,
    /// The count and size of the events on the next stream for notifications.
    pub(crate) flood: Option<(u32, usize)>,
    /// How many large events were sent.
    pub(crate) flooded: u32,
    /// The sessions, and those whose handshake is complete.
    sessions: HashSet<String>,
    initialized: HashSet<String>,
    /// The calls that arrived in a session that was then forgotten.
    forgotten: HashSet<String>,
    /// How often all streams were cut.
    cuts: u32,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let reserved = socket("127.0.0.1:0".parse().expect("an address"));
        let upstream = Self {
            address: reserved.local_addr().expect("an address"),
            state: Arc::default(),
            running: Mutex::default(),
            _reserved: reserved,
        };
        upstream.restart().await;
        upstream
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The `config.toml` of a bridge that knows this server as `raw`.
    pub(crate) fn config(&self) -> String {
        format!(
            "[bridge]\nport = 0\n[servers.raw]\nurl = \"{}\"\n",
            self.url()
        )
    }

    /// Stops as a killed process does: every connection breaks, and new ones are refused.
    pub(crate) async fn stop(&self) {
        if let Some(running) = self.running.lock().await.take() {
            drop(running.end);
            running.serving.await.expect("its end");
        }
    }

    /// Starts again at the same address. Keeps its sessions.
    pub(crate) async fn restart(&self) {
        self.stop().await;
        let listener = socket(self.address).listen(1024).expect("its own port");
        let (end, ended) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, Arc::clone(&self.state), ended));
        *self.running.lock().await = Some(Running { end, serving });
    }

    /// Forgets every session.
    pub(crate) fn forget_sessions(&self) {
        self.state.send_modify(UpstreamState::forget_sessions);
    }

    /// Ends all streams for notifications.
    pub(crate) fn cut_streams(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Returns what it has received so far.
    pub(crate) fn state(&self) -> watch::Ref<'_, UpstreamState> {
        self.state.borrow()
    }

    /// Changes how it treats further requests.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut UpstreamState)) {
        self.state.send_modify(change);
    }

    /// Waits until the state satisfies `wanted`.
    pub(crate) async fn until(&self, what: &str, wanted: impl FnMut(&UpstreamState) -> bool) {
        let mut state = self.state.subscribe();
        let found = within(what, state.wait_for(wanted)).await.map(drop);
        found.expect("the server's own count");
    }

    /// Panics if a call was received twice.
    pub(crate) fn assert_no_duplicate_calls(&self) {
        let state = self.state();
        let twice: Vec<_> = state
            .calls
            .iter()
            .filter(|(_, times)| **times > 1)
            .collect();
        assert!(twice.is_empty(), "sent again: {twice:?}");
    }
}

impl UpstreamState {
    fn forget_sessions(&mut self) {
        self.sessions.clear();
        self.initialized.clear();
    }
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an address that is ours");
    socket.bind(address).expect("an address");
    socket
}

/// Serves until `ended` is closed. All connections are closed then.
async fn serve(
    listener: TcpListener,
    state: Arc<watch::Sender<UpstreamState>>,
    mut ended: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut ended => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                connections.spawn(serve_connection(stream, Arc::clone(&state)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, state: Arc<watch::Sender<UpstreamState>>) {
    // Sends each piece at once.
    stream.set_nodelay(true).expect("an option of TCP");
    let mut connection = http::Connection::new(stream);
    while let Some(request) = connection.request().await {
        let reaction = mcp::react(&request, &state);
        if !fault::carry_out(reaction, &mut connection, &state).await {
            return;
        }
    }
}
