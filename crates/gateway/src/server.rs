//! Connections: accepted, given a time limit for their headers, and ended softly, then hard.

use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// How long a client may take to send a request's headers.
const HEADER_TIME: Duration = Duration::from_secs(15);
/// How long requests may go on after the shutdown began.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Serves `router` until `shutdown`, and returns when every connection is closed.
pub(crate) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let service = router.clone().layer(axum::Extension(ConnectInfo(peer)));
                connections.spawn(connection(stream, service, shutdown.clone()));
            }
            Err(error) => pause_after(&error).await,
        }
    }
    connections.close();
    connections.wait().await;
}

/// A full file table passes; trying again at once would only burn the processor.
async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .http2()
        .timer(TokioTimer::new());
    let service = TowerToHyperService::new(
        router.map_request(|request: http::Request<_>| request.map(axum::body::Body::new)),
    );
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return report(result),
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    match tokio::time::timeout(GRACE, connection).await {
        Ok(result) => report(result),
        Err(_) => tracing::debug!("a connection was cut at the shutdown"),
    }
}

fn report(result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
