//! Configuration files as types: `config.toml` of the bridge, `gateway.toml` of the gateway.
//!
//! Owns: what may stand in the files and what it means. Reading them, and naming file, line and
//! field of an error, belongs to the programs.

mod bridge;
pub mod gateway;
mod locate;
mod proxy;

pub use bridge::{
    BridgeConfig, BridgeSettings, ConfigVersion, ServerAuth, ServerConfig, Transport,
};
pub use locate::field_at;
pub use proxy::{Proxy, ProxyError, ProxyUrl};
