//! The command line as processes: what hosts, scripts and people see of it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commands;
mod demo;
mod entra_setup;
mod fake_bridge;
mod graph;
mod host;
mod hung;
mod installation;
mod resident;
mod servers_add;
mod shim;
mod signed_in;
