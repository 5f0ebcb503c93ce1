//! The keys of `_meta` that the protocol defines (2026-07-28, basic).
//!
//! Owns: the names of the keys. Does not own: what their values mean.

/// The protocol version of a modern message, in `params._meta`.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The client's capabilities.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The client's name and version.
pub const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The lowest level of log messages that the client wants.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The server's name and version, in a result's `_meta`.
pub const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The subscription of a notification, in its `_meta`.
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
