//! The key that seals all records, and the file that may contain it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::folder::Folder;
use super::{VaultError, VaultKind, VaultState};
use crate::random;

/// The length of a master key in bytes.
pub(super) const KEY_LENGTH: usize = 32;

/// The key of one installation. Clones share the bytes, which are wiped when the last one is
/// dropped.
#[derive(Clone)]
pub(super) struct MasterKey(Arc<Zeroizing<[u8; KEY_LENGTH]>>);

impl MasterKey {
    pub(super) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        random::fill(&mut *bytes);
        Self(Arc::new(bytes))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; KEY_LENGTH] = bytes.try_into().ok()?;
        Some(Self(Arc::new(Zeroizing::new(bytes))))
    }

    /// Returns the bytes, for the cipher and for the key's storage.
    pub(super) fn expose(&self) -> &[u8] {
        &**self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// A key in a file next to the records.
#[derive(Debug)]
pub(super) struct KeyFile {
    folder: Folder,
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
enum Known {
    Nothing,
    Key(MasterKey),
    Failed(VaultError),
}

impl KeyFile {
    pub(super) fn new(folder: Folder) -> Self {
        let path = folder.path().join("key");
        Self {
            folder,
            path,
            known: Mutex::new(Known::Nothing),
        }
    }

    pub(super) fn state(&self) -> VaultState {
        let kind = VaultKind::File;
        match &*self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            Known::Nothing => VaultState::Unopened { kind },
            Known::Key(_) => VaultState::Ready { kind },
            Known::Failed(error) => VaultState::Absent {
                reason: error.to_string(),
            },
        }
    }

    pub(super) fn key(&self) -> Result<MasterKey, VaultError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Known::Key(key) = &*known {
            return Ok(key.clone());
        }
        let read = read(&self.path).and_then(|found| match found {
            Some(key) => Ok(key),
            None => self.make(),
        });
        *known = match &read {
            Ok(key) => Known::Key(key.clone()),
            Err(error) => Known::Failed(error.clone()),
        };
        read
    }

    fn make(&self) -> Result<MasterKey, VaultError> {
        if self.folder.has_records()? {
            return Err(VaultError::KeyMissing {
                folder: self.folder.path().to_owned(),
                reason: format!(
                    "{} does not exist, yet there are sealed records; were they sealed with the keychain?",
                    self.path.display()
                ),
            });
        }
        let key = MasterKey::random();
        self.folder.write_new("key", key.expose())?;
        Ok(key)
    }
}

fn read(path: &Path) -> Result<Option<MasterKey>, VaultError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(VaultError::io(path, &error)),
    };
    if !files::is_private(&metadata) {
        return Err(VaultError::Exposed {
            path: path.to_owned(),
        });
    }
    let bytes = Zeroizing::new(std::fs::read(path).map_err(|error| VaultError::io(path, &error))?);
    match MasterKey::from_bytes(&bytes) {
        Some(key) => Ok(Some(key)),
        None => Err(VaultError::Damaged {
            path: path.to_owned(),
        }),
    }
}
