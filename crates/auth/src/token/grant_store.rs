//! All grants, registrations and stored secrets, in memory and in the vault.

mod record;
#[cfg(test)]
mod tests;
mod unsaved;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Issuer, SecretName};
use tokio::sync::{OnceCell, watch};

use self::unsaved::UnsavedGrants;
use super::grant::{Grant, GrantKey};
use super::grant_entry::GrantEntry;
use crate::account::Account;
use crate::approval::{Pin, PinKey};
use crate::registration::Registration;
use crate::secret::StoredSecret;
use crate::target::TargetKey;
use crate::vault::{Contents, Plain, RecordKind, RecordName, Unsaved, Vault, VaultError};

/// All grants, registrations and stored secrets.
pub(crate) struct GrantStore {
    vault: Vault,
    loaded: OnceCell<()>,
    state: Mutex<StoreState>,
    /// Held while grants are added and removed.
    changing: tokio::sync::Mutex<()>,
    /// Notifies when unsaved grants change.
    unsaved_changed: watch::Sender<()>,
}

#[derive(Default)]
struct StoreState {
    entries: Vec<Arc<GrantEntry>>,
    /// The grant of each target. Rebuilt by [`StoreState::index`] whenever a grant or its targets
    /// change, under the lock of the change.
    by_target: HashMap<TargetKey, Arc<GrantEntry>>,
    registrations: Vec<Registration>,
    secrets: BTreeMap<SecretName, StoredSecret>,
    pins: HashMap<PinKey, Pin>,
    damaged: Vec<PathBuf>,
    unsaved: UnsavedGrants,
}

/// What to do with a new grant that cannot be written.
#[derive(Clone, Copy)]
enum IfUnwritten {
    Refuse,
    Use,
}

impl GrantStore {
    pub(crate) fn new(vault: Vault) -> Self {
        Self {
            vault,
            loaded: OnceCell::new(),
            state: Mutex::default(),
            changing: tokio::sync::Mutex::new(()),
            unsaved_changed: watch::Sender::new(()),
        }
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Reads the vault once.
    pub(crate) async fn load(&self) -> Result<(), VaultError> {
        let load = || async {
            let contents = self.in_vault(Vault::read_all).await?;
            let misnamed = self.state().take(contents);
            self.rename_records(misnamed).await;
            Ok(())
        };
        self.loaded.get_or_try_init(load).await.copied()
    }

    /// Writes these grants to records with their current names. A record with an outdated name
    /// would never be written again, nor deleted when its account signs out.
    async fn rename_records(&self, misnamed: Vec<(RecordName, GrantKey)>) {
        for (name, key) in misnamed {
            if let Err(error) = self.rename(name, &key).await {
                tracing::warn!(%error, "a record keeps its outdated name for now");
            }
        }
    }

    async fn rename(&self, name: RecordName, key: &GrantKey) -> Result<(), VaultError> {
        if let Some(entry) = self.entry(key) {
            let _refreshing = entry.refresh_lock.lock().await;
            let since = entry.with_grant(|grant| grant.tokens.obtained_at);
            self.save(&entry, since).await?;
        }
        self.in_vault(move |vault| vault.remove(&name)).await
    }

    /// Probes whether the vault has a keychain. Does not ask for the key.
    pub(crate) async fn probe(&self) {
        let probe = |vault: &Vault| {
            vault.probe();
            Ok(())
        };
        if let Err(error) = self.in_vault(probe).await {
            tracing::warn!(%error, "the keychain cannot be probed");
        }
    }

    /// Makes sure that the tokens of a sign-in can be stored.
    pub(crate) async fn open(&self) -> Result<(), VaultError> {
        self.in_vault(Vault::open).await?;
        self.load().await
    }

    /// Returns the grant for the target with this key.
    pub(crate) fn grant_for(&self, target: &TargetKey) -> Option<Arc<GrantEntry>> {
        self.state().by_target.get(target).cloned()
    }

    /// Returns all grants.
    pub(crate) fn grants(&self) -> Vec<Arc<GrantEntry>> {
        self.state().entries.clone()
    }

    /// Returns the issuers of all grants and registrations.
    pub(crate) fn issuers(&self) -> Vec<Issuer> {
        let grants = self.grants();
        let of_grants = grants
            .iter()
            .map(|entry| entry.with_grant(|grant| grant.key.issuer.clone()));
        let state = self.state();
        let registrations = state.registrations.iter();
        let of_registrations = registrations.map(|known| known.issuer.clone());
        of_grants.chain(of_registrations).collect()
    }

    /// Returns true if the grant is still stored. Its account may have signed out.
    pub(crate) fn has(&self, entry: &Arc<GrantEntry>) -> bool {
        let state = self.state();
        state.entries.iter().any(|known| Arc::ptr_eq(known, entry))
    }

    /// Returns true if the record of a grant could not be read.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.state().damaged.is_empty()
    }

    /// Stores a new grant. It takes its targets over from other grants. Grants without targets are
    /// deleted.
    pub(crate) async fn keep(&self, grant: Grant) -> Result<(), VaultError> {
        self.insert(grant, IfUnwritten::Refuse).await
    }

    /// Stores a derived grant. If it cannot be written, it is used nevertheless, and
    /// [`save_unsaved`](Self::save_unsaved) writes it later.
    pub(crate) async fn keep_derived(&self, grant: Grant) -> Result<(), VaultError> {
        self.insert(grant, IfUnwritten::Use).await
    }

    async fn insert(&self, mut grant: Grant, policy: IfUnwritten) -> Result<(), VaultError> {
        let _changing = self.changing.lock().await;
        let targets = grant.targets.clone();
        let (key, account) = (grant.key.clone(), grant.account.clone());
        let now = grant.tokens.obtained_at;
        let known = self.entry(&key);
        let refresh_lock = match &known {
            Some(entry) => Some(entry.refresh_lock.lock().await),
            None => None,
        };
        if let Some(entry) = &known {
            let before = entry.with_grant(|grant| grant.targets.clone());
            grant.targets.extend(before);
        }
        let written = self.write(key.record(), record::from_grant(&grant)).await;
        if let (Err(error), IfUnwritten::Refuse) = (&written, policy) {
            return Err(error.clone());
        }
        self.state().put(known.as_ref(), grant);
        self.record_write(&key, &account, &written, now);
        drop(refresh_lock);
        if written.is_ok() {
            self.clear_damage(&key);
        }
        for entry in self.grants() {
            let rival =
                entry.with_grant(|grant| grant.key != key && !grant.targets.is_disjoint(&targets));
            if rival {
                self.transfer(&entry, &targets, now).await?;
            }
        }
        Ok(())
    }

    /// Writes the grant in `entry`. The caller holds its `refresh_lock`. If it cannot be written,
    /// [`save_unsaved`](Self::save_unsaved) writes it later.
    pub(crate) async fn save(&self, entry: &GrantEntry, now: u64) -> Result<(), VaultError> {
        let (name, record) =
            entry.with_grant(|grant| (grant.key.record(), record::from_grant(grant)));
        let written = self.write(name, record).await;
        // Releases the lock of the grant first: other callers lock grants while they hold the lock
        // of the state.
        let (key, account) = entry.with_grant(|grant| (grant.key.clone(), grant.account.clone()));
        self.record_write(&key, &account, &written, now);
        written
    }

    fn record_write(
        &self,
        key: &GrantKey,
        account: &Account,
        written: &Result<(), VaultError>,
        now: u64,
    ) {
        match written {
            Ok(()) => self.mark_saved(key),
            Err(error) => {
                if self.state().unsaved.insert(key, account, error, now) {
                    self.unsaved_changed.send_replace(());
                }
            }
        }
    }

    /// Writes unsaved grants.
    pub(crate) async fn save_unsaved(&self) {
        let keys = self.state().unsaved.keys();
        for key in keys {
            let Some(entry) = self.entry(&key) else {
                self.mark_saved(&key);
                continue;
            };
            let _refreshing = entry.refresh_lock.lock().await;
            // Its account may have signed out meanwhile.
            if !self.has(&entry) {
                continue;
            }
            let since = entry.with_grant(|grant| grant.tokens.obtained_at);
            match self.save(&entry, since).await {
                Ok(()) => {
                    tracing::info!(issuer = %key.issuer, "the refreshed tokens are stored now")
                }
                Err(error) => tracing::debug!(%error, "the refreshed tokens are still not stored"),
            }
        }
    }

    /// Returns the unsaved grants, or `None` if all are written.
    pub(crate) fn unsaved(&self) -> Option<Unsaved> {
        self.state().unsaved.view()
    }

    /// Notifies when [`unsaved`](Self::unsaved) changes.
    pub(crate) fn unsaved_changes(&self) -> watch::Receiver<()> {
        self.unsaved_changed.subscribe()
    }

    fn mark_saved(&self, key: &GrantKey) {
        if self.state().unsaved.remove(key) {
            self.unsaved_changed.send_replace(());
        }
    }

    /// Deletes the grant in `entry`, once no refresh uses it.
    pub(crate) async fn forget(&self, entry: &Arc<GrantEntry>) -> Result<(), VaultError> {
        let _changing = self.changing.lock().await;
        self.remove_entry(entry).await
    }

    pub(crate) fn registration(&self, issuer: &Issuer) -> Option<Registration> {
        let state = self.state();
        let mut registrations = state.registrations.iter();
        registrations.find(|known| known.issuer == *issuer).cloned()
    }

    pub(crate) async fn keep_registration(&self, new: Registration) -> Result<(), VaultError> {
        let name = Registration::record(&new.issuer);
        self.write(name, record::from_registration(&new)).await?;
        let mut state = self.state();
        state
            .registrations
            .retain(|known| known.issuer != new.issuer);
        state.registrations.push(new);
        Ok(())
    }

    /// Deletes the registration if it is still that of `client_id`.
    pub(crate) async fn forget_registration(
        &self,
        issuer: &Issuer,
        client_id: &str,
    ) -> Result<(), VaultError> {
        let is_it = |known: &Registration| known.issuer == *issuer && known.client.id == client_id;
        if !self.state().registrations.iter().any(is_it) {
            return Ok(());
        }
        self.state().registrations.retain(|known| !is_it(known));
        let name = Registration::record(issuer);
        self.in_vault(move |vault| vault.remove(&name)).await
    }

    pub(crate) fn secret(&self, name: &SecretName) -> Option<StoredSecret> {
        self.state().secrets.get(name).cloned()
    }

    /// Returns the names of all secrets.
    pub(crate) fn secrets(&self) -> Vec<SecretName> {
        self.state().secrets.keys().cloned().collect()
    }

    /// Stores a secret. Replaces one of the same name.
    pub(crate) async fn keep_secret(
        &self,
        name: SecretName,
        secret: StoredSecret,
    ) -> Result<(), VaultError> {
        let _changing = self.changing.lock().await;
        self.write(secret_record(&name), record::from_secret(&name, &secret))
            .await?;
        self.state().secrets.insert(name, secret);
        Ok(())
    }

    /// Deletes a secret. Returns true if it existed.
    pub(crate) async fn forget_secret(&self, name: &SecretName) -> Result<bool, VaultError> {
        let _changing = self.changing.lock().await;
        let record = secret_record(name);
        self.in_vault(move |vault| vault.remove(&record)).await?;
        Ok(self.state().secrets.remove(name).is_some())
    }

    /// Returns the approval with this key.
    pub(crate) fn pin(&self, key: &PinKey) -> Option<Pin> {
        self.state().pins.get(key).cloned()
    }

    /// Returns all approvals for the server at `url`.
    pub(crate) fn pins_of(&self, url: &str) -> Vec<Pin> {
        let state = self.state();
        let pins = state.pins.values().filter(|pin| pin.key.server == url);
        pins.cloned().collect()
    }

    /// Changes and stores the approval with this key. Returns true if it changed.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if it cannot be stored. Nothing is approved then.
    pub(crate) async fn change_pin(
        &self,
        key: &PinKey,
        change: impl FnOnce(&mut Pin),
    ) -> Result<bool, VaultError> {
        let _changing = self.changing.lock().await;
        let before = self.pin(key);
        let mut pin = before.clone().unwrap_or_else(|| Pin::new(key.clone()));
        change(&mut pin);
        if before.as_ref() == Some(&pin) {
            return Ok(false);
        }
        self.write(key.record(), record::from_pin(&pin)).await?;
        self.state().pins.insert(key.clone(), pin);
        Ok(true)
    }

    /// Deletes all approvals for the server at `url`.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if a record cannot be deleted.
    pub(crate) async fn forget_pins(&self, url: &str) -> Result<(), VaultError> {
        let _changing = self.changing.lock().await;
        for pin in self.pins_of(url) {
            self.state().pins.remove(&pin.key);
            let name = pin.key.record();
            self.in_vault(move |vault| vault.remove(&name)).await?;
        }
        Ok(())
    }

    fn entry(&self, key: &GrantKey) -> Option<Arc<GrantEntry>> {
        let state = self.state();
        let has_key = |entry: &&Arc<GrantEntry>| entry.with_grant(|grant| grant.key == *key);
        state.entries.iter().find(has_key).cloned()
    }

    async fn transfer(
        &self,
        entry: &Arc<GrantEntry>,
        targets: &BTreeSet<TargetKey>,
        now: u64,
    ) -> Result<(), VaultError> {
        let left = entry.with_grant(|grant| &grant.targets - targets);
        if left.is_empty() {
            return self.remove_entry(entry).await;
        }
        let _refreshing = entry.refresh_lock.lock().await;
        {
            let mut state = self.state();
            entry.set_targets(left);
            state.index();
        }
        self.save(entry, now).await
    }

    async fn remove_entry(&self, entry: &Arc<GrantEntry>) -> Result<(), VaultError> {
        let _refreshing = entry.refresh_lock.lock().await;
        {
            let mut state = self.state();
            entry.mark_signed_out();
            state.entries.retain(|other| !Arc::ptr_eq(other, entry));
            state.index();
        }
        let key = entry.with_grant(|grant| grant.key.clone());
        self.mark_saved(&key);
        let name = key.record();
        self.in_vault(move |vault| vault.remove(&name)).await
    }

    /// The record was written just now, so it is not damaged any more.
    fn clear_damage(&self, key: &GrantKey) {
        let file = key.record().file_name();
        self.state().damaged.retain(|path| !path.ends_with(&file));
    }

    async fn write(&self, name: RecordName, record: Plain) -> Result<(), VaultError> {
        self.in_vault(move |vault| vault.write(&name, &record))
            .await
    }

    async fn in_vault<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let vault = self.vault.clone();
        let done = tokio::task::spawn_blocking(move || work(&vault)).await;
        done.unwrap_or_else(|error| {
            Err(VaultError::Absent {
                reason: error.to_string(),
            })
        })
    }

    fn state(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn secret_record(name: &SecretName) -> RecordName {
    RecordName::new(RecordKind::Secret, &[name.as_str()])
}

impl StoreState {
    /// Stores a grant in its entry, or in a new one.
    fn put(&mut self, entry: Option<&Arc<GrantEntry>>, grant: Grant) {
        match entry {
            Some(entry) => entry.replace(grant),
            None => self.entries.push(Arc::new(GrantEntry::new(grant))),
        }
        self.index();
    }

    /// Maps each target to its grant. If several grants have the same target, the first counts:
    /// the others are about to lose it.
    fn index(&mut self) {
        let mut by_target = HashMap::new();
        for entry in &self.entries {
            let targets = entry.with_grant(|grant| grant.targets.clone());
            for target in targets {
                by_target.entry(target).or_insert_with(|| Arc::clone(entry));
            }
        }
        self.by_target = by_target;
    }

    /// Loads the content of the vault. Returns the grants whose record has an outdated name.
    fn take(&mut self, contents: Contents) -> Vec<(RecordName, GrantKey)> {
        let mut misnamed = Vec::new();
        self.damaged = contents.damaged;
        for (name, plain) in contents.records {
            let read = match name.kind {
                RecordKind::Grant => record::to_grant(&plain).map(|grant| {
                    if grant.key.record() != name {
                        misnamed.push((name.clone(), grant.key.clone()));
                    }
                    self.entries.push(Arc::new(GrantEntry::new(grant)));
                }),
                RecordKind::Registration => {
                    record::to_registration(&plain).map(|known| self.registrations.push(known))
                }
                RecordKind::Secret => record::to_secret(&plain).map(|(name, secret)| {
                    self.secrets.insert(name, secret);
                }),
                RecordKind::Approval => record::to_pin(&plain).map(|pin| {
                    self.pins.insert(pin.key.clone(), pin);
                }),
            };
            if read.is_none() {
                self.damaged.push(name.file_name().into());
            }
        }
        // A crash between two writes leaves two grants for one target. The newer one counts.
        let obtained = |entry: &Arc<GrantEntry>| entry.with_grant(|grant| grant.tokens.obtained_at);
        self.entries.sort_by_key(|entry| Reverse(obtained(entry)));
        // The same applies to one grant with two names.
        let mut seen = HashSet::new();
        self.entries
            .retain(|entry| seen.insert(entry.with_grant(|grant| grant.key.clone())));
        self.index();
        for path in &self.damaged {
            tracing::warn!(path = %path.display(), "a record of the vault is damaged");
        }
        misnamed
    }
}
