//! Connections of HTTP/1.1 that send one byte per second.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::{Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::Plan;

const INTERVAL: Duration = Duration::from_secs(1);

/// Begins a request whose head never ends.
pub(super) async fn send_head(stream: TcpStream, plan: &Plan) -> Result<()> {
    let head = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\nx-slow: ", plan.target);
    drip(stream, head.bytes().chain(std::iter::repeat(b'a')), plan).await
}

/// Begins a request whose body takes more than an hour.
pub(super) async fn send_body(mut stream: TcpStream, plan: &Plan) -> Result<()> {
    let head = format!(
        "POST /register HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: 4096\r\n\r\n",
        plan.target
    );
    stream.write_all(head.as_bytes()).await?;
    drip(stream, std::iter::repeat(b' '), plan).await
}

/// Sends until the server ends the connection.
async fn drip(mut stream: TcpStream, bytes: impl Iterator<Item = u8>, plan: &Plan) -> Result<()> {
    for byte in bytes {
        stream.write_all(&[byte]).await?;
        plan.tally.sent.fetch_add(1, Ordering::Relaxed);
        let mut answer = [0; 1024];
        // The response does not matter, only its end.
        if let Ok(read) = timeout(INTERVAL, stream.read(&mut answer)).await
            && read? == 0
        {
            bail!("the connection ended");
        }
    }
    Ok(())
}
