//! The emulator as its clients and users see it: over HTTP, with the cookies of a browser.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail by panicking")]

mod admin;
mod admin_consent;
mod authorize;
mod capabilities;
mod config;
mod discovery;
mod fault_injection;
mod grants;
mod harness;
mod logs;
mod pages;
mod policies;
mod revocation;
mod rollover;
mod tenants;
mod tls;
mod token;
mod tokens;
