//! The endpoints: the two sockets, and HTTP on loopback and on a socket.
//!
//! Owns: accepting connections and starting a [`crate::session`] for each. Does not own: what a
//! session does.

mod access;
mod addresses;
mod batch;
mod body;
mod connections;
mod context;
mod http;
mod intake;
mod processes;
mod response;
mod response_router;
mod serve;
mod sessions;
mod shared;
mod socket;
mod socket_http;
mod sse;
mod sse_streams;
mod stall;
mod stateless;
mod streamable;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use control::api::{Problem, ProblemKind};
use control::socket::Listener;
use tokio::net::{TcpListener, TcpStream};

pub(crate) use addresses::Addresses;
use connections::Connections;
pub(crate) use context::EndpointContext;
use serve::{Accept, Endpoint};

/// The HTTP listeners: the port, if it could be opened, and the socket.
pub(crate) struct HttpListeners {
    http: Vec<TcpListener>,
    local: Listener,
}

impl HttpListeners {
    /// Opens the HTTP port on both loopback addresses. If the port is in use, reports a problem and
    /// never opens another port. HTTP then has only its socket, `local`.
    pub(crate) async fn open(context: &EndpointContext, local: Listener) -> Self {
        context.addresses.set_socket(local.url());
        let http = Self::open_port(context).await;
        Self { http, local }
    }

    async fn open_port(context: &EndpointContext) -> Vec<TcpListener> {
        let wanted = context.config.settings().port;
        match bind(wanted).await {
            Ok((port, http)) => {
                context
                    .addresses
                    .set_http(Ok(format!("http://127.0.0.1:{port}")));
                http
            }
            Err(reason) => {
                let text =
                    format!("port {wanted} cannot be opened for hosts that speak HTTP: {reason}");
                let problem = Problem::new(ProblemKind::InUse, text).with_hint(
                    "end the program that uses it, or set another `port` under [bridge] and restart",
                );
                tracing::error!(%problem, "the other endpoints work");
                context.addresses.set_http(Err(problem));
                Vec::new()
            }
        }
    }

    /// Serves until the bridge ends, together with the socket of shims, `mcp`.
    ///
    /// # Errors
    /// Fails if that socket fails.
    pub(crate) async fn serve(
        self,
        context: &Arc<EndpointContext>,
        mcp: &mut Listener,
    ) -> io::Result<()> {
        let endpoint = Endpoint {
            app: http::routes(context),
            connections: Arc::new(Connections::new(context.max_http_connections)),
            memory: context.to_hosts.clone(),
            shutdown: context.background.shutdown().clone(),
        };
        for listener in self.http {
            context
                .background
                .spawn(endpoint.clone().serve(NoDelayListener(listener)));
        }
        context
            .background
            .spawn(endpoint.serve(socket_http::SocketListener(self.local)));
        tokio::select! {
            ended = socket::serve(context, mcp) => ended,
            () = context.background.shutdown().cancelled() => Ok(()),
        }
    }
}

/// Opens the port on both address families, or on neither. A host that connects to `localhost` may
/// use either, and must not reach another program.
async fn bind(port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = first.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(second) => Ok((port, vec![first, second])),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // Without IPv6 no other program can open the port there either.
        Err(_) => Ok((port, vec![first])),
    }
}

/// A listener whose connections send each event without waiting for the previous one (TCP_NODELAY).
struct NoDelayListener(TcpListener);

impl Accept for NoDelayListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, access::PeerOwner)> {
        let (stream, peer) = self.0.accept().await?;
        if let Err(reason) = stream.set_nodelay(true) {
            tracing::debug!(%reason, "events may come late");
        }
        let peer = access::PeerOwner::from_tcp(&stream, peer);
        Ok((stream, peer))
    }
}
