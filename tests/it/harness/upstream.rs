//! An MCP server of the legacy era on raw sockets, which fails where a case says.
//!
//! Each call names the [`Fault`] that befalls it, so many calls fail at once, each in its own
//! way. Owns: HTTP by hand, so that an answer can end at any byte, and the count of what came.
//! Does not own: what is right; the cases say that.

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

pub(crate) use fault::{Fault, Form, Question};

use super::within;

/// The server. It keeps its address while it is away, and ends with this value.
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<watch::Sender<Seen>>,
    life: Mutex<Option<Life>>,
    /// Bound and never listening: nobody else gets the port meanwhile.
    _place: TcpSocket,
}

/// One life of the server. It ends with this value.
struct Life {
    end: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// What the server has seen, and what it was told to do about what comes next.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Requests of HTTP, whatever they were.
    pub(crate) requests: u32,
    /// Sessions that began, and those that were ended by DELETE.
    pub(crate) begun: u32,
    pub(crate) ended: u32,
    /// How often each call was taken in, by its key.
    pub(crate) calls: HashMap<String, u32>,
    /// Requests that are left without an answer, as long as their connections stand.
    pub(crate) held: u32,
    /// The requests that were cancelled.
    pub(crate) cancelled: Vec<u64>,
    /// What hosts said to questions, by their ids.
    pub(crate) replies: HashMap<String, Value>,
    /// How many ends of a handshake are lost on the way from now on.
    pub(crate) greetings_to_lose: u32,
    /// How many POSTs are answered with 503 from now on.
    pub(crate) unready: u32,
    /// Whether nothing that comes from now on is answered.
    pub(crate) is_silent: bool,
    /// So many events of so many bytes come on the next stream for notifications.
    pub(crate) flood: Option<(u32, usize)>,
    /// How many large events were sent, all together.
    pub(crate) flooded: u32,
    /// The sessions there are, and those of them whose handshake has ended.
    sessions: HashSet<String>,
    greeted: HashSet<String>,
    /// The calls that came in a session that was forgotten just then.
    forgotten: HashSet<String>,
    /// How often all streams were cut.
    cuts: u32,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let place = socket("127.0.0.1:0".parse().expect("an address"));
        let upstream = Self {
            address: place.local_addr().expect("an address"),
            seen: Arc::default(),
            life: Mutex::default(),
            _place: place,
        };
        upstream.come_back().await;
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

    /// Ends as a process does that is killed: every connection is broken, and more are refused.
    pub(crate) async fn go(&self) {
        if let Some(life) = self.life.lock().await.take() {
            drop(life.end);
            life.serving.await.expect("its end");
        }
    }

    /// Starts again where it was. It knows the sessions that it knew.
    pub(crate) async fn come_back(&self) {
        self.go().await;
        let listener = socket(self.address).listen(1024).expect("its own port");
        let (end, ended) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, Arc::clone(&self.seen), ended));
        *self.life.lock().await = Some(Life { end, serving });
    }

    /// Forgets every session.
    pub(crate) fn forget(&self) {
        self.seen.send_modify(Seen::forget);
    }

    /// Ends every stream that is open for notifications.
    pub(crate) fn cut_streams(&self) {
        self.seen.send_modify(|seen| seen.cuts += 1);
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> watch::Ref<'_, Seen> {
        self.seen.borrow()
    }

    /// Tells it what to do about what comes next.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }

    /// Waits until it has seen what is wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let found = within(what, seen.wait_for(wanted)).await.map(drop);
        found.expect("the server's own count");
    }

    /// Holds that no call was taken in twice.
    pub(crate) fn took_each_call_once(&self) {
        let seen = self.seen();
        let twice: Vec<_> = seen.calls.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "sent again: {twice:?}");
    }
}

impl Seen {
    fn forget(&mut self) {
        self.sessions.clear();
        self.greeted.clear();
    }
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an address that is ours");
    socket.bind(address).expect("an address");
    socket
}

/// Until nobody holds the other end of `ended`; nothing is open then.
async fn serve(
    listener: TcpListener,
    seen: Arc<watch::Sender<Seen>>,
    mut ended: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut ended => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                connections.spawn(converse(stream, Arc::clone(&seen)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn converse(stream: TcpStream, seen: Arc<watch::Sender<Seen>>) {
    // What goes out in pieces arrives in pieces.
    stream.set_nodelay(true).expect("an option of TCP");
    let mut connection = http::Connection::new(stream);
    while let Some(request) = connection.request().await {
        let reaction = mcp::react(&request, &seen);
        if !fault::carry_out(reaction, &mut connection, &seen).await {
            return;
        }
    }
}
