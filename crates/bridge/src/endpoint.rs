//! The ways in: the two sockets, and HTTP on loopback and on a socket of its own.
//!
//! Owns: listening, and turning each conversation into a [`crate::session`]. Does not own: what
//! a session does.

mod access;
mod batch;
mod body;
mod connections;
mod http;
mod intake;
mod processes;
mod response_router;
mod serve;
mod socket;
mod socket_http;
mod sse;
mod stall;
mod stateless;
mod streamable;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use control::api::{Problem, ProblemKind};
use control::hello::{self, Hello};
use control::lines::Lines;
use control::socket::{Listener, Reader};
use tokio::net::{TcpListener, TcpStream};

use crate::bridge_state::Hub;
use connections::Connections;
use serve::{Accept, Endpoint};

pub(crate) use socket::welcome;

/// How long a client of the `mcp` or the `control` socket may take to say what it wants. Ours say it
/// at once; one that says nothing holds a descriptor that the next host needs.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the first line of a client; `None` if it closes the connection.
pub(crate) async fn hello(lines: &mut Lines<Reader>) -> io::Result<Option<Hello>> {
    let hello = hello::receive::<Hello, _>(lines);
    tokio::time::timeout(HELLO_TIMEOUT, hello).await?
}

/// A listening socket of ours that broke.
pub(crate) struct SocketError(pub(crate) std::io::Error);

/// The HTTP listeners: those of the port, if it could be opened, and the socket.
pub(crate) struct Faces {
    http: Vec<TcpListener>,
    local: Listener,
}

impl Faces {
    /// Opens the HTTP port on both loopback addresses. A port that is taken is a problem to
    /// show, and never another port; HTTP then has its socket, `local`, alone.
    pub(crate) async fn open(hub: &Hub, local: Listener) -> Self {
        hub.set_socket(local.url());
        let http = Self::open_port(hub).await;
        Self { http, local }
    }

    async fn open_port(hub: &Hub) -> Vec<TcpListener> {
        let wanted = hub.settings().port;
        match bind(wanted).await {
            Ok((port, http)) => {
                hub.set_http(Ok(format!("http://127.0.0.1:{port}")));
                http
            }
            Err(reason) => {
                let text =
                    format!("port {wanted} cannot be opened for hosts that speak HTTP: {reason}");
                let problem = Problem::new(ProblemKind::InUse, text).with_hint(
                    "end the program that has it, or set another `port` under [bridge] and restart",
                );
                tracing::error!(%problem, "the other faces work");
                hub.set_http(Err(problem));
                Vec::new()
            }
        }
    }

    /// Serves until the bridge ends.
    pub(crate) async fn serve(
        self,
        hub: &Arc<Hub>,
        mcp: &mut Listener,
        control: &mut Listener,
    ) -> Result<(), SocketError> {
        let endpoint = Endpoint {
            app: http::routes(hub),
            connections: Arc::new(Connections::new(hub.options.descriptors.http)),
            memory: hub.to_hosts.clone(),
            shutdown: hub.shutdown.clone(),
        };
        for listener in self.http {
            hub.spawn(endpoint.clone().serve(Prompt(listener)));
        }
        hub.spawn(endpoint.serve(socket_http::Local(self.local)));
        tokio::select! {
            ended = socket::serve(hub, mcp) => ended.map_err(SocketError),
            ended = crate::management::serve(hub, control) => ended.map_err(SocketError),
            () = hub.shutdown.cancelled() => Ok(()),
        }
    }
}

/// Takes the port on both families, or on neither: a host that says `localhost` may take either,
/// and must not get to another program.
async fn bind(port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = first.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(second) => Ok((port, vec![first, second])),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // No IPv6 here: nobody can take the port there either.
        Err(_) => Ok((port, vec![first])),
    }
}

/// A listener whose connections do not hold an event back until the one before it was taken.
struct Prompt(TcpListener);

impl Accept for Prompt {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, access::Peer)> {
        let (stream, peer) = self.0.accept().await?;
        if let Err(reason) = stream.set_nodelay(true) {
            tracing::debug!(%reason, "events may come late");
        }
        let peer = access::Peer::from_tcp(&stream, peer);
        Ok((stream, peer))
    }
}
