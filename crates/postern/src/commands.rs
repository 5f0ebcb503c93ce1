//! One file per command. Each sends requests to the bridge and formats the replies.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use crate::error::CliError;

pub(crate) mod bridge;
pub(crate) mod connect;
pub(crate) mod consents;
pub(crate) mod doctor;
pub(crate) mod emulator;
pub(crate) mod entra_setup;
pub(crate) mod gateway;
pub(crate) mod hosts;
pub(crate) mod secrets;
pub(crate) mod servers;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
pub(crate) mod snippets;
pub(crate) mod status;

/// How many connections the system queues until the process accepts them. Beyond that a visitor tries
/// again after a second. Linux takes 4,096 at most by default.
const MAX_QUEUED_CONNECTIONS: u32 = 4096;

/// The interval at which free memory is returned to the system.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// Binds a listener. The error's hint is to choose `choose`.
pub(crate) fn listen(address: SocketAddr, choose: &str) -> Result<TcpListener, CliError> {
    try_listen(address).map_err(|error| {
        CliError::new(format_args!(
            "cannot listen on {address}: {error}; hint: choose {choose}"
        ))
    })
}

fn try_listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // On Windows this would let another process take the address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(MAX_QUEUED_CONNECTIONS)
}

/// Returns free memory to the system again and again, as long as the process runs. The allocator keeps
/// what many connections or long messages needed.
async fn return_free_memory() {
    loop {
        tokio::time::sleep(TRIM_INTERVAL).await;
        // On another thread, because it walks the whole heap and would delay messages.
        let _ = tokio::task::spawn_blocking(shim::return_free_memory).await;
    }
}
