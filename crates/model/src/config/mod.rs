//! Configuration files as types: `config.toml` of the bridge, `gateway.toml` of the gateway,
//! `emulator.toml` of the emulator.
//!
//! Owns: the syntax and the meaning of the files. Does not own: reading them, and adding the file's name
//! to an error, which the programs do.

mod bridge;
mod client;
mod client_credentials;
pub mod emulator;
pub mod gateway;
mod headers;
mod locate;
mod proxy;
mod secret_ref;

pub use bridge::{
    BridgeConfig, BridgeSettings, ConfigVersion, Contradiction, ServerAuth, ServerConfig, Transport,
};
pub use client::{ClientMetadataUrl, ClientMetadataUrlError};
pub use client_credentials::{ClientCredential, ClientCredentials, TokenIssuer};
pub use headers::{HeaderName, HeaderNameError, HeaderSource, Headers, is_header_value};
pub use locate::{field_at, offset_of};
pub use proxy::{Proxy, ProxyError, ProxyUrl};
pub use secret_ref::SecretRef;
