//! The data that must survive a restart, in SQLite.
//!
//! Owns: clients, consents, users, sessions, codes and refresh tokens, and single use. Does not own:
//! sealing and digests, which the callers do. No plain token reaches this module.
//!
//! One thread owns the connection and runs the jobs one after another, so each job is atomic without
//! further locks.

mod clients;
mod consents;
mod database;
mod sessions;
mod sign_ins;
mod sweep;

pub(crate) use clients::Client;
pub(crate) use consents::ConsentKey;
pub(crate) use database::{Store, StoreError};
pub(crate) use sessions::{
    Begun, Code, Misfit, Presented, RedeemedCode, RefreshToken, Rotation, Session,
    SpentRefreshToken, SpentTransaction,
};
pub(crate) use sign_ins::StoredSignIn;

/// Seconds since 1970.
pub(crate) type Seconds = u64;
