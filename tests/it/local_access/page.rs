//! A hostile site: its page tries every kind of request and reports the results.

use std::net::SocketAddr;

use axum::{Router, response::Html, routing::get};
use tokio::{net::TcpListener, task::AbortHandle};

/// The site. It stops when it is dropped.
pub(super) struct Site {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Site {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let page = Router::new().fallback(get(async || {
            // The browser must open a new connection for its next request.
            ([("connection", "close")], Html(include_str!("page.html")))
        }));
        let serving = tokio::spawn(async move {
            axum::serve(listener, page).await.expect("a page");
        });
        Self {
            address,
            serving: serving.abort_handle(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
