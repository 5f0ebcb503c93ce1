//! The server as its clients see it: on every face, as the SDK's own client and as raw HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test fails where it panics, and reads better so"
)]

mod access;
mod harness;
mod sse;
mod streamable;
