//! One file per command. Each sends requests to the bridge and formats the replies.

use std::net::SocketAddr;

use tokio::net::TcpListener;

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

/// Binds a listener. The error's hint is to choose `choose`.
pub(crate) async fn listen(address: SocketAddr, choose: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::new(format_args!(
            "cannot listen on {address}: {error}; hint: choose {choose}"
        ))
    })
}
