//! End-to-end cases in one binary: every process is real, and clients and servers of third parties
//! are included.
//!
//! Owns: the rules that no single crate can enforce ([`layering`]).
//! Does not own: what one crate can test alone. That is beside its code.

mod accounts;
mod apim_gateway;
mod arrays;
mod authorities;
mod buffers;
mod clients;
mod concurrency;
mod conformance;
mod consent_page;
mod cycles;
mod descriptors;
mod desktop;
mod emulator_standalone;
mod entra_errors;
mod faults;
mod fidelity;
mod full_disk;
mod gateway_floods;
mod gateway_standalone;
mod harness;
mod hosts;
mod idle;
mod keychain;
mod layering;
mod load;
mod local_access;
mod matrix;
mod msal;
mod multi_user;
mod progress;
mod proxy_script;
mod reconnect;
mod resources;
mod secret_leaks;
mod server_mode;
mod sign_ins;
mod third_party_servers;
mod transports;
mod url_elicitation;
