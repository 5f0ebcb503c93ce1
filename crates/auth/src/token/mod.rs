//! Tokens: got from the token endpoint, kept fresh, handed out.
//!
//! Owns: what a grant is, when its access token is due, one refresh at a time, what each refusal
//! means for what is kept.
//! Does not own: how the first code was got, and where records lie.

mod audience;
pub(crate) mod endpoint;
pub(crate) mod form;
mod grant;
pub(crate) mod grant_entry;
mod grant_store;
mod multi_resource;
mod oauth_error;
pub(crate) mod pause;
pub(crate) mod refused;
pub(crate) mod source;
#[cfg(test)]
mod tests;

pub(crate) use form::DEVICE_CODE;
pub(crate) use grant::{Endpoints, Grant, GrantKey, ObtainedBy, Tokens};
pub(crate) use grant_entry::Slot;
pub(crate) use grant_store::Ledger;
pub(crate) use oauth_error::{Refusal, plain};
