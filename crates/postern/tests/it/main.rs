//! Tests of the executables as processes, as hosts, scripts and users run them.
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
