//! A minimal HTTP/1.1 implementation on bytes.

use std::collections::HashMap;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A connection of a client.
pub(super) struct Connection(BufReader<TcpStream>);

/// A request of a client.
pub(super) struct Request {
    pub(super) method: String,
    headers: HashMap<String, String>,
    /// Null without a body.
    pub(super) body: Value,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Returns the next request, or `None` once the client has disconnected.
    pub(super) async fn request(&mut self) -> Option<Request> {
        let first = self.line().await?;
        let method = first.split(' ').next()?.to_owned();
        let mut headers = HashMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length");
        let length = length.map_or(0, |text| text.parse().expect("a length"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some(Request {
            method,
            headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.0.read_line(&mut line).await.ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// Sends bytes. Returns false if the client has disconnected.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.get_mut().write_all(bytes).await.is_ok()
    }

    /// Waits until the client disconnects.
    pub(super) async fn hung_up(&mut self) {
        while self.line().await.is_some() {}
    }

    /// Makes the connection end with a reset, which the client cannot take for a regular end.
    pub(super) fn reset(self: &mut Connection) {
        self.0
            .get_mut()
            .set_zero_linger()
            .expect("an option of TCP");
    }
}
