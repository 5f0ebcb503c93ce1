//! The ways in: the two sockets, and HTTP on loopback and on a socket of its own.
//!
//! Owns: listening, and turning each conversation into a [`crate::session`]. Does not own: what
//! a session does.

mod alone;
mod door;
mod http;
mod local;
mod post;
mod socket;
mod sse;
mod streamable;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener as Accepts};
use control::api::{Problem, ProblemKind};
use control::socket::Listener;
use tokio::net::{TcpListener, TcpStream};

use crate::hub::Hub;

pub(crate) use socket::welcome;

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
        let app = http::routes(hub);
        for listener in self.http {
            hub.spawn(serve_http(Prompt(listener), app.clone(), Arc::clone(hub)));
        }
        hub.spawn(serve_http(local::Local(self.local), app, Arc::clone(hub)));
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

impl Accepts for Prompt {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, peer) = Accepts::accept(&mut self.0).await;
        if let Err(reason) = stream.set_nodelay(true) {
            tracing::debug!(%reason, "events may come late");
        }
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn serve_http<L>(listener: L, app: Router, hub: Arc<Hub>)
where
    L: Accepts<Addr: std::fmt::Debug>,
    door::Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    let shutdown = hub.shutdown.clone().cancelled_owned();
    // Answers that are on their way get there.
    let serving = axum::serve(
        listener,
        app.into_make_service_with_connect_info::<door::Peer>(),
    )
    .with_graceful_shutdown(shutdown);
    if let Err(reason) = serving.await {
        tracing::error!(%reason, "the HTTP face ended");
    }
}
