//! The vault with real files, and with keychains that fail or block.

use std::any::Any;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyring_core::api::{CredentialApi, CredentialStoreApi};
use keyring_core::{Credential, CredentialStore, Entry, Error, mock};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{RecordKind, RecordName, Vault, VaultError, VaultKind, VaultState};

const SECRET: &[u8] = b"a refresh token that must not be seen";
const TIMEOUT: Duration = Duration::from_secs(10);

fn grant(subject: &str) -> RecordName {
    RecordName::new(RecordKind::Grant, &[subject])
}

fn put(vault: &Vault, name: &RecordName) {
    vault.write(name, &Zeroizing::new(SECRET.to_vec())).unwrap();
}

fn read(vault: &Vault) -> Vec<(RecordName, Vec<u8>)> {
    let contents = vault.read_all().unwrap();
    let records = contents.records.into_iter();
    records
        .map(|(name, plain)| (name, plain.to_vec()))
        .collect()
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn keychain(dir: &Path, store: &Arc<mock::Store>) -> Vault {
    let store = Arc::clone(store);
    Vault::with_keychain(
        dir,
        move || Ok(store.clone() as Arc<CredentialStore>),
        TIMEOUT,
    )
}

#[test]
fn record_survives_restart() {
    let dir = TempDir::new().unwrap();
    let store = mock::Store::new().unwrap();
    for open in [
        &(|| keychain(&dir.path().join("a"), &store)) as &dyn Fn() -> Vault,
        &|| Vault::file(&dir.path().join("b")),
    ] {
        assert!(read(&open()).is_empty());
        put(&open(), &grant("one"));
        put(&open(), &grant("one"));
        assert_eq!(read(&open()), [(grant("one"), SECRET.to_vec())]);
        open().remove(&grant("one")).unwrap();
        open().remove(&grant("one")).unwrap();
        assert!(read(&open()).is_empty());
    }
}

#[test]
fn vault_files_contain_no_plain_text() {
    let dir = TempDir::new().unwrap();
    let store = mock::Store::new().unwrap();
    put(
        &keychain(dir.path(), &store),
        &grant("https://login.example/alice"),
    );
    assert_eq!(
        files(dir.path()).len(),
        2,
        "the record and the installation id"
    );
    for file in files(dir.path()) {
        let bytes = fs::read(&file).unwrap();
        assert!(
            !bytes.windows(7).any(|part| part == &SECRET[..7]),
            "{file:?}"
        );
        assert!(!file.to_string_lossy().contains("login.example"));
    }
}

#[cfg(unix)]
#[test]
fn vault_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let home = TempDir::new().unwrap();
    let dir = home.path().join("state/vault");
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    put(&Vault::file(&dir), &grant("one"));
    assert_eq!(mode(&dir), 0o700);
    for file in files(&dir) {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
    fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Vault::file(&dir).read_all().err().unwrap();
    assert!(matches!(refused, VaultError::Exposed { .. }), "{refused}");
}

#[test]
fn flipped_bit_damages_only_its_record() {
    let dir = TempDir::new().unwrap();
    let vault = Vault::file(dir.path());
    put(&vault, &grant("one"));
    put(&vault, &grant("two"));
    let path = dir.path().join(grant("one").file_name());
    let sealed = fs::read(&path).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, changed).unwrap();
        let contents = vault.read_all().unwrap();
        assert_eq!(contents.damaged, std::slice::from_ref(&path), "bit {bit}");
        assert_eq!(contents.records.len(), 1, "bit {bit}");
    }
    fs::write(&path, &sealed[..sealed.len() / 2]).unwrap();
    assert_eq!(vault.read_all().unwrap().damaged, [path]);
}

#[test]
fn record_does_not_open_under_another_name() {
    let dir = TempDir::new().unwrap();
    let vault = Vault::file(dir.path());
    put(&vault, &grant("mine"));
    let mine = dir.path().join(grant("mine").file_name());
    for other in [
        grant("theirs"),
        RecordName::new(RecordKind::Registration, &["mine"]),
    ] {
        fs::copy(&mine, dir.path().join(other.file_name())).unwrap();
    }
    assert_eq!(vault.read_all().unwrap().damaged.len(), 2);
}

#[test]
fn no_key_is_made_while_records_exist() {
    let dir = TempDir::new().unwrap();
    let gone = |vault: Vault| {
        assert!(matches!(
            vault.read_all(),
            Err(VaultError::KeyMissing { .. })
        ));
        let written = vault.write(&grant("two"), &Zeroizing::new(SECRET.to_vec()));
        assert!(matches!(written, Err(VaultError::KeyMissing { .. })));
        assert!(matches!(vault.state(), VaultState::Absent { .. }));
    };

    let with_file = dir.path().join("file");
    put(&Vault::file(&with_file), &grant("one"));
    fs::remove_file(with_file.join("key")).unwrap();
    gone(Vault::file(&with_file));
    assert!(!with_file.join("key").exists());

    let with_keychain = dir.path().join("keychain");
    let store = mock::Store::new().unwrap();
    put(&keychain(&with_keychain, &store), &grant("one"));
    let emptied = mock::Store::new().unwrap();
    gone(keychain(&with_keychain, &emptied));
    fs::remove_file(with_keychain.join("installation")).unwrap();
    gone(keychain(&with_keychain, &store));
    gone(Vault::file(&with_keychain));
}

#[test]
fn empty_vault_needs_no_key() {
    let dir = TempDir::new().unwrap();
    let vault = Vault::with_keychain(dir.path(), || panic!("asked"), TIMEOUT);
    assert!(vault.read_all().unwrap().records.is_empty());
    let kind = VaultKind::Keychain;
    assert_eq!(vault.state(), VaultState::Unopened { kind });
    assert!(
        matches!(vault.open(), Err(VaultError::Absent { .. })),
        "a panic is an answer too"
    );
}

#[test]
fn absent_keychain_is_found_later() {
    let dir = TempDir::new().unwrap();
    let store = mock::Store::new().unwrap();
    let answers = Mutex::new(vec![
        Ok(store as Arc<CredentialStore>),
        Err(Error::PlatformFailure("the bus is not there".into())),
    ]);
    let vault = Vault::with_keychain(
        dir.path(),
        move || answers.lock().unwrap().pop().expect("asked once more"),
        TIMEOUT,
    );
    let refused = vault.open().unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("no keychain that answers") && !refused.contains("the bus is not there"),
        "{refused}"
    );
    assert!(matches!(vault.state(), VaultState::Absent { .. }));
    vault.open().unwrap();
    put(&vault, &grant("one"));
    let kind = VaultKind::Keychain;
    assert_eq!(vault.state(), VaultState::Ready { kind });
}

#[test]
fn probe_finds_absence_and_recovery_without_key() {
    let dir = TempDir::new().unwrap();
    let store = mock::Store::new().unwrap();
    let absent = || Err(Error::PlatformFailure("the bus is not there".into()));
    let answers = Mutex::new(vec![
        Ok(store.clone() as Arc<CredentialStore>),
        absent(),
        absent(),
    ]);
    let vault = Vault::with_keychain(
        dir.path(),
        move || answers.lock().unwrap().pop().expect("asked once more"),
        TIMEOUT,
    );
    for _ in 0..2 {
        vault.probe();
        let reason = "the system has no keychain that answers".to_owned();
        assert_eq!(vault.state(), VaultState::Absent { reason });
    }
    vault.probe();
    let kind = VaultKind::Keychain;
    assert_eq!(vault.state(), VaultState::Unopened { kind });
    assert!(files(dir.path()).is_empty(), "no key has a name");
    Vault::memory().probe();
    let file = Vault::file(dir.path());
    file.probe();
    let kind = VaultKind::File;
    assert_eq!(file.state(), VaultState::Unopened { kind });
    assert!(files(dir.path()).is_empty(), "no key file is made");
}

#[test]
fn hanging_probe_does_not_block_sign_in() {
    let dir = TempDir::new().unwrap();
    let store = mock::Store::new().unwrap();
    let (answer, answers) = channel::<()>();
    let answers = Mutex::new(Some(answers));
    let vault = Vault::with_keychain(
        dir.path(),
        move || {
            let first = answers.lock().unwrap().take();
            if let Some(first) = first {
                // Blocks until the test ends.
                let _ = first.recv();
            }
            Ok(store.clone() as Arc<CredentialStore>)
        },
        Duration::from_millis(50),
    );
    vault.probe();
    let kind = VaultKind::Keychain;
    assert_eq!(vault.state(), VaultState::Unopened { kind });
    while vault.open().is_err() {
        std::thread::yield_now();
    }
    assert_eq!(vault.state(), VaultState::Ready { kind });
    drop(answer);
}

// The Credential Manager shows no prompt.
#[cfg(not(windows))]
#[test]
fn probe_keeps_pause_after_dismissed_prompt() {
    let dir = TempDir::new().unwrap();
    let (asked, questions) = channel();
    let vault = Vault::with_keychain(
        dir.path(),
        move || {
            asked.send(()).unwrap();
            Err(Error::NoStorageAccess("SS error: prompt dismissed".into()))
        },
        TIMEOUT,
    );
    assert_eq!(vault.open(), Err(VaultError::Locked));
    vault.probe();
    assert_eq!(vault.state(), VaultState::Locked);
    assert_eq!(questions.try_iter().count(), 2);
    let write = vault.write(&grant("one"), &Zeroizing::new(SECRET.to_vec()));
    assert_eq!(write, Err(VaultError::Locked));
    assert_eq!(questions.try_iter().count(), 0, "it rests still");
}

// The Credential Manager shows no prompt.
#[cfg(not(windows))]
#[test]
fn dismissed_prompt_is_not_repeated() {
    let dir = TempDir::new().unwrap();
    let (asked, questions) = channel();
    let vault = Vault::with_keychain(
        dir.path(),
        move || {
            asked.send(()).unwrap();
            Err(Error::NoStorageAccess("SS error: prompt dismissed".into()))
        },
        TIMEOUT,
    );
    let refused = vault.open().unwrap_err().to_string();
    assert_eq!(
        refused,
        "the keychain is locked; hint: unlock it and try again"
    );
    let write = vault.write(&grant("one"), &Zeroizing::new(SECRET.to_vec()));
    assert_eq!(write, Err(VaultError::Locked));
    assert_eq!(questions.try_iter().count(), 1);
    assert_eq!(vault.open(), Err(VaultError::Locked));
    assert_eq!(questions.try_iter().count(), 1, "a click asks again");
}

/// A keychain that answers only when the test says so.
struct Locked {
    inner: Arc<mock::Store>,
    gate: Mutex<Receiver<()>>,
}

impl CredentialStoreApi for Locked {
    fn vendor(&self) -> String {
        "locked".to_owned()
    }

    fn id(&self) -> String {
        "locked".to_owned()
    }

    fn build(
        &self,
        service: &str,
        user: &str,
        _: Option<&HashMap<&str, &str>>,
    ) -> keyring_core::Result<Entry> {
        self.gate.lock().unwrap().recv().unwrap();
        self.inner.build(service, user, None)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn locked(dir: &Path, timeout: Duration) -> (Vault, Sender<()>) {
    let (unlock, gate) = channel();
    let store = Arc::new(Locked {
        inner: mock::Store::new().unwrap(),
        gate: Mutex::new(gate),
    });
    let vault = Vault::with_keychain(
        dir,
        move || Ok(store.clone() as Arc<CredentialStore>),
        timeout,
    );
    (vault, unlock)
}

#[test]
fn locked_keychain_times_out() {
    let dir = TempDir::new().unwrap();
    let (vault, unlock) = locked(dir.path(), Duration::from_millis(20));
    assert_eq!(vault.open(), Err(VaultError::Locked));
    assert_eq!(vault.state(), VaultState::Locked);
    unlock.send(()).unwrap();
    while vault.open().is_err() {
        std::thread::yield_now();
    }
    let kind = VaultKind::Keychain;
    assert_eq!(vault.state(), VaultState::Ready { kind });
}

#[test]
fn user_action_waits_full_timeout() {
    let dir = TempDir::new().unwrap();
    let (vault, unlock) = locked(dir.path(), Duration::from_secs(2));
    assert_eq!(vault.open(), Err(VaultError::Locked));
    let write = vault.write(&grant("one"), &Zeroizing::new(SECRET.to_vec()));
    assert_eq!(write, Err(VaultError::Locked), "nothing else waits again");
    std::thread::scope(|scope| {
        let clicked = scope.spawn(|| vault.open());
        unlock.send(()).unwrap();
        assert_eq!(clicked.join().unwrap(), Ok(()));
    });
}

#[test]
fn concurrent_opens_share_one_keychain_prompt() {
    let dir = TempDir::new().unwrap();
    let (vault, unlock) = locked(dir.path(), TIMEOUT);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| vault.open())).collect();
        unlock.send(()).unwrap();
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
    });
}

/// A keychain that asks the user before it stores something.
struct Asking {
    kept: Mutex<Vec<Vec<u8>>>,
    asked: Sender<()>,
    agreed: Mutex<Receiver<keyring_core::Result<()>>>,
}

struct Item(Arc<Asking>);

impl CredentialStoreApi for Item {
    fn vendor(&self) -> String {
        "asking".to_owned()
    }

    fn id(&self) -> String {
        "asking".to_owned()
    }

    fn build(
        &self,
        _: &str,
        _: &str,
        _: Option<&HashMap<&str, &str>>,
    ) -> keyring_core::Result<Entry> {
        let item = Arc::new(Self(Arc::clone(&self.0)));
        Ok(Entry::new_with_credential(item))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl CredentialApi for Item {
    fn set_secret(&self, secret: &[u8]) -> keyring_core::Result<()> {
        self.0.asked.send(()).unwrap();
        self.0.agreed.lock().unwrap().recv().unwrap()?;
        self.0.kept.lock().unwrap().push(secret.to_vec());
        Ok(())
    }

    fn get_secret(&self) -> keyring_core::Result<Vec<u8>> {
        let kept = self.0.kept.lock().unwrap();
        kept.last().cloned().ok_or(Error::NoEntry)
    }

    fn delete_credential(&self) -> keyring_core::Result<()> {
        Err(Error::NoEntry)
    }

    fn get_credential(&self) -> keyring_core::Result<Option<Arc<Credential>>> {
        Ok(None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Returns a vault whose keychain asks the user, its prompts, and the user's answers.
fn asking(
    dir: &Path,
    timeout: Duration,
) -> (
    Vault,
    Arc<Asking>,
    Receiver<()>,
    Sender<keyring_core::Result<()>>,
) {
    let (asked, prompts) = channel();
    let (agree, agreed) = channel();
    let asking = Arc::new(Asking {
        kept: Mutex::default(),
        asked,
        agreed: Mutex::new(agreed),
    });
    let store = Arc::new(Item(Arc::clone(&asking)));
    let open = move || Ok(store.clone() as Arc<CredentialStore>);
    (
        Vault::with_keychain(dir, open, timeout),
        asking,
        prompts,
        agree,
    )
}

#[test]
fn two_prompts_for_first_key_make_one_key() {
    let dir = TempDir::new().unwrap();
    let (vault, asking, prompts, agree) = asking(dir.path(), Duration::from_millis(5));
    assert_eq!(vault.open(), Err(VaultError::Locked));
    prompts.recv_timeout(TIMEOUT).unwrap();
    // The user does not find the prompt, and clicks until there is another one.
    while prompts.try_recv().is_err() {
        assert_eq!(vault.open(), Err(VaultError::Locked));
        std::thread::yield_now();
    }
    agree.send(Ok(())).unwrap();
    while vault.open().is_err() {
        std::thread::yield_now();
    }
    put(&vault, &grant("one"));
    agree.send(Ok(())).unwrap();
    while asking.kept.lock().unwrap().len() < 2 {
        std::thread::yield_now();
    }
    let kept = asking.kept.lock().unwrap();
    assert_eq!(
        kept[0], kept[1],
        "the record can be read in another process"
    );
}

#[test]
fn only_abandoned_temporary_files_are_deleted() {
    let dir = TempDir::new().unwrap();
    let vault = Vault::file(dir.path());
    put(&vault, &grant("one"));
    let (old, young) = (
        dir.path().join(".writing-old"),
        dir.path().join(".writing-new"),
    );
    for (path, age) in [(&old, 2), (&young, 0)] {
        let file = fs::File::create(path).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - Duration::from_secs(age * 60 * 60))
            .unwrap();
    }
    put(&vault, &grant("one"));
    assert!(!old.exists() && young.exists());
    assert_eq!(read(&vault).len(), 1);
}

#[test]
fn keychain_lost_during_request_is_absent() {
    let dir = TempDir::new().unwrap();
    let (vault, asking, prompts, agree) = asking(dir.path(), TIMEOUT);
    agree
        .send(Err(Error::PlatformFailure("the bus is gone".into())))
        .unwrap();
    let refused = vault.open().unwrap_err().to_string();
    assert_eq!(
        refused,
        "the keychain cannot be used: the system has no keychain that answers; hint: start one (a Secret \
         Service such as gnome-keyring on Linux), or choose a key file: `POSTERN_VAULT=file postern \
         bridge --replace --detach`"
    );
    assert!(matches!(vault.state(), VaultState::Absent { .. }));
    agree.send(Ok(())).unwrap();
    vault.open().unwrap();
    put(&vault, &grant("one"));
    assert_eq!(
        prompts.try_iter().count(),
        2,
        "once before it went, once after"
    );
    assert_eq!(asking.kept.lock().unwrap().len(), 1);
}

#[test]
fn keychain_lost_later_keeps_vault_usable() {
    let dir = TempDir::new().unwrap();
    let store = mock::Store::new().unwrap();
    let gone = Arc::new(AtomicBool::new(false));
    let open = || {
        let (store, gone) = (store.clone(), gone.clone());
        let open = move || match gone.load(Ordering::Relaxed) {
            true => Err(Error::PlatformFailure("the bus is gone".into())),
            false => Ok(store.clone() as Arc<CredentialStore>),
        };
        Vault::with_keychain(dir.path(), open, TIMEOUT)
    };
    let vault = open();
    put(&vault, &grant("one"));
    gone.store(true, Ordering::Relaxed);
    put(&vault, &grant("two"));
    assert_eq!(read(&vault).len(), 2);
    let kind = VaultKind::Keychain;
    assert_eq!(vault.state(), VaultState::Ready { kind });

    let later = open();
    assert!(matches!(later.read_all(), Err(VaultError::Absent { .. })));
    gone.store(false, Ordering::Relaxed);
    assert_eq!(later.open(), Ok(()));
    assert_eq!(read(&later).len(), 2, "and it comes back whole");
}

#[test]
fn slow_keychain_times_out() {
    let dir = TempDir::new().unwrap();
    let (vault, unlock) = locked(dir.path(), TIMEOUT);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| vault.open());
        while !matches!(vault.state(), VaultState::Unopened { .. }) || asking.is_finished() {
            std::thread::yield_now();
        }
        unlock.send(()).unwrap();
        assert_eq!(asking.join().unwrap(), Ok(()), "it answered in time");
    });

    let dir = TempDir::new().unwrap();
    let timeout = Duration::from_millis(50);
    let (vault, _unlock) = locked(dir.path(), timeout);
    let begun = Instant::now();
    let refused = vault.open().unwrap_err();
    assert!(begun.elapsed() >= timeout);
    assert_eq!(
        refused.to_string(),
        "the keychain is locked; hint: unlock it and try again"
    );
    assert_eq!(
        vault.open(),
        Err(VaultError::Locked),
        "later callers do not wait"
    );
}

#[test]
fn large_tokens_are_stored_outside_keychain() {
    // Windows accepts 2,560 bytes, and a token set of Entra may have several times that.
    let large = vec![b'x'; 64 * 1024];
    let dir = TempDir::new().unwrap();
    let (vault, asking, _prompts, agree) = asking(dir.path(), TIMEOUT);
    agree.send(Ok(())).unwrap();
    vault
        .write(&grant("one"), &Zeroizing::new(large.clone()))
        .unwrap();
    assert_eq!(read(&vault), [(grant("one"), large)]);
    let kept = asking.kept.lock().unwrap();
    assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [32]);
}
