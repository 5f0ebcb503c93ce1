//! The tenant's keys: RSA keys that sign, and one that seals what only the emulator reads.
//!
//! Invariant: private keys leave this module only towards the key file, which its owner alone
//! can read. What is sealed for one purpose and binding opens for no other.

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

/// What a sealed value is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A sign-in under way, in a form of a page.
    Flow,
    /// Who is signed in, in a cookie.
    Accounts,
    /// A client that an administrator looks at, in a form of the page.
    AdminConsent,
    /// A refresh token.
    Refresh,
}

/// All keys of the tenant.
pub(crate) struct Keys {
    ring: Mutex<KeyRing>,
    sealing: SealingKey,
    folder: Option<PathBuf>,
}

/// The key that seals, and what the key file has of it.
struct SealingKey {
    key: RandomizedNonceKey,
    /// 32 bytes, base64.
    encoded: SecretString,
}

/// Why keys were not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error(transparent)]
    Refused(#[from] RolloverError),
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl Keys {
    /// Reads the keys from `folder`, or makes new ones and keeps them there. RSA keys take their
    /// time: call it where blocking is allowed.
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

    /// The keys that clients may meet in tokens; the first one signs.
    pub(crate) fn signing(&self) -> Vec<Arc<SigningKey>> {
        self.ring().keys().to_vec()
    }

    /// The key that signs today.
    pub(crate) fn active(&self) -> Arc<SigningKey> {
        Arc::clone(self.ring().active())
    }

    /// Publishes another key, which does not sign yet. Blocks for as long as it takes to make.
    pub(crate) fn add(&self) -> Result<(), ChangeError> {
        let key = SigningKey::generate()?;
        self.change(|ring| {
            ring.add(key);
            Ok(())
        })
    }

    /// Lets the key `kid` sign from now on.
    pub(crate) fn activate(&self, kid: &str) -> Result<(), ChangeError> {
        self.change(|ring| ring.activate(kid))
    }

    /// Publishes the key `kid` no longer.
    pub(crate) fn drop_key(&self, kid: &str) -> Result<(), ChangeError> {
        self.change(|ring| ring.drop_key(kid))
    }

    /// An emergency: new keys at once, and none of the old ones. Blocks while they are made.
    pub(crate) fn replace(&self) -> Result<(), ChangeError> {
        let new = KeyRing::generate()?;
        self.change(|ring| {
            *ring = new;
            Ok(())
        })
    }

    /// Changes the keys as a whole or not at all, in the key file too.
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

    /// Seals `value` for `purpose`; it opens only with the same `binding`.
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

    /// Opens what [`Keys::seal`] made, or nothing.
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
    fn keeps_keys_in_a_file_of_the_owner_alone() {
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
    fn opens_nothing_for_another_purpose_or_binding() {
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
    fn a_key_is_published_then_signs_then_goes() {
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
