//! The key in the keychain of the operating system.
//!
//! A keychain may wait for a person without end (a locked Secret Service does), so it is asked on
//! a thread of its own, one at a time. Whoever needs the key waits for that thread up to a limit;
//! when the person answers later, the next caller finds the key. The keychain is opened anew for
//! each question, because a connection that broke once stays broken. Once read, the key stays in
//! memory: a keychain locked afterwards does not stop anything.

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

/// A keychain with one item of ours.
pub(super) struct Keychain(Arc<Shared>);

struct Shared {
    folder: Folder,
    open: Box<Open>,
    patience: Duration,
    question: Mutex<Question>,
    answered: Condvar,
    /// The key that is kept if there is none yet. Two threads may ask at once, when a person did
    /// not find the first one's prompt: they must not keep two keys.
    made: OnceLock<MasterKey>,
}

enum Question {
    NotAsked,
    /// A thread asks: the one that was started then.
    Pending {
        since: Instant,
    },
    Answered(MasterKey),
    Failed {
        at: Instant,
        error: VaultError,
    },
}

impl Keychain {
    pub(super) fn new(folder: Folder, open: Box<Open>, patience: Duration) -> Self {
        Self(Arc::new(Shared {
            folder,
            open,
            patience,
            question: Mutex::new(Question::NotAsked),
            answered: Condvar::new(),
            made: OnceLock::new(),
        }))
    }

    pub(super) fn state(&self) -> VaultState {
        let kind = VaultKind::Keychain;
        match &*self.0.question() {
            Question::NotAsked => VaultState::Unopened { kind },
            Question::Answered(_) => VaultState::Ready { kind },
            Question::Pending { since } if since.elapsed() < self.0.patience => {
                VaultState::Unopened { kind }
            }
            Question::Pending { .. } => VaultState::Locked,
            Question::Failed { error, .. } => match error {
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
            },
        }
    }

    /// The key for what a person clicked: the keychain is asked at once, even if it has just
    /// refused or was asked long ago and never answered, and waited for anew, because the person
    /// may be answering its prompt.
    pub(super) fn clicked_key(&self) -> Result<MasterKey, VaultError> {
        let clicked = Instant::now();
        let mut question = self.0.question();
        match &*question {
            Question::Failed { .. } => *question = Question::NotAsked,
            Question::Pending { since } if since.elapsed() > self.0.patience * GIVEN_UP => {
                *question = Question::NotAsked;
            }
            Question::NotAsked | Question::Pending { .. } | Question::Answered(_) => {}
        }
        self.ask(question, Some(clicked))
    }

    /// The key; made, if there is neither key nor record. A prompt that is open is waited for
    /// from its beginning, so that not everybody who wants the key meanwhile waits for it anew.
    pub(super) fn key(&self) -> Result<MasterKey, VaultError> {
        self.ask(self.0.question(), None)
    }

    fn ask(
        &self,
        mut question: MutexGuard<'_, Question>,
        waiting_since: Option<Instant>,
    ) -> Result<MasterKey, VaultError> {
        if let Question::Failed { at, error } = &*question
            && at.elapsed() >= rest_after(error)
        {
            *question = Question::NotAsked;
        }
        if let Question::NotAsked = *question {
            let since = Instant::now();
            *question = Question::Pending { since };
            ask(&self.0, since, &mut question);
        }
        self.0.wait(question, waiting_since)
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
                Question::Failed { error, .. } => return Err(error.clone()),
                Question::NotAsked => return Err(VaultError::Locked),
                Question::Pending { since } => self
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
            (Question::Pending { since }, Err(error)) if *since == asked => {
                let at = Instant::now();
                *question = Question::Failed { at, error };
            }
            (
                Question::NotAsked | Question::Pending { .. } | Question::Failed { .. },
                Err(error),
            ) => tracing::debug!(%error, "a question to the keychain that was given up failed"),
        }
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
    let thread = std::thread::Builder::new()
        .name("keychain".to_owned())
        .spawn(move || {
            let answer = catch_unwind(AssertUnwindSafe(|| fetch(&asking)));
            let answer = answer.unwrap_or_else(|_| {
                Err(VaultError::Absent {
                    reason: "its library failed".to_owned(),
                })
            });
            asking.answer(since, answer);
        });
    if let Err(error) = thread {
        *question = Question::Failed {
            at: Instant::now(),
            error: VaultError::Absent {
                reason: error.to_string(),
            },
        };
    }
}

fn fetch(shared: &Shared) -> Result<MasterKey, VaultError> {
    let store = (shared.open)().map_err(refusal)?;
    let entry = entry(&*store, &installation(&shared.folder)?).map_err(refusal)?;
    match entry.get_secret() {
        Ok(bytes) => known(bytes),
        Err(Error::NoEntry) if shared.folder.has_records()? => Err(VaultError::KeyMissing {
            folder: shared.folder.path().to_owned(),
            reason: "the keychain has no item `Postern` for it".to_owned(),
        }),
        Err(Error::NoEntry) => make(&entry, shared.made.get_or_init(MasterKey::random)),
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

fn make(entry: &Entry, key: &MasterKey) -> Result<MasterKey, VaultError> {
    entry.set_secret(key.expose()).map_err(refusal)?;
    // What the keychain gives back counts: it may have dropped or changed what it was given.
    known(entry.get_secret().map_err(refusal)?)
}

fn known(bytes: Vec<u8>) -> Result<MasterKey, VaultError> {
    MasterKey::from_bytes(&Zeroizing::new(bytes)).ok_or_else(|| VaultError::Absent {
        reason: "its item `Postern` is not a key of 32 bytes".to_owned(),
    })
}

fn refusal(error: Error) -> VaultError {
    match error {
        Error::NoStorageAccess(cause) if waits_for_a_person(&*cause) => VaultError::Locked,
        other => {
            tracing::info!(error = %other, "the keychain refuses");
            VaultError::Absent {
                reason: in_words(&other),
            }
        }
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
