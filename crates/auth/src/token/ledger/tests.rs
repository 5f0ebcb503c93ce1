//! Records under names that they no longer have.

use std::path::Path;

use super::{Ledger, record};
use crate::http::Side;
use crate::token::ObtainedBy;
use crate::token::tests::{grant, target};
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
