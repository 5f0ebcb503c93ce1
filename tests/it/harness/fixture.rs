//! The fixture server as a process of its own.

use std::{net::SocketAddr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::within;

/// The server. It stops when it is dropped.
pub(crate) struct Fixture {
    _process: Child,
    address: String,
}

impl Fixture {
    /// Starts the server and returns once it listens.
    pub(crate) async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_mcp-fixture"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the fixture server starts");
        let output = process.stdout.take().expect("its output");
        let line = within(
            "the fixture server",
            BufReader::new(output).lines().next_line(),
        )
        .await
        .expect("its output")
        .expect("the fixture server says where it listens");
        let address = line
            .split_once("listens on http://")
            .and_then(|(_, rest)| rest.split('/').next())
            .expect("an address")
            .to_owned();
        Self {
            _process: process,
            address,
        }
    }

    /// The address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.parse().expect("an address")
    }

    /// Returns the URL of a transport.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}
