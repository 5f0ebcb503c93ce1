//! The bridge through its real sockets and ports, in front of a server that records what it gets.

#![expect(
    clippy::unwrap_used,
    reason = "what is unwrapped here is what the test claims"
)]

mod accounts;
mod arrays;
mod bridge;
mod cleartext;
mod connections;
mod consents;
mod elicit;
mod elsewhere;
mod eras;
mod events;
mod first_contact;
mod headers;
mod http;
mod import;
mod inspection;
mod life;
mod lists;
mod losses;
mod no_sign_in;
mod recovery;
mod refused_tokens;
mod relay;
mod server;
mod server_mode;
mod shared_grant;
mod sign_in_check;
mod socket;
mod watching;
