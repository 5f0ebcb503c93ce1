//! Words that every other crate shares: names, URLs, identifiers, typed configuration.
//!
//! Owns: what is valid and what is not, decided once, at the edge.
//! Does not own: I/O, async, anything that happens. The one exception is [`Clock`], because
//! time is an argument everywhere and this is the only crate that all others know.

mod clock;
pub mod config;
mod excerpt;
mod identifier;
mod name;
mod url;

pub use clock::{AheadClock, Clock, ManualClock};
pub use excerpt::excerpt;
pub use identifier::{Issuer, Resource};
pub use name::{NameError, SecretName, SecretNameError, ServerName};
pub use url::{EndpointUrl, UrlError, is_loopback_host, shown_url};
