//! Sealed records on disk, and the key they are sealed with.
//!
//! Owns: one file per record, sealed with AES-256-GCM; one 32-byte key per installation, in the
//! keychain of the operating system or, where the user chose so, in a file of mode 0600.
//! Does not own: what is in a record.
//!
//! Invariants:
//! - nothing is written unsealed, not even for a moment (temporary files hold sealed bytes);
//! - a record opens only under its own name, kind and format version;
//! - no key is ever made while a sealed record exists: that would lose the record in silence;
//! - every wait for the keychain has an end.
//!
//! All calls block; async callers use `spawn_blocking`.

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

/// How long the keychain may take to answer before it counts as locked.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where tokens are kept. Clones share one vault.
#[derive(Clone, Debug)]
pub struct Vault(Arc<Guard>);

#[derive(Debug)]
enum Guard {
    Keychain(Folder, Keychain),
    File(Folder, KeyFile),
    Memory(Mutex<BTreeMap<RecordName, Plain>>),
}

/// The content of a record, wiped when dropped.
pub(crate) type Plain = Zeroizing<Vec<u8>>;

/// All that a vault holds.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) records: Vec<(RecordName, Plain)>,
    /// Files that look like records and do not open.
    pub(crate) damaged: Vec<PathBuf>,
}

/// What guards a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultKind {
    /// The keychain of the operating system holds the key.
    Keychain,
    /// A file that only the user can read holds the key.
    File,
    /// Nothing outlives the process.
    Memory,
}

/// Whether a vault can be used, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultState {
    /// Its key was not needed so far.
    Unopened {
        /// What guards it.
        kind: VaultKind,
    },
    /// Open.
    Ready {
        /// What guards it.
        kind: VaultKind,
    },
    /// The keychain waits for the user to unlock it.
    Locked,
    /// There is no keychain, or the key is not in it.
    Absent {
        /// Why.
        reason: String,
    },
    /// It could not be written, because the disk is full for example: what is newest is in memory
    /// alone.
    Behind(Unsaved),
}

/// What could not be written to the vault so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaved {
    /// Whose tokens it is, as the accounts are shown.
    pub accounts: Vec<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Why.
    pub error: VaultError,
}

/// Why a vault cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The keychain waits for the user.
    #[error("the keychain is locked; hint: unlock it and try again")]
    Locked,
    /// There is no keychain.
    #[error(
        "the keychain cannot be used: {reason}; hint: start one (a Secret Service such as gnome-keyring on Linux), or choose a key file: `POSTERN_VAULT=file postern bridge --replace --detach`"
    )]
    Absent {
        /// Why.
        reason: String,
    },
    /// There are sealed records, and the key they were sealed with is gone.
    #[error(
        "the key of the vault {} is gone: {reason}; hint: bring it back, or delete that folder and sign in again",
        folder.display()
    )]
    KeyMissing {
        /// The folder.
        folder: PathBuf,
        /// Where the key was looked for.
        reason: String,
    },
    /// A record was changed or damaged.
    #[error(
        "the record {} is damaged or was changed; hint: delete it and sign in again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The key file can be read by others.
    #[error("others can read the key file {}; hint: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The disk or the system refused.
    #[error(
        "the vault at {} cannot be used: {reason}; hint: check the disk and who may write there",
        path.display()
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
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
    /// A vault in the folder `dir` (made when needed, mode 0700) whose key lies in the system's
    /// keychain: service `Postern`, user the installation id kept in `dir`. Touches nothing yet.
    #[must_use]
    pub fn keychain(dir: &Path) -> Self {
        Self::guarded(
            dir,
            keychain::system_store,
            keychain::system_probe,
            PATIENCE,
        )
    }

    /// As [`Vault::keychain`], with a keychain of the caller's: `open` is called anew each time
    /// the key is asked for, on a thread of its own, and may take `patience` to be answered.
    #[must_use]
    pub fn keychain_of(
        dir: &Path,
        open: impl Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync + 'static,
        patience: Duration,
    ) -> Self {
        let open = Arc::new(open);
        let probed = Arc::clone(&open);
        let probe = move || probed().map(|_| Lock::Open);
        Self::guarded(dir, move || open(), probe, patience)
    }

    fn guarded(
        dir: &Path,
        open: impl Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync + 'static,
        probe: impl Fn() -> keyring_core::Result<Lock> + Send + Sync + 'static,
        patience: Duration,
    ) -> Self {
        let folder = Folder::new(dir);
        let keychain = Keychain::new(folder.clone(), Box::new(open), Box::new(probe), patience);
        Self(Arc::new(Guard::Keychain(folder, keychain)))
    }

    /// A vault in the folder `dir` whose key lies in the file `key` there, mode 0600: as safe as
    /// the user's files are, and no safer. Touches nothing yet.
    #[must_use]
    pub fn file(dir: &Path) -> Self {
        let folder = Folder::new(dir);
        let key = KeyFile::new(folder.clone());
        Self(Arc::new(Guard::File(folder, key)))
    }

    /// A vault that is gone with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self(Arc::new(Guard::Memory(Mutex::default())))
    }

    /// Whether it can be used, as far as is known. Asks nobody and never waits.
    #[must_use]
    pub fn state(&self) -> VaultState {
        match &*self.0 {
            Guard::Keychain(_, keychain) => keychain.state(),
            Guard::File(_, key) => key.state(),
            Guard::Memory(_) => VaultState::Ready {
                kind: VaultKind::Memory,
            },
        }
    }

    /// Finds out whether there is a keychain, for [`state`](Self::state), and waits for that. It
    /// makes no key, unlocks nothing and shows no prompt. It does nothing where no keychain is used.
    pub(crate) fn probe(&self) {
        if let Guard::Keychain(_, keychain) = &*self.0 {
            keychain.probe();
        }
    }

    /// Makes sure that records can be written, making the key if there is none yet. Asks the
    /// keychain again even if it has just refused: for what a person clicked.
    pub(crate) fn open(&self) -> Result<(), VaultError> {
        if let Guard::Keychain(_, keychain) = &*self.0 {
            return keychain.clicked_key().map(drop);
        }
        self.key().map(drop)
    }

    /// All records. The key is asked for only if there are any.
    pub(crate) fn read_all(&self) -> Result<Contents, VaultError> {
        if let Guard::Memory(records) = &*self.0 {
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

    /// Writes a record, whole or not at all.
    pub(crate) fn write(&self, name: &RecordName, plain: &Plain) -> Result<(), VaultError> {
        let Some(folder) = self.folder() else {
            self.memory_mut(|records| records.insert(name.clone(), plain.clone()));
            return Ok(());
        };
        let sealed = sealed::seal(&self.key()?, name, plain);
        folder.write(&name.file_name(), &sealed)
    }

    /// Removes a record, if it is there.
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
            Guard::Keychain(folder, _) | Guard::File(folder, _) => Some(folder),
            Guard::Memory(_) => None,
        }
    }

    fn key(&self) -> Result<MasterKey, VaultError> {
        match &*self.0 {
            Guard::Keychain(_, keychain) => keychain.key(),
            Guard::File(_, key) => key.key(),
            Guard::Memory(_) => Ok(MasterKey::random()),
        }
    }

    fn memory_mut<T>(&self, change: impl FnOnce(&mut BTreeMap<RecordName, Plain>) -> T) {
        if let Guard::Memory(records) = &*self.0 {
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
