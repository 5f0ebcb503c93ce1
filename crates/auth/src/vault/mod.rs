//! Sealed records on disk, and the key that seals them.
//!
//! Owns: one file per record, sealed with AES-256-GCM, and one 32-byte key per installation, in
//! the system keychain or, if the user chose so, in a file of mode 0600.
//! Does not own: the content of records.
//!
//! Invariants:
//! - nothing is written unsealed, not even temporary files;
//! - a record opens only with its own name, kind and format version;
//! - no key is made while a sealed record exists, because that would silently lose the record;
//! - every wait for the keychain has a timeout.
//!
//! All calls block. Async callers use `spawn_blocking`.

mod folder;
mod key;
mod keychain;
mod record;
mod sealed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyring_core::CredentialStore;
use zeroize::Zeroizing;

use folder::Folder;
use key::{KeyFile, MasterKey};
use keychain::{Keychain, Lock};
pub(crate) use record::{RecordKind, RecordName};
use texts::{Describe, Text, error_in_english, text};

/// How long the keychain may take to answer before it counts as locked.
const KEYCHAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The store for tokens. Clones share one vault.
#[derive(Clone, Debug)]
pub struct Vault(Arc<Storage>);

#[derive(Debug)]
enum Storage {
    Keychain(Folder, Keychain),
    File(Folder, KeyFile),
    Memory(Mutex<BTreeMap<RecordName, Plain>>),
}

/// The content of a record. Wiped on drop.
pub(crate) type Plain = Zeroizing<Vec<u8>>;

/// The content of a vault.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) records: Vec<(RecordName, Plain)>,
    /// Files that are named like records and cannot be opened.
    pub(crate) damaged: Vec<PathBuf>,
}

/// Where the key of a vault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultKind {
    /// The system keychain holds the key.
    Keychain,
    /// A file that only the user can read holds the key.
    File,
    /// Everything is lost when the process ends.
    Memory,
}

/// Whether a vault is usable, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultState {
    /// The key was not needed so far.
    Unopened {
        /// Where the key is.
        kind: VaultKind,
    },
    /// Open.
    Ready {
        /// Where the key is.
        kind: VaultKind,
    },
    /// The keychain waits for the user to unlock it.
    Locked,
    /// There is no keychain, or it does not have the key.
    Absent {
        /// The reason.
        reason: String,
    },
    /// The vault could not be written, for example because the disk is full. The newest tokens are
    /// only in memory.
    Behind(Unsaved),
}

/// The tokens that could not be written to the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaved {
    /// The names of their accounts.
    pub accounts: Vec<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The reason.
    pub error: VaultError,
}

/// Why a vault is not usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// The keychain waits for the user to unlock it.
    Locked,
    /// There is no keychain.
    Absent {
        /// The reason.
        reason: String,
    },
    /// There are sealed records, but their key is missing.
    KeyMissing {
        /// The folder.
        folder: PathBuf,
        /// Where the key was expected.
        reason: String,
    },
    /// A record was modified or damaged.
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Other users can read the key file.
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The disk or the system reported an error.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
}

error_in_english!(VaultError);

impl Describe for VaultError {
    fn text(&self) -> Text {
        match self {
            Self::Locked => text!(KeychainLocked),
            Self::Absent { reason } => text!(KeychainUnusable { reason }),
            Self::KeyMissing { folder, reason } => {
                text!(VaultKeyMissing {
                    folder: folder.as_path(),
                    reason
                })
            }
            Self::Damaged { path } => text!(VaultRecordDamaged {
                path: path.as_path()
            }),
            Self::Exposed { path } => text!(KeyFileExposed {
                path: path.as_path()
            }),
            Self::Io { path, reason } => text!(VaultUnusable {
                path: path.as_path(),
                reason
            }),
        }
    }
}

impl VaultError {
    fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }
}

impl Vault {
    /// Creates a vault in the folder `dir` (created on demand, mode 0700) with its key in the
    /// system keychain: service `Postern`, user the installation id from `dir`. Does not access
    /// either yet.
    #[must_use]
    pub fn keychain(dir: &Path) -> Self {
        Self::guarded(
            dir,
            keychain::system_store,
            keychain::system_probe,
            KEYCHAIN_TIMEOUT,
        )
    }

    /// Like [`Vault::keychain`], with another keychain. `open` opens it for each request of the
    /// key, on a thread of its own, and may take up to `timeout`.
    #[must_use]
    pub fn with_keychain(
        dir: &Path,
        open: impl Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync + 'static,
        timeout: Duration,
    ) -> Self {
        let open = Arc::new(open);
        let probed = Arc::clone(&open);
        let probe = move || probed().map(|_| Lock::Open);
        Self::guarded(dir, move || open(), probe, timeout)
    }

    fn guarded(
        dir: &Path,
        open: impl Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync + 'static,
        probe: impl Fn() -> keyring_core::Result<Lock> + Send + Sync + 'static,
        timeout: Duration,
    ) -> Self {
        let folder = Folder::new(dir);
        let keychain = Keychain::new(folder.clone(), Box::new(open), Box::new(probe), timeout);
        Self(Arc::new(Storage::Keychain(folder, keychain)))
    }

    /// Creates a vault in the folder `dir` with its key in the file `key` there, mode 0600: as
    /// safe as the user's files. Does not access it yet.
    #[must_use]
    pub fn file(dir: &Path) -> Self {
        let folder = Folder::new(dir);
        let key = KeyFile::new(folder.clone());
        Self(Arc::new(Storage::File(folder, key)))
    }

    /// Creates a vault in memory.
    #[must_use]
    pub fn memory() -> Self {
        Self(Arc::new(Storage::Memory(Mutex::default())))
    }

    /// Returns whether it is usable, as far as is known. Never waits.
    #[must_use]
    pub fn state(&self) -> VaultState {
        match &*self.0 {
            Storage::Keychain(_, keychain) => keychain.state(),
            Storage::File(_, key) => key.state(),
            Storage::Memory(_) => VaultState::Ready {
                kind: VaultKind::Memory,
            },
        }
    }

    /// Probes whether there is a keychain, for [`state`](Self::state), and waits for the result.
    /// It makes no key, unlocks nothing and shows no prompt. Does nothing if the vault uses no
    /// keychain.
    pub(crate) fn probe(&self) {
        if let Storage::Keychain(_, keychain) = &*self.0 {
            keychain.probe();
        }
    }

    /// Makes sure that records can be written. Makes the key if there is none yet. Asks the
    /// keychain again even if it has just refused, because a user action calls this.
    pub(crate) fn open(&self) -> Result<(), VaultError> {
        if let Storage::Keychain(_, keychain) = &*self.0 {
            return keychain.key_for_user_action().map(drop);
        }
        self.key().map(drop)
    }

    /// Reads all records. Requests the key only if there are any.
    pub(crate) fn read_all(&self) -> Result<Contents, VaultError> {
        if let Storage::Memory(records) = &*self.0 {
            let records = records.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(Contents {
                records: records.clone().into_iter().collect(),
                damaged: Vec::new(),
            });
        }
        let mut contents = Contents::default();
        let files = self.folder().map_or(Ok(Vec::new()), Folder::records)?;
        if files.is_empty() {
            return Ok(contents);
        }
        let key = self.key()?;
        for (name, path) in files {
            match read(&key, &name, &path) {
                Ok(plain) => contents.records.push((name, plain)),
                Err(VaultError::Damaged { path }) => contents.damaged.push(path),
                Err(error) => return Err(error),
            }
        }
        Ok(contents)
    }

    /// Writes a record atomically.
    pub(crate) fn write(&self, name: &RecordName, plain: &Plain) -> Result<(), VaultError> {
        let Some(folder) = self.folder() else {
            self.memory_mut(|records| records.insert(name.clone(), plain.clone()));
            return Ok(());
        };
        let sealed = sealed::seal(&self.key()?, name, plain);
        folder.write(&name.file_name(), &sealed)
    }

    /// Deletes a record, if it exists.
    pub(crate) fn remove(&self, name: &RecordName) -> Result<(), VaultError> {
        match self.folder() {
            Some(folder) => folder.remove(&name.file_name()),
            None => {
                self.memory_mut(|records| records.remove(name));
                Ok(())
            }
        }
    }

    fn folder(&self) -> Option<&Folder> {
        match &*self.0 {
            Storage::Keychain(folder, _) | Storage::File(folder, _) => Some(folder),
            Storage::Memory(_) => None,
        }
    }

    fn key(&self) -> Result<MasterKey, VaultError> {
        match &*self.0 {
            Storage::Keychain(_, keychain) => keychain.key(),
            Storage::File(_, key) => key.key(),
            Storage::Memory(_) => Ok(MasterKey::random()),
        }
    }

    fn memory_mut<T>(&self, change: impl FnOnce(&mut BTreeMap<RecordName, Plain>) -> T) {
        if let Storage::Memory(records) = &*self.0 {
            change(&mut records.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn read(key: &MasterKey, name: &RecordName, path: &Path) -> Result<Plain, VaultError> {
    let bytes = std::fs::read(path).map_err(|error| VaultError::io(path, &error))?;
    sealed::open(key, name, &bytes).ok_or_else(|| VaultError::Damaged {
        path: path.to_owned(),
    })
}
