//! The backend of the measurements of the cost of a request: a separate process with one thread that
//! returns its input, and opens event streams without events.

use std::{net::SocketAddr, process::Stdio};

use anyhow::{Context, Result};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    runtime::Builder,
};

use super::{
    super::upstream,
    loopback::ourselves,
    server::{Server, free_address},
    wire,
};

/// The first argument of this program when it is the backend.
pub(super) const NAME: &str = "backend";

const PATH: &str = "/mcp";

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// Starts the backend on a processor.
pub(super) fn start(processor: u32) -> Result<Server> {
    let address = free_address()?;
    let mut command = ourselves(processor, &[NAME, &address.to_string()])?;
    Server::start(command.stdout(Stdio::null()), address)
}

/// Returns its Streamable HTTP endpoint.
pub(super) fn endpoint(server: &Server) -> String {
    format!("http://{}{PATH}", server.address)
}

/// Serves until the process is killed.
pub(super) fn serve(address: &str) -> Result<()> {
    let address: SocketAddr = address.parse().context("not an address")?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        loop {
            let (connection, _) = listener.accept().await?;
            // The end of a connection is not an error of the server.
            tokio::spawn(async move { drop(converse(connection).await) });
        }
    })
}

async fn converse(mut connection: TcpStream) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(message) = wire::read(&mut connection, &mut buffer).await? {
        if message.first_line(&buffer).starts_with(b"GET ") {
            connection.write_all(STREAM).await?;
        } else {
            let response = match upstream::answer(message.body(&buffer))? {
                Some(answer) => format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                     content-length: {}\r\n\r\n{answer}",
                    answer.len()
                ),
                None => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            connection.write_all(response.as_bytes()).await?;
        }
        message.remove(&mut buffer);
    }
    Ok(())
}
