//! The server as clients see it: on every transport, by the SDK's own client and by raw HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test fails where it panics, and is easier to read this way"
)]

mod access;
mod harness;
mod sse;
mod streamable;
