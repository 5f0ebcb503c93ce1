//! Records under names that they no longer have.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Ledger, record};
use crate::http::Side;
use crate::token::tests::{grant, target};
use crate::token::{Grant, ObtainedBy};
use crate::vault::{RecordKind, RecordName, Vault};

/// The files of a vault, but for its key.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "key").collect()
}

/// Keeps a grant as versions did that named it without its person.
fn keep_as_before(vault: &Vault, obtained_at: u64) -> RecordName {
    let mut grant = grant(&target(), Side::Inside, 1);
    grant.tokens.obtained_at = obtained_at;
    let parts = [
        grant.key.issuer.as_str(),
        &grant.key.client_id,
        &grant.key.audience,
    ];
    let name = RecordName::new(RecordKind::Grant, &parts);
    vault.write(&name, &record::of_grant(&grant)).unwrap();
    name
}

#[tokio::test]
async fn a_grant_under_an_older_name_gets_its_own_and_goes_when_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    keep_as_before(&Vault::file(dir.path()), 7);
    let ledger = Ledger::new(Vault::file(dir.path()));
    ledger.load().await.unwrap();
    let slot = ledger.grant_for(&target().name()).unwrap();
    let name = slot.with_grant(|grant| grant.key.record());
    assert_eq!(files(dir.path()), [name.file_name()]);
    let later = Ledger::new(Vault::file(dir.path()));
    later.load().await.unwrap();
    assert!(later.grant_for(&target().name()).is_some());
    ledger.forget(&slot).await.unwrap();
    assert!(files(dir.path()).is_empty());
    assert!(dir.path().join("key").exists());
}

#[tokio::test]
async fn of_one_grant_under_two_names_the_newer_one_stays() {
    for obtained_at in [6, 8] {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::file(dir.path());
        let mut newer = grant(&target(), Side::Inside, 1);
        newer.tokens.obtained_at = 7;
        Ledger::new(vault.clone()).keep(newer).await.unwrap();
        keep_as_before(&vault, obtained_at);
        let ledger = Ledger::new(Vault::file(dir.path()));
        ledger.load().await.unwrap();
        assert_eq!(ledger.grants().len(), 1);
        let kept = ledger.grants()[0].with_grant(|grant| grant.tokens.obtained_at);
        assert_eq!(kept, obtained_at.max(7));
        assert_eq!(files(dir.path()).len(), 1);
    }
}

#[tokio::test]
async fn nothing_is_cleared_away_in_a_vault_that_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let name = keep_as_before(&Vault::file(dir.path()), 7);
    std::fs::remove_file(dir.path().join("key")).unwrap();
    let ledger = Ledger::new(Vault::file(dir.path()));
    ledger.load().await.unwrap_err();
    assert_eq!(files(dir.path()), [name.file_name()]);
}

#[test]
fn record_without_the_way_of_the_sign_in_is_of_a_browser() {
    let mut grant = grant(&target(), Side::Inside, 1);
    grant.obtained_by = ObtainedBy::DeviceCode;
    let record = record::of_grant(&grant);
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

/// A grant of the client `name` that opens these targets.
fn opening(name: &str, targets: &[&str]) -> Grant {
    let mut grant = grant(&target(), Side::Inside, 1);
    grant.key.client_id = name.to_owned();
    grant.client.id = name.to_owned();
    grant.targets = targets.iter().map(|target| (*target).to_owned()).collect();
    grant
}

/// The client whose grant opens each of the targets `a`, `b` and `c`.
fn openers(ledger: &Ledger) -> [Option<String>; 3] {
    ["a", "b", "c"].map(|target| {
        let slot = ledger.grant_for(target)?;
        Some(slot.with_grant(|grant| grant.key.client_id.clone()))
    })
}

#[tokio::test]
async fn grant_is_found_by_its_targets_as_they_are_now() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(Vault::file(dir.path()));
    let named =
        |names: [&str; 3]| names.map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    ledger.keep(opening("one", &["a", "b"])).await.unwrap();
    assert_eq!(openers(&ledger), named(["one", "one", ""]));
    // Another one takes a target over, and then the first one a target more.
    ledger.keep(opening("two", &["b"])).await.unwrap();
    assert_eq!(openers(&ledger), named(["one", "two", ""]));
    ledger.keep(opening("one", &["c"])).await.unwrap();
    assert_eq!(openers(&ledger), named(["one", "two", "one"]));
    let later = Ledger::new(Vault::file(dir.path()));
    later.load().await.unwrap();
    assert_eq!(openers(&later), named(["one", "two", "one"]));
    // All that it opens is taken over.
    ledger.keep(opening("three", &["a", "c"])).await.unwrap();
    assert_eq!(openers(&ledger), named(["three", "two", "three"]));
    assert_eq!(ledger.grants().len(), 2);
    ledger
        .forget(&ledger.grant_for("b").unwrap())
        .await
        .unwrap();
    assert_eq!(openers(&ledger), named(["three", "", "three"]));
}

#[tokio::test]
async fn grant_is_found_without_looking_into_others() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::new(Vault::file(dir.path())));
    ledger.keep(opening("one", &["a"])).await.unwrap();
    ledger.keep(opening("two", &["b"])).await.unwrap();
    let (found, finding) = std::sync::mpsc::channel();
    let first = ledger.grant_for("a").unwrap();
    let is_found = first.with_grant(|_| {
        let ledger = Arc::clone(&ledger);
        std::thread::spawn(move || found.send(ledger.grant_for("b").is_some()));
        finding.recv_timeout(Duration::from_secs(10))
    });
    assert_eq!(is_found, Ok(true));
}
