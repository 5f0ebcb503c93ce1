//! A real gateway between a small identity provider, a small MCP server and a small browser, all
//! in this process and on loopback.
//!
//! Tests named `dN` or `tN` show that a known defect of such gateways is not in this one.

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
