//! Tokens: requested, refreshed and handed out.
//!
//! Owns: what a grant is, when its access token is refreshed, one refresh at a time, and what each
//! error means for the stored grant.
//! Does not own: how the first code was obtained, and where records are.

mod audience;
pub(crate) mod bearer;
pub(crate) mod endpoint;
pub(crate) mod form;
mod grant;
mod grant_entry;
mod grant_error;
mod grant_store;
mod multi_resource;
pub(crate) mod pause;
pub(crate) mod refused;
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod verdicts;

pub(crate) use grant::{Endpoints, Grant, GrantKey, ObtainedBy, Tokens};
pub(crate) use grant_entry::GrantEntry;
pub(crate) use grant_store::GrantStore;
