//! The connection to a server, against servers in this process whose responses the test decides.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod arrays;
mod failures;
mod fidelity;
mod handshake;
mod http_sse;
mod idle;
mod legacy_server;
mod listening;
mod modern;
mod modern_server;
mod proxies;
mod server;
mod streams;
mod tls;
mod tools;
