//! The management API of the resident bridge, and the sockets that lead to it.
//!
//! Owns: where the bridge's files and sockets lie ([`Home`]), the sockets and who may open them
//! ([`socket`]), the first line on each ([`hello`]), the API that the window, the tray and the
//! command line share ([`api`]) its client ([`Client`]), starting a bridge ([`start`]) and ending one that does not react
//! ([`end`]).
//! Does not own: anything the bridge does when asked; HTTP, OAuth, MCP.

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
