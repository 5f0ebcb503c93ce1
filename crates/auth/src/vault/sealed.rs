//! The format of a sealed record.
//!
//! `POSTERN` and a version byte, a random 12-byte nonce, then the content sealed with AES-256-GCM.
//! The version and the record's name are authenticated too, so that a file cannot replace that of
//! another record.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::Plain;
use super::key::MasterKey;
use super::record::RecordName;

const HEADER: &[u8; 8] = b"POSTERN\x01";

/// Seals `plain` as the record `name`.
pub(super) fn seal(key: &MasterKey, name: &RecordName, plain: &Plain) -> Vec<u8> {
    // Reserves space for the tag, because growing would leave a copy of the plain text behind.
    let mut body = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
    body.extend_from_slice(plain);
    let nonce = cipher(key)
        .seal_in_place_append_tag(Aad::from(context(name)), &mut body)
        .expect("AES-GCM seals anything below 64 GiB");
    [HEADER.as_slice(), nonce.as_ref(), &body].concat()
}

/// Opens the record `name`. Returns `None` if it was modified, or sealed with another name or key.
pub(super) fn open(key: &MasterKey, name: &RecordName, bytes: &[u8]) -> Option<Plain> {
    let (nonce, body) = bytes.strip_prefix(HEADER)?.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = cipher(key)
        .open_in_place(nonce, Aad::from(context(name)), &mut body)
        .ok()?
        .len();
    body.truncate(length);
    Some(body)
}

fn cipher(key: &MasterKey) -> RandomizedNonceKey {
    RandomizedNonceKey::new(&AES_256_GCM, key.expose()).expect("the key has 32 bytes")
}

fn context(name: &RecordName) -> Vec<u8> {
    [HEADER.as_slice(), name.file_name().as_bytes()].concat()
}
