//! A real gateway between a minimal identity provider, a minimal MCP server and a minimal browser, all
//! in this process and on loopback.
//!
//! `docs/threats.md` explains the ids at the start of test names.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot go on here is a failed test"
)]

mod backend;
mod browser;
mod client;
mod identity_provider;
mod world;

mod account;
mod authorize;
mod callback;
mod connections;
mod consent;
mod credentials;
mod discovery;
mod proxy;
mod registration;
mod secrecy;
mod streams;
mod token;
