//! The MCP wire protocol.
//!
//! Owns: the JSON-RPC envelope around bytes that are never changed, the SSE codec, the eras and the
//! translation between them, and the connection to a server over Streamable HTTP or HTTP+SSE. Does
//! not own: accounts, permissions, the bridge's sessions, and any UI. It reads no environment and
//! no clock but tokio's.

mod batch;
pub mod elicitation;
pub mod era;
mod error;
pub mod handshake;
pub mod header;
pub mod header_validation;
mod id;
pub mod json;
mod long;
mod members;
pub mod memory;
pub mod message;
pub mod meta;
pub mod mrtr;
mod splice;
pub mod sse;
pub mod subscription;
mod tool_headers;
mod translate;
pub mod upstream;

pub use batch::{Batch, InvalidElement, Parsed};
pub use era::{Era, LATEST_LEGACY, LATEST_MODERN, SUPPORTED_LEGACY, SUPPORTED_MODERN};
pub use id::RequestId;
pub use long::{LongKind, LongMessage};
pub use message::{Kind, MAX_BATCH_MESSAGES, Message, ParseError};
pub use tool_headers::{FilteredTools, ToolHeaders};
