//! Tokens: got from the token endpoint, kept fresh, handed out.
//!
//! Owns: what a grant is, when its access token is due, one refresh at a time, what each refusal
//! means for what is kept.
//! Does not own: how the first code was got, and where records lie.

mod audience;
mod branch;
pub(crate) mod endpoint;
pub(crate) mod form;
mod grant;
mod ledger;
pub(crate) mod pause;
mod refusal;
pub(crate) mod refused;
pub(crate) mod slot;
pub(crate) mod source;
#[cfg(test)]
mod tests;

pub(crate) use form::DEVICE_CODE;
pub(crate) use grant::{Endpoints, Grant, GrantKey, ObtainedBy, Tokens};
pub(crate) use ledger::Ledger;
pub(crate) use refusal::{Refusal, plain};
pub(crate) use slot::Slot;
