//! Records with outdated names, and which grant a target has.

mod stored;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{GrantStore, record};
use crate::http::NetworkZone;
use crate::target::TargetKey;
use crate::token::tests::{grant, target};
use crate::token::{Grant, ObtainedBy};
use crate::vault::{RecordKind, RecordName, Vault};

/// Returns the files of a vault except its key.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "key").collect()
}

/// Stores a grant with the record name of older versions, which omits the subject.
fn keep_as_before(vault: &Vault, obtained_at: u64) -> RecordName {
    let mut grant = grant(&target(), NetworkZone::Local, 1);
    grant.tokens.obtained_at = obtained_at;
    let parts = [
        grant.key.issuer.as_str(),
        &grant.key.client_id,
        &grant.key.audience,
    ];
    let name = RecordName::new(RecordKind::Grant, &parts);
    vault.write(&name, &record::from_grant(&grant)).unwrap();
    name
}

#[tokio::test]
async fn record_with_outdated_name_is_renamed() {
    let dir = tempfile::tempdir().unwrap();
    keep_as_before(&Vault::file(dir.path()), 7);
    let store = GrantStore::new(Vault::file(dir.path()));
    store.load().await.unwrap();
    let entry = store.grant_for(target().key()).unwrap();
    let name = entry.with_grant(|grant| grant.key.record());
    assert_eq!(files(dir.path()), [name.file_name()]);
    let later = GrantStore::new(Vault::file(dir.path()));
    later.load().await.unwrap();
    assert!(later.grant_for(target().key()).is_some());
    store.forget(&entry).await.unwrap();
    assert!(files(dir.path()).is_empty());
    assert!(dir.path().join("key").exists());
}

#[tokio::test]
async fn newer_of_two_records_of_grant_stays() {
    for obtained_at in [6, 8] {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::file(dir.path());
        let mut newer = grant(&target(), NetworkZone::Local, 1);
        newer.tokens.obtained_at = 7;
        GrantStore::new(vault.clone()).keep(newer).await.unwrap();
        keep_as_before(&vault, obtained_at);
        let store = GrantStore::new(Vault::file(dir.path()));
        store.load().await.unwrap();
        assert_eq!(store.grants().len(), 1);
        let kept = store.grants()[0].with_grant(|grant| grant.tokens.obtained_at);
        assert_eq!(kept, obtained_at.max(7));
        assert_eq!(files(dir.path()).len(), 1);
    }
}

#[tokio::test]
async fn vault_without_key_keeps_records() {
    let dir = tempfile::tempdir().unwrap();
    let name = keep_as_before(&Vault::file(dir.path()), 7);
    std::fs::remove_file(dir.path().join("key")).unwrap();
    let store = GrantStore::new(Vault::file(dir.path()));
    store.load().await.unwrap_err();
    assert_eq!(files(dir.path()), [name.file_name()]);
}

#[test]
fn record_without_sign_in_method_is_browser() {
    let mut grant = grant(&target(), NetworkZone::Local, 1);
    grant.obtained_by = ObtainedBy::DeviceCode;
    let record = record::from_grant(&grant);
    let kept = record::to_grant(&record).unwrap();
    assert_eq!(kept.obtained_by, ObtainedBy::DeviceCode);
    let mut older: serde_json::Value = serde_json::from_slice(&record).unwrap();
    older
        .as_object_mut()
        .unwrap()
        .remove("obtained_by")
        .unwrap();
    let older = zeroize::Zeroizing::new(older.to_string().into_bytes());
    let kept = record::to_grant(&older).unwrap();
    assert_eq!(kept.obtained_by, ObtainedBy::Browser);
}

fn key(target: &str) -> TargetKey {
    TargetKey::from_record(target)
}

/// Returns a grant of the client `name` for these targets.
fn opening(name: &str, targets: &[&str]) -> Grant {
    let mut grant = grant(&target(), NetworkZone::Local, 1);
    grant.key.client_id = name.to_owned();
    grant.client.id = name.to_owned();
    grant.targets = targets.iter().map(|target| key(target)).collect();
    grant
}

/// Returns the client whose grant serves each of the targets `a`, `b` and `c`.
fn openers(store: &GrantStore) -> [Option<String>; 3] {
    ["a", "b", "c"].map(|target| {
        let entry = store.grant_for(&key(target))?;
        Some(entry.with_grant(|grant| grant.key.client_id.clone()))
    })
}

#[tokio::test]
async fn grant_is_found_by_current_targets() {
    let dir = tempfile::tempdir().unwrap();
    let store = GrantStore::new(Vault::file(dir.path()));
    let named =
        |names: [&str; 3]| names.map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    store.keep(opening("one", &["a", "b"])).await.unwrap();
    assert_eq!(openers(&store), named(["one", "one", ""]));
    // A second grant takes over a target. Then the first one gets another target.
    store.keep(opening("two", &["b"])).await.unwrap();
    assert_eq!(openers(&store), named(["one", "two", ""]));
    store.keep(opening("one", &["c"])).await.unwrap();
    assert_eq!(openers(&store), named(["one", "two", "one"]));
    let later = GrantStore::new(Vault::file(dir.path()));
    later.load().await.unwrap();
    assert_eq!(openers(&later), named(["one", "two", "one"]));
    // A third grant takes over all its targets.
    store.keep(opening("three", &["a", "c"])).await.unwrap();
    assert_eq!(openers(&store), named(["three", "two", "three"]));
    assert_eq!(store.grants().len(), 2);
    store
        .forget(&store.grant_for(&key("b")).unwrap())
        .await
        .unwrap();
    assert_eq!(openers(&store), named(["three", "", "three"]));
}

#[tokio::test]
async fn grant_lookup_locks_no_other_grant() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(GrantStore::new(Vault::file(dir.path())));
    store.keep(opening("one", &["a"])).await.unwrap();
    store.keep(opening("two", &["b"])).await.unwrap();
    let (found, finding) = std::sync::mpsc::channel();
    let first = store.grant_for(&key("a")).unwrap();
    let is_found = first.with_grant(|_| {
        let store = Arc::clone(&store);
        std::thread::spawn(move || found.send(store.grant_for(&key("b")).is_some()));
        finding.recv_timeout(Duration::from_secs(10))
    });
    assert_eq!(is_found, Ok(true));
}
