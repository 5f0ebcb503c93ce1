//! The management API of the bridge, and its sockets.
//!
//! Owns: the folders of the bridge's files and sockets ([`Home`]), the sockets and their access checks
//! ([`socket`]), the first line on each ([`hello`]), the API for the window, the tray and the command
//! line ([`api`]), its client ([`Client`]), starting a bridge ([`start`]), and ending one that does not
//! respond ([`end`]).
//! Does not own: how the bridge carries out requests, HTTP, OAuth, MCP.

pub mod api;
mod client;
mod end;
mod error;
mod greeting;
pub mod hello;
mod home;
pub mod lines;
pub mod peer;
pub mod socket;
pub mod start;

pub use client::{Client, ControlResponse, Watch, open};
pub use end::{EndError, end};
pub use error::CallError;
pub use greeting::{Greeting, HELLO_TIMEOUT, is_ending, probe};
pub use home::{Home, HomeError, folder_of_user};
