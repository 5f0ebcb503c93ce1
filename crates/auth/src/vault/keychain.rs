//! The key in the system keychain.
//!
//! A keychain may wait endlessly for the user (a locked Secret Service does), so the request runs
//! on a thread of its own, one at a time. Callers wait for that thread up to a timeout. If the
//! user answers later, the next caller finds the key. Each request opens the keychain again,
//! because a broken connection stays broken. Once read, the key stays in memory, so a keychain
//! that is locked later does no harm.
//!
//! Before the key is needed, the same thread can probe whether there is a keychain at all. That
//! makes no key, unlocks nothing and shows no prompt.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use keyring_core::{CredentialStore, Entry, Error};
use zeroize::Zeroizing;

use super::folder::Folder;
use super::key::MasterKey;
use super::{VaultError, VaultKind, VaultState};
use crate::random;

/// The service of the keychain item.
const SERVICE: &str = "Postern";

/// The label of the item, if the keychain shows one.
const LABEL: &str = "Postern: key of the token vault";

/// How long no new prompt is shown after one was dismissed, unless the user acts.
const RETRY_AFTER_DISMISSAL: Duration = Duration::from_secs(30);

/// How long an absent keychain is not requested again.
const RETRY_AFTER_ABSENCE: Duration = Duration::from_secs(2);

/// How long a prompt may stay open before a user action may open another one, in multiples of the
/// timeout.
const RETRY_AFTER_TIMEOUTS: u32 = 6;

/// Opens a keychain.
pub(super) type Open = dyn Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync;

/// Probes whether there is a keychain, and whether it is locked. Shows no prompt.
pub(super) type Probe = dyn Fn() -> keyring_core::Result<Lock> + Send + Sync;

/// The lock state of a keychain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// The user must unlock it.
    Locked,
    /// It is unlocked, or asks the user itself.
    Open,
}

/// A keychain with the item of this installation.
pub(super) struct Keychain(Arc<Shared>);

struct Shared {
    folder: Folder,
    open: Box<Open>,
    probe: Box<Probe>,
    timeout: Duration,
    request: Mutex<KeyRequest>,
    completed: Condvar,
    /// The key to store if there is none yet. Two threads may run at once if the user did not find
    /// the first prompt, and must not store two keys.
    made: OnceLock<MasterKey>,
}

enum KeyRequest {
    Idle,
    /// A thread probes whether there is a keychain. `since` identifies it. `before` stays valid
    /// until it has finished.
    Probing {
        since: Instant,
        before: Option<Failure>,
    },
    /// A thread requests the key. `since` identifies it.
    Pending {
        since: Instant,
        before: Option<Failure>,
    },
    Ready(MasterKey),
    Failed(Failure),
}

#[derive(Clone)]
struct Failure {
    at: Instant,
    error: VaultError,
}

impl KeyRequest {
    /// Returns the last known failure, until there is a result.
    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Probing { before, .. } | Self::Pending { before, .. } => before.as_ref(),
            Self::Idle | Self::Ready(_) => None,
        }
    }
}

impl Failure {
    fn now(error: VaultError) -> Self {
        let at = Instant::now();
        Self { at, error }
    }

    /// Returns true if the keychain should not be requested again yet, unless the user acts.
    fn is_resting(&self) -> bool {
        self.at.elapsed() < rest_after(&self.error)
    }

    fn state(&self) -> VaultState {
        match &self.error {
            VaultError::Locked => VaultState::Locked,
            VaultError::Absent { reason } => VaultState::Absent {
                reason: reason.clone(),
            },
            error @ (VaultError::KeyMissing { .. }
            | VaultError::Damaged { .. }
            | VaultError::Exposed { .. }
            | VaultError::Io { .. }) => VaultState::Absent {
                reason: error.to_string(),
            },
        }
    }
}

impl Keychain {
    pub(super) fn new(
        folder: Folder,
        open: Box<Open>,
        probe: Box<Probe>,
        timeout: Duration,
    ) -> Self {
        Self(Arc::new(Shared {
            folder,
            open,
            probe,
            timeout,
            request: Mutex::new(KeyRequest::Idle),
            completed: Condvar::new(),
            made: OnceLock::new(),
        }))
    }

    pub(super) fn state(&self) -> VaultState {
        let kind = VaultKind::Keychain;
        let request = self.0.request();
        match &*request {
            KeyRequest::Ready(_) => VaultState::Ready { kind },
            KeyRequest::Pending { since, .. } if since.elapsed() >= self.0.timeout => {
                VaultState::Locked
            }
            KeyRequest::Idle
            | KeyRequest::Pending { .. }
            | KeyRequest::Probing { .. }
            | KeyRequest::Failed(_) => match request.failure() {
                Some(failure) => failure.state(),
                None => VaultState::Unopened { kind },
            },
        }
    }

    /// Probes whether there is a keychain, unless more is known: that it was open, or that its key
    /// is missing. Returns when the result is known, or after the timeout.
    pub(super) fn probe(&self) {
        let begun = Instant::now();
        let mut request = self.0.request();
        let before = match &*request {
            KeyRequest::Idle => None,
            KeyRequest::Failed(failure) => match failure.error {
                VaultError::Locked | VaultError::Absent { .. } => Some(failure.clone()),
                VaultError::KeyMissing { .. }
                | VaultError::Damaged { .. }
                | VaultError::Exposed { .. }
                | VaultError::Io { .. } => return,
            },
            KeyRequest::Probing { .. } => return self.0.wait_for_probe(request, begun),
            KeyRequest::Pending { .. } | KeyRequest::Ready(_) => return,
        };
        *request = KeyRequest::Probing {
            since: begun,
            before,
        };
        let probing = Arc::clone(&self.0);
        let started = spawn_thread(move || {
            let found = guarded(|| (probing.probe)().map_err(vault_error));
            probing.probed(begun, found);
        });
        match started {
            Ok(()) => self.0.wait_for_probe(request, begun),
            Err(error) => *request = KeyRequest::Failed(Failure::now(error)),
        }
    }

    /// Returns the key for a user action. Requests it immediately, even if the keychain has just
    /// refused or never answered, and waits for the full timeout, because the user may be
    /// answering the prompt.
    pub(super) fn key_for_user_action(&self) -> Result<MasterKey, VaultError> {
        let clicked = Instant::now();
        self.ask(self.0.request(), Some(clicked))
    }

    /// Returns the key. Makes one if there is neither key nor record. The timeout counts from the
    /// opening of the prompt, so that not every caller waits for its full length.
    pub(super) fn key(&self) -> Result<MasterKey, VaultError> {
        self.ask(self.0.request(), None)
    }

    fn ask(
        &self,
        mut request: MutexGuard<'_, KeyRequest>,
        clicked: Option<Instant>,
    ) -> Result<MasterKey, VaultError> {
        let must_ask = match &*request {
            KeyRequest::Idle => true,
            KeyRequest::Failed(_) | KeyRequest::Probing { .. } => {
                clicked.is_some()
                    || request
                        .failure()
                        .is_none_or(|failure| !failure.is_resting())
            }
            KeyRequest::Pending { since, .. } => {
                clicked.is_some() && since.elapsed() > self.0.timeout * RETRY_AFTER_TIMEOUTS
            }
            KeyRequest::Ready(_) => false,
        };
        if must_ask {
            let since = Instant::now();
            let before = request.failure().cloned();
            *request = KeyRequest::Pending { since, before };
            ask(&self.0, since, &mut request);
        }
        self.0.wait(request, clicked)
    }
}

impl Shared {
    fn request(&self) -> MutexGuard<'_, KeyRequest> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the result. The timeout counts from `from`, else from the start of the request.
    fn wait(
        &self,
        mut request: MutexGuard<'_, KeyRequest>,
        from: Option<Instant>,
    ) -> Result<MasterKey, VaultError> {
        loop {
            let left = match &*request {
                KeyRequest::Ready(key) => return Ok(key.clone()),
                KeyRequest::Idle | KeyRequest::Probing { .. } | KeyRequest::Failed(_) => {
                    let error = request.failure().map(|failure| failure.error.clone());
                    return Err(error.unwrap_or(VaultError::Locked));
                }
                KeyRequest::Pending { since, .. } => self
                    .timeout
                    .saturating_sub(from.unwrap_or(*since).elapsed()),
            };
            if left.is_zero() {
                return Err(VaultError::Locked);
            }
            (request, _) = self
                .completed
                .wait_timeout(request, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Records the result of the thread that started at `asked`. A key counts from any thread, a
    /// failure only from the latest.
    fn complete(&self, asked: Instant, result: Result<MasterKey, VaultError>) {
        let mut request = self.request();
        match (&*request, result) {
            (KeyRequest::Ready(_), _) => return,
            (_, Ok(key)) => *request = KeyRequest::Ready(key),
            (KeyRequest::Pending { since, .. }, Err(error)) if *since == asked => {
                *request = KeyRequest::Failed(Failure::now(error));
            }
            (
                KeyRequest::Idle
                | KeyRequest::Probing { .. }
                | KeyRequest::Pending { .. }
                | KeyRequest::Failed(_),
                Err(error),
            ) => tracing::debug!(%error, "an abandoned request to the keychain failed"),
        }
        drop(request);
        self.completed.notify_all();
    }

    fn wait_for_probe(&self, mut request: MutexGuard<'_, KeyRequest>, from: Instant) {
        while matches!(*request, KeyRequest::Probing { .. }) {
            let left = self.timeout.saturating_sub(from.elapsed());
            if left.is_zero() {
                return;
            }
            (request, _) = self
                .completed
                .wait_timeout(request, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Records the result of the probe that started at `since`. A request for the key that started
    /// meanwhile takes precedence.
    fn probed(&self, since: Instant, found: Result<Lock, VaultError>) {
        let mut request = self.request();
        let before = match &mut *request {
            KeyRequest::Probing { since: at, before } if *at == since => before.take(),
            KeyRequest::Idle
            | KeyRequest::Probing { .. }
            | KeyRequest::Pending { .. }
            | KeyRequest::Ready(_)
            | KeyRequest::Failed(_) => return,
        };
        let error = match found {
            Ok(Lock::Open) => None,
            Ok(Lock::Locked) => Some(VaultError::Locked),
            Err(error) => Some(error),
        };
        // The pause counts from the first such failure, not from each probe.
        let same = before.filter(|before| Some(&before.error) == error.as_ref());
        *request = match error {
            None => KeyRequest::Idle,
            Some(error) => KeyRequest::Failed(same.unwrap_or_else(|| Failure::now(error))),
        };
        drop(request);
        self.completed.notify_all();
    }
}

fn rest_after(error: &VaultError) -> Duration {
    if *error == VaultError::Locked {
        RETRY_AFTER_DISMISSAL
    } else {
        RETRY_AFTER_ABSENCE
    }
}

fn ask(shared: &Arc<Shared>, since: Instant, request: &mut KeyRequest) {
    let asking = Arc::clone(shared);
    let started = spawn_thread(move || asking.complete(since, guarded(|| fetch(&asking))));
    if let Err(error) = started {
        *request = KeyRequest::Failed(Failure::now(error));
    }
}

fn spawn_thread(work: impl FnOnce() + Send + 'static) -> Result<(), VaultError> {
    let thread = std::thread::Builder::new().name("keychain".to_owned());
    let started = thread.spawn(work).map_err(|error| VaultError::Absent {
        reason: error.to_string(),
    });
    started.map(drop)
}

/// Calls a system library. Converts a panic to an error.
fn guarded<T>(ask: impl FnOnce() -> Result<T, VaultError>) -> Result<T, VaultError> {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| {
        Err(VaultError::Absent {
            reason: "its library failed".to_owned(),
        })
    })
}

fn fetch(shared: &Shared) -> Result<MasterKey, VaultError> {
    let store = (shared.open)().map_err(refused_error)?;
    let entry = entry(&*store, &installation(&shared.folder)?).map_err(refused_error)?;
    match entry.get_secret() {
        Ok(bytes) => known(&shared.folder, bytes),
        Err(Error::NoEntry) if shared.folder.has_records()? => Err(VaultError::KeyMissing {
            folder: shared.folder.path().to_owned(),
            reason: "the keychain has no item `Postern` for it".to_owned(),
        }),
        Err(Error::NoEntry) => {
            let key = shared.made.get_or_init(MasterKey::random);
            make(&shared.folder, &entry, key)
        }
        Err(error) => Err(refused_error(error)),
    }
}

/// Returns the name of this installation's item, so that two installations of one user do not
/// share or overwrite a key.
fn installation(folder: &Folder) -> Result<String, VaultError> {
    folder.text_or("installation", || {
        if folder.has_records()? {
            return Err(VaultError::KeyMissing {
                folder: folder.path().to_owned(),
                reason: "the file `installation`, which names the keychain item, is not there"
                    .to_owned(),
            });
        }
        Ok(random::token(&mut random::fill))
    })
}

fn entry(store: &CredentialStore, installation: &str) -> keyring_core::Result<Entry> {
    // The tokens stay on this machine, so Windows must not roam their key.
    let modifier = if cfg!(windows) {
        ("persistence", "Local")
    } else {
        ("label", LABEL)
    };
    // Some keychains have no labels and refuse the attribute.
    store
        .build(SERVICE, installation, Some(&HashMap::from([modifier])))
        .or_else(|_| store.build(SERVICE, installation, None))
}

fn make(folder: &Folder, entry: &Entry, key: &MasterKey) -> Result<MasterKey, VaultError> {
    entry.set_secret(key.expose()).map_err(refused_error)?;
    // Reads the key back: the keychain may have dropped or changed it.
    known(folder, entry.get_secret().map_err(refused_error)?)
}

fn known(folder: &Folder, bytes: Vec<u8>) -> Result<MasterKey, VaultError> {
    MasterKey::from_bytes(&Zeroizing::new(bytes)).ok_or_else(|| VaultError::KeyMissing {
        folder: folder.path().to_owned(),
        reason: "the keychain's item `Postern` is not a key of 32 bytes".to_owned(),
    })
}

fn refused_error(error: Error) -> VaultError {
    let words = error.to_string();
    let vault_error = vault_error(error);
    if vault_error != VaultError::Locked {
        tracing::info!(error = words, "the keychain refused the request");
    }
    vault_error
}

fn vault_error(error: Error) -> VaultError {
    match error {
        Error::NoStorageAccess(cause) if waits_for_user(&*cause) => VaultError::Locked,
        other => VaultError::Absent {
            reason: describe(&other),
        },
    }
}

/// Describes an error that the user can solve. The system's own text is only logged.
fn describe(error: &Error) -> String {
    match error {
        Error::PlatformFailure(_) => "the system has no keychain that answers".to_owned(),
        Error::NoStorageAccess(_) => "the system denies access to it".to_owned(),
        other => other.to_string(),
    }
}

/// Returns true if access failed because the user did not unlock the keychain. The Secret Service
/// reports a missing default collection in the same way, and only its text differs.
fn waits_for_user(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    !cfg!(windows) && !cause.to_string().contains("result not returned")
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keychain").field(&self.state()).finish()
    }
}

/// Probes the keychain of this system. Starts the Secret Service if possible. A new key would go
/// to its default collection.
#[cfg(all(unix, not(target_os = "macos")))]
pub(super) fn system_probe() -> keyring_core::Result<Lock> {
    use secret_service::EncryptionType;
    use secret_service::blocking::SecretService;

    let failed = |error| Error::PlatformFailure(Box::new(error));
    // No secret is sent.
    let service = SecretService::connect(EncryptionType::Plain).map_err(failed)?;
    let collection = service
        .get_default_collection()
        .map_err(|error| match error {
            missing @ secret_service::Error::NoResult => Error::NoStorageAccess(Box::new(missing)),
            other => failed(other),
        })?;
    Ok(match collection.is_locked().map_err(failed)? {
        true => Lock::Locked,
        false => Lock::Open,
    })
}

/// Probes the keychain of this system, which is always there and asks the user itself.
#[cfg(any(windows, target_os = "macos"))]
pub(super) fn system_probe() -> keyring_core::Result<Lock> {
    Ok(Lock::Open)
}

/// Opens the keychain of this system.
#[cfg(all(unix, not(target_os = "macos")))]
pub(super) fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

/// Opens the keychain of this system.
#[cfg(target_os = "macos")]
pub(super) fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

/// Opens the keychain of this system.
#[cfg(windows)]
pub(super) fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(windows_native_keyring_store::Store::new()?)
}
