//! The keys of the emulator: RSA keys for signing, and one key that seals values for the emulator
//! itself.
//!
//! Invariants: private keys leave this module only for the key file, which only its owner can read.
//! A value sealed for one purpose and binding cannot be opened for another one.

mod file;
mod signing;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::random;
use file::{FILE, FORMAT, KeyFile};
use signing::KeyRing;
pub(crate) use signing::{RolloverError, SigningKey};

const NONCE: usize = 12;

/// The purpose of a sealed value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A sign-in flow, in a form of a page.
    Flow,
    /// The accounts of a browser, in a cookie.
    Accounts,
    /// A request for admin consent, in the form of its page.
    AdminConsent,
    /// A refresh token.
    Refresh,
}

/// All keys.
pub(crate) struct Keys {
    ring: Mutex<KeyRing>,
    sealing: SealingKey,
    folder: Option<PathBuf>,
}

/// The sealing key, and its form in the key file.
struct SealingKey {
    key: RandomizedNonceKey,
    /// 32 bytes, base64.
    encoded: SecretString,
}

/// Why the keys were not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error(transparent)]
    Refused(#[from] RolloverError),
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl Keys {
    /// Reads the keys from `folder`, or generates and stores new ones. Blocks, because generating
    /// RSA keys is slow.
    pub(crate) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let stored = folder.map(|folder| KeyFile::read(&folder.join(FILE)));
        if let Some(key_file) = stored.transpose()?.flatten() {
            let signing = key_file.signing.iter().map(|pem| SigningKey::from_pem(pem));
            let ring = KeyRing::new(signing.collect::<anyhow::Result<_>>()?)?;
            return Self::new(ring, key_file.sealing, folder);
        }
        let sealing = STANDARD.encode(random::bytes::<32>());
        let keys = Self::new(KeyRing::generate()?, sealing, folder)?;
        keys.store(&keys.ring())?;
        Ok(keys)
    }

    fn new(ring: KeyRing, sealing: String, folder: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self {
            ring: Mutex::new(ring),
            sealing: SealingKey::new(sealing)?,
            folder: folder.map(Path::to_owned),
        })
    }

    /// Returns the published keys. The first one signs.
    pub(crate) fn signing(&self) -> Vec<Arc<SigningKey>> {
        self.ring().keys().to_vec()
    }

    /// Returns the key that signs.
    pub(crate) fn active(&self) -> Arc<SigningKey> {
        Arc::clone(self.ring().active())
    }

    /// Publishes another key, which does not sign yet. Blocks while the key is generated.
    pub(crate) fn add(&self) -> Result<(), ChangeError> {
        let key = SigningKey::generate()?;
        self.change(|ring| {
            ring.add(key);
            Ok(())
        })
    }

    /// Makes the key `kid` the one that signs.
    pub(crate) fn activate(&self, kid: &str) -> Result<(), ChangeError> {
        self.change(|ring| ring.activate(kid))
    }

    /// Stops publishing the key `kid`.
    pub(crate) fn drop_key(&self, kid: &str) -> Result<(), ChangeError> {
        self.change(|ring| ring.drop_key(kid))
    }

    /// Emergency rollover: replaces all keys. Blocks while the keys are generated.
    pub(crate) fn replace(&self) -> Result<(), ChangeError> {
        let new = KeyRing::generate()?;
        self.change(|ring| {
            *ring = new;
            Ok(())
        })
    }

    /// Changes the keys in memory and in the key file, completely or not at all.
    fn change(
        &self,
        change: impl FnOnce(&mut KeyRing) -> Result<(), RolloverError>,
    ) -> Result<(), ChangeError> {
        let mut ring = self.ring();
        let mut changed = ring.clone();
        change(&mut changed)?;
        self.store(&changed)?;
        *ring = changed;
        Ok(())
    }

    fn store(&self, ring: &KeyRing) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let key_file = KeyFile {
            version: FORMAT,
            signing: ring.keys().iter().map(|key| key.pem().to_owned()).collect(),
            sealing: self.sealing.encoded.expose_secret().to_owned(),
        };
        key_file.write(folder)
    }

    fn ring(&self) -> MutexGuard<'_, KeyRing> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals `value` for `purpose`. Opening it requires the same `binding`.
    pub(crate) fn seal<T: Serialize>(
        &self,
        purpose: Purpose,
        binding: &str,
        value: &T,
    ) -> anyhow::Result<String> {
        let mut sealed = serde_json::to_vec(value)?;
        let nonce = self
            .sealing
            .key
            .seal_in_place_append_tag(context(purpose, binding), &mut sealed)
            .map_err(|_| anyhow::anyhow!("sealing failed"))?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(out))
    }

    /// Opens a value sealed by [`Keys::seal`]. Returns `None` if it is invalid, or if the purpose
    /// or the binding differs.
    pub(crate) fn open_sealed<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        binding: &str,
        sealed: &str,
    ) -> Option<T> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, body) = bytes.split_at_mut_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .sealing
            .key
            .open_in_place(nonce, context(purpose, binding), body)
            .ok()?;
        serde_json::from_slice(plain).ok()
    }
}

impl SealingKey {
    fn new(encoded: String) -> anyhow::Result<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &STANDARD.decode(&encoded)?)
            .map_err(|_| anyhow::anyhow!("the sealing key is not 32 bytes long"))?;
        Ok(Self {
            key,
            encoded: SecretString::from(encoded),
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

fn context(purpose: Purpose, binding: &str) -> Aad<String> {
    Aad::from(format!("{purpose:?}:{binding}"))
}

#[cfg(test)]
mod tests {
    use super::{Keys, Purpose};

    #[test]
    fn keys_are_stored_in_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("emulator");
        let first = Keys::open(Some(&data)).unwrap();
        let sealed = first.seal(Purpose::Refresh, "", &"kept").unwrap();
        let again = Keys::open(Some(&data)).unwrap();
        assert_eq!(first.active().kid, again.active().kid);
        assert_ne!(first.signing()[0].kid, first.signing()[1].kid);
        assert_eq!(
            again.open_sealed::<String>(Purpose::Refresh, "", &sealed),
            Some("kept".to_owned())
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = std::fs::metadata(data.join(super::FILE)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
        first.replace().unwrap();
        let rolled = Keys::open(Some(&data)).unwrap();
        assert_eq!(first.active().kid, rolled.active().kid);
        assert_ne!(again.active().kid, rolled.active().kid);
        std::fs::write(data.join(super::FILE), "{}").unwrap();
        let error = Keys::open(Some(&data)).unwrap_err();
        assert!(
            error.to_string().contains("hint: delete the file"),
            "{error}"
        );
    }

    #[test]
    fn sealed_value_needs_same_purpose_and_binding() {
        let keys = Keys::open(None).unwrap();
        let sealed = keys.seal(Purpose::Flow, "this browser", &7).unwrap();
        let open = |purpose, binding, text: &str| keys.open_sealed::<u32>(purpose, binding, text);
        assert_eq!(open(Purpose::Flow, "this browser", &sealed), Some(7));
        assert_eq!(open(Purpose::Flow, "another", &sealed), None);
        assert_eq!(open(Purpose::Refresh, "this browser", &sealed), None);
        assert_eq!(open(Purpose::Flow, "this browser", &sealed[1..]), None);
        assert_eq!(open(Purpose::Flow, "this browser", "AAAA"), None);
        assert_ne!(
            keys.seal(Purpose::Flow, "this browser", &7).unwrap(),
            sealed
        );
    }

    #[test]
    fn key_is_published_then_signs_then_is_dropped() {
        let keys = Keys::open(None).unwrap();
        let kids = || -> Vec<String> { keys.signing().iter().map(|k| k.kid.clone()).collect() };
        let [first, second] = kids().try_into().unwrap();
        let few = keys.drop_key(&second).unwrap_err();
        assert!(few.to_string().contains("hint: add one first"), "{few}");
        keys.add().unwrap();
        assert_eq!(kids()[..2], [first.clone(), second.clone()]);
        let third = kids().remove(2);
        keys.activate(&third).unwrap();
        assert_eq!(keys.active().kid, third);
        keys.drop_key(&first).unwrap();
        assert_eq!(kids(), [third, second]);
        let gone = keys.activate(&first).unwrap_err();
        assert!(gone.to_string().contains(&first), "{gone}");
    }
}
