//! A hostile site: one page that tries everything a page can, and writes down what came of it.

use std::net::SocketAddr;

use axum::{Router, response::Html, routing::get};
use tokio::{net::TcpListener, task::AbortHandle};

/// The site. It ends with this value.
pub(super) struct Site {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Site {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let page = Router::new().fallback(get(async || {
            // The browser must come back for whatever it asks next.
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
