//! Configuration files as types: `config.toml` of the bridge, `gateway.toml` of the gateway,
//! `emulator.toml` of the emulator.
//!
//! Owns: what may stand in the files and what it means. Reading them, and naming file, line and
//! field of an error, belongs to the programs.

mod bridge;
mod client;
pub mod emulator;
pub mod gateway;
mod headers;
mod locate;
mod machine;
mod proxy;

pub use bridge::{
    BridgeConfig, BridgeSettings, ConfigVersion, Contradiction, ServerAuth, ServerConfig, Transport,
};
pub use client::{ClientMetadataUrl, ClientMetadataUrlError, KeptSecret};
pub use headers::{HeaderName, HeaderNameError, HeaderSource, Headers, is_header_value};
pub use locate::{field_at, offset_of};
pub use machine::{ClientCredentials, MachineIssuer, MachineProof};
pub use proxy::{Proxy, ProxyError, ProxyUrl};
