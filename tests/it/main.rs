//! End-to-end cases, one binary: every process is real, every client is someone's.
//!
//! Owns: the rules that no single crate can hold ([`layering`]).
//! Does not own: what one crate can test alone; that stands beside its code.

mod accounts;
mod arrays;
mod authorities;
mod buffers;
mod clients;
mod conformance;
mod consent_page;
mod crowd;
mod deployed;
mod descriptors;
mod desktop;
mod door;
mod elicited;
mod emulator_alone;
mod faces;
mod faults;
mod fidelity;
mod full_disk;
mod gateway_alone;
mod gateway_floods;
mod hosts;
mod idle;
mod keychain;
mod layering;
mod load;
mod losses;
mod matrix;
mod msal;
mod others;
mod people;
mod progress;
mod proxy_script;
mod refusals;
mod resources;
mod secrets_stay;
mod server_mode;
mod sign_ins;
mod world;
