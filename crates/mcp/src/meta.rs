//! The keys of `_meta` that the protocol defines (2026-07-28, basic).
//!
//! Owns: their names. Does not own: what their values mean.

/// The key in `params._meta` by which a modern message names its protocol version.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The key by which it says what its client can do.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The key by which it says who its client is.
pub const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The key by which it says from which level on it wants the server's log.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The key in a result's `_meta` by which a server says who it is.
pub const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The key in a notification's `_meta` that names the subscription it belongs to.
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
