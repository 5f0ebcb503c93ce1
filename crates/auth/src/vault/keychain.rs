//! The key in the keychain of the operating system.
//!
//! A keychain may wait for a person without end (a locked Secret Service does), so it is asked on
//! a thread of its own, one at a time. Whoever needs the key waits for that thread up to a limit;
//! when the person answers later, the next caller finds the key. The keychain is opened anew for
//! each question, because a connection that broke once stays broken. Once read, the key stays in
//! memory: a keychain locked afterwards does not stop anything.
//!
//! Before the key is needed, the same thread can probe whether there is a keychain at all. That makes
//! no key, unlocks nothing and shows no prompt.

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

/// What a person sees of the item, where the keychain shows a label.
const LABEL: &str = "Postern: key of the token vault";

/// How long a dismissed prompt is not shown again by itself.
const AFTER_DISMISSAL: Duration = Duration::from_secs(30);

/// How long an absent keychain is not looked for again.
const AFTER_ABSENCE: Duration = Duration::from_secs(2);

/// How long a prompt may stay open before a click may open another one, in times that a caller
/// waits for the first.
const GIVEN_UP: u32 = 6;

/// How a keychain is opened.
pub(super) type Open = dyn Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync;

/// How it is found out whether there is a keychain, and whether it is locked. It shows no prompt.
pub(super) type Probe = dyn Fn() -> keyring_core::Result<Lock> + Send + Sync;

/// Whether a keychain has to be unlocked before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// It does, by a person.
    Locked,
    /// It does not, or asks its user when it is used.
    Open,
}

/// A keychain with one item of ours.
pub(super) struct Keychain(Arc<Shared>);

struct Shared {
    folder: Folder,
    open: Box<Open>,
    probe: Box<Probe>,
    patience: Duration,
    question: Mutex<Question>,
    answered: Condvar,
    /// The key that is kept if there is none yet. Two threads may ask at once, when a person did
    /// not find the first one's prompt: they must not keep two keys.
    made: OnceLock<MasterKey>,
}

enum Question {
    NotAsked,
    /// A thread probes whether there is a keychain: the one that was started then. What was known
    /// before stands until it has.
    Probed {
        since: Instant,
        before: Option<Failure>,
    },
    /// A thread asks: the one that was started then.
    Pending {
        since: Instant,
        before: Option<Failure>,
    },
    Answered(MasterKey),
    Failed(Failure),
}

#[derive(Clone)]
struct Failure {
    at: Instant,
    error: VaultError,
}

impl Question {
    /// What is known to be wrong, until there is an answer.
    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Probed { before, .. } | Self::Pending { before, .. } => before.as_ref(),
            Self::NotAsked | Self::Answered(_) => None,
        }
    }
}

impl Failure {
    fn now(error: VaultError) -> Self {
        let at = Instant::now();
        Self { at, error }
    }

    /// Whether the keychain is not to be asked again yet by itself.
    fn rests(&self) -> bool {
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
        patience: Duration,
    ) -> Self {
        Self(Arc::new(Shared {
            folder,
            open,
            probe,
            patience,
            question: Mutex::new(Question::NotAsked),
            answered: Condvar::new(),
            made: OnceLock::new(),
        }))
    }

    pub(super) fn state(&self) -> VaultState {
        let kind = VaultKind::Keychain;
        let question = self.0.question();
        match &*question {
            Question::Answered(_) => VaultState::Ready { kind },
            Question::Pending { since, .. } if since.elapsed() >= self.0.patience => {
                VaultState::Locked
            }
            Question::NotAsked
            | Question::Pending { .. }
            | Question::Probed { .. }
            | Question::Failed(_) => match question.failure() {
                Some(failure) => failure.state(),
                None => VaultState::Unopened { kind },
            },
        }
    }

    /// Probes whether there is a keychain, unless more is known: that it was open, or that its key
    /// is gone. Returns once that is known, or after the time that a caller waits for a key.
    pub(super) fn probe(&self) {
        let begun = Instant::now();
        let mut question = self.0.question();
        let before = match &*question {
            Question::NotAsked => None,
            Question::Failed(failure) => match failure.error {
                VaultError::Locked | VaultError::Absent { .. } => Some(failure.clone()),
                VaultError::KeyMissing { .. }
                | VaultError::Damaged { .. }
                | VaultError::Exposed { .. }
                | VaultError::Io { .. } => return,
            },
            Question::Probed { .. } => return self.0.wait_for_probe(question, begun),
            Question::Pending { .. } | Question::Answered(_) => return,
        };
        *question = Question::Probed {
            since: begun,
            before,
        };
        let probing = Arc::clone(&self.0);
        let started = on_thread(move || {
            let found = guarded(|| (probing.probe)().map_err(judged));
            probing.probed(begun, found);
        });
        match started {
            Ok(()) => self.0.wait_for_probe(question, begun),
            Err(error) => *question = Question::Failed(Failure::now(error)),
        }
    }

    /// The key for what a person clicked: the keychain is asked at once, even if it has just
    /// refused or was asked long ago and never answered, and waited for anew, because the person
    /// may be answering its prompt.
    pub(super) fn clicked_key(&self) -> Result<MasterKey, VaultError> {
        let clicked = Instant::now();
        self.ask(self.0.question(), Some(clicked))
    }

    /// The key; made, if there is neither key nor record. A prompt that is open is waited for
    /// from its beginning, so that not everybody who wants the key meanwhile waits for it anew.
    pub(super) fn key(&self) -> Result<MasterKey, VaultError> {
        self.ask(self.0.question(), None)
    }

    fn ask(
        &self,
        mut question: MutexGuard<'_, Question>,
        clicked: Option<Instant>,
    ) -> Result<MasterKey, VaultError> {
        let is_due = match &*question {
            Question::NotAsked => true,
            Question::Failed(_) | Question::Probed { .. } => {
                clicked.is_some() || question.failure().is_none_or(|failure| !failure.rests())
            }
            Question::Pending { since, .. } => {
                clicked.is_some() && since.elapsed() > self.0.patience * GIVEN_UP
            }
            Question::Answered(_) => false,
        };
        if is_due {
            let since = Instant::now();
            let before = question.failure().cloned();
            *question = Question::Pending { since, before };
            ask(&self.0, since, &mut question);
        }
        self.0.wait(question, clicked)
    }
}

impl Shared {
    fn question(&self) -> MutexGuard<'_, Question> {
        self.question.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer, from then on or else from the question on.
    fn wait(
        &self,
        mut question: MutexGuard<'_, Question>,
        from: Option<Instant>,
    ) -> Result<MasterKey, VaultError> {
        loop {
            let left = match &*question {
                Question::Answered(key) => return Ok(key.clone()),
                Question::NotAsked | Question::Probed { .. } | Question::Failed(_) => {
                    let error = question.failure().map(|failure| failure.error.clone());
                    return Err(error.unwrap_or(VaultError::Locked));
                }
                Question::Pending { since, .. } => self
                    .patience
                    .saturating_sub(from.unwrap_or(*since).elapsed()),
            };
            if left.is_zero() {
                return Err(VaultError::Locked);
            }
            (question, _) = self
                .answered
                .wait_timeout(question, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the answer of the thread that was started at `asked`: a key from whichever brings it
    /// first, a failure from the latest alone.
    fn answer(&self, asked: Instant, answer: Result<MasterKey, VaultError>) {
        let mut question = self.question();
        match (&*question, answer) {
            (Question::Answered(_), _) => return,
            (_, Ok(key)) => *question = Question::Answered(key),
            (Question::Pending { since, .. }, Err(error)) if *since == asked => {
                *question = Question::Failed(Failure::now(error));
            }
            (
                Question::NotAsked
                | Question::Probed { .. }
                | Question::Pending { .. }
                | Question::Failed(_),
                Err(error),
            ) => tracing::debug!(%error, "a question to the keychain that was given up failed"),
        }
        drop(question);
        self.answered.notify_all();
    }

    fn wait_for_probe(&self, mut question: MutexGuard<'_, Question>, from: Instant) {
        while matches!(*question, Question::Probed { .. }) {
            let left = self.patience.saturating_sub(from.elapsed());
            if left.is_zero() {
                return;
            }
            (question, _) = self
                .answered
                .wait_timeout(question, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes what the thread found that was started at `since` to probe. If the key was asked for
    /// meanwhile, that tells more.
    fn probed(&self, since: Instant, found: Result<Lock, VaultError>) {
        let mut question = self.question();
        let before = match &mut *question {
            Question::Probed { since: at, before } if *at == since => before.take(),
            Question::NotAsked
            | Question::Probed { .. }
            | Question::Pending { .. }
            | Question::Answered(_)
            | Question::Failed(_) => return,
        };
        let error = match found {
            Ok(Lock::Open) => None,
            Ok(Lock::Locked) => Some(VaultError::Locked),
            Err(error) => Some(error),
        };
        // It rests from what was known first, not from each probe.
        let same = before.filter(|before| Some(&before.error) == error.as_ref());
        *question = match error {
            None => Question::NotAsked,
            Some(error) => Question::Failed(same.unwrap_or_else(|| Failure::now(error))),
        };
        drop(question);
        self.answered.notify_all();
    }
}

fn rest_after(error: &VaultError) -> Duration {
    if *error == VaultError::Locked {
        AFTER_DISMISSAL
    } else {
        AFTER_ABSENCE
    }
}

fn ask(shared: &Arc<Shared>, since: Instant, question: &mut Question) {
    let asking = Arc::clone(shared);
    let started = on_thread(move || asking.answer(since, guarded(|| fetch(&asking))));
    if let Err(error) = started {
        *question = Question::Failed(Failure::now(error));
    }
}

fn on_thread(work: impl FnOnce() + Send + 'static) -> Result<(), VaultError> {
    let thread = std::thread::Builder::new().name("keychain".to_owned());
    let started = thread.spawn(work).map_err(|error| VaultError::Absent {
        reason: error.to_string(),
    });
    started.map(drop)
}

/// What a library of the system answers; that it panicked is an answer too.
fn guarded<T>(ask: impl FnOnce() -> Result<T, VaultError>) -> Result<T, VaultError> {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| {
        Err(VaultError::Absent {
            reason: "its library failed".to_owned(),
        })
    })
}

fn fetch(shared: &Shared) -> Result<MasterKey, VaultError> {
    let store = (shared.open)().map_err(refusal)?;
    let entry = entry(&*store, &installation(&shared.folder)?).map_err(refusal)?;
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
        Err(error) => Err(refusal(error)),
    }
}

/// The name of this installation's item, so that two installations of one user do not share or
/// overwrite a key.
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
    // The tokens stay on this machine: Windows need not take their key along to others.
    let modifier = if cfg!(windows) {
        ("persistence", "Local")
    } else {
        ("label", LABEL)
    };
    // Only some keychains have labels; the others refuse the attribute.
    store
        .build(SERVICE, installation, Some(&HashMap::from([modifier])))
        .or_else(|_| store.build(SERVICE, installation, None))
}

fn make(folder: &Folder, entry: &Entry, key: &MasterKey) -> Result<MasterKey, VaultError> {
    entry.set_secret(key.expose()).map_err(refusal)?;
    // What the keychain gives back counts: it may have dropped or changed what it was given.
    known(folder, entry.get_secret().map_err(refusal)?)
}

fn known(folder: &Folder, bytes: Vec<u8>) -> Result<MasterKey, VaultError> {
    MasterKey::from_bytes(&Zeroizing::new(bytes)).ok_or_else(|| VaultError::KeyMissing {
        folder: folder.path().to_owned(),
        reason: "the keychain's item `Postern` is not a key of 32 bytes".to_owned(),
    })
}

fn refusal(error: Error) -> VaultError {
    let words = error.to_string();
    let judged = judged(error);
    if judged != VaultError::Locked {
        tracing::info!(error = words, "the keychain refuses");
    }
    judged
}

fn judged(error: Error) -> VaultError {
    match error {
        Error::NoStorageAccess(cause) if waits_for_a_person(&*cause) => VaultError::Locked,
        other => VaultError::Absent {
            reason: in_words(&other),
        },
    }
}

/// What a person can do something with. The system's own words are for the log.
fn in_words(error: &Error) -> String {
    match error {
        Error::PlatformFailure(_) => "the system has none that answers".to_owned(),
        Error::NoStorageAccess(_) => "the system gives no access to it".to_owned(),
        other => other.to_string(),
    }
}

/// Whether access failed because someone did not unlock the keychain. The Secret Service reports
/// a missing default collection the same way; it is told apart by its words alone.
fn waits_for_a_person(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    !cfg!(windows) && !cause.to_string().contains("result not returned")
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keychain").field(&self.state()).finish()
    }
}

/// Whether this system has a keychain. The Secret Service is started if it can be; a new key would
/// go to its default collection.
#[cfg(all(unix, not(target_os = "macos")))]
pub(super) fn system_probe() -> keyring_core::Result<Lock> {
    use secret_service::EncryptionType;
    use secret_service::blocking::SecretService;

    let failed = |error| Error::PlatformFailure(Box::new(error));
    // Nothing secret is said.
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

/// Whether this system has a keychain. It is part of the system, and asks its user when it is used.
#[cfg(any(windows, target_os = "macos"))]
pub(super) fn system_probe() -> keyring_core::Result<Lock> {
    Ok(Lock::Open)
}

/// The keychain of this system.
#[cfg(all(unix, not(target_os = "macos")))]
pub(super) fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

/// The keychain of this system.
#[cfg(target_os = "macos")]
pub(super) fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

/// The keychain of this system.
#[cfg(windows)]
pub(super) fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(windows_native_keyring_store::Store::new()?)
}
