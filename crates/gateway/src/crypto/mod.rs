//! Randomness, digests and sealing.
//!
//! Owns: every key and every random value. Does not own: what they are used for.

mod digest;
mod key_ring;
mod random;

pub(crate) use digest::{Digest, base64url, s256};
pub(crate) use key_ring::{KeyRing, Purpose};
pub(crate) use random::{id, token};
