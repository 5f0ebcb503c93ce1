//! The types that all crates share: names, URLs, identifiers, parameters
//! and configuration.
//!
//! Owns: validation, which happens once, when input is parsed.
//! Does not own: I/O, async, side effects. The only exception is [`Clock`], because time is passed as
//! an argument everywhere, and all crates depend on this one.

mod clock;
pub mod config;
mod excerpt;
mod identifier;
mod name;
mod parameters;
mod url;

pub use clock::{AheadClock, Clock, ManualClock};
pub use excerpt::excerpt;
pub use identifier::{Issuer, Resource};
pub use name::{NameError, SecretName, SecretNameError, ServerName};
pub use parameters::{MalformedParameter, Parameters, RepeatedParameter, UniqueParameters};
pub use url::{EndpointUrl, UrlError, is_loopback_host, shown_url};
