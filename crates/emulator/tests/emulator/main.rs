//! The emulator as its clients and its people meet it: over HTTP, with a browser's cookies.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail by panicking")]

mod authorize;
mod capabilities;
mod discovery;
mod grants;
mod logs;
mod pages;
mod tenants;
mod tls;
mod token;
mod tokens;
mod world;
