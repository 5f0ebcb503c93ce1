//! All grants, registrations and stored secrets: in memory for use, in the vault for good.

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
use super::grant_entry::Slot;
use crate::account::Account;
use crate::audience::{Pin, PinKey};
use crate::registration::Registration;
use crate::secret::StoredSecret;
use crate::vault::{Contents, Plain, RecordKind, RecordName, Unsaved, Vault, VaultError};

/// All grants, registrations and stored secrets.
pub(crate) struct Ledger {
    vault: Vault,
    loaded: OnceCell<()>,
    entries: Mutex<Entries>,
    /// Held while grants come and go.
    changing: tokio::sync::Mutex<()>,
    /// News of what could not be written.
    unsaved_changed: watch::Sender<()>,
}

#[derive(Default)]
struct Entries {
    slots: Vec<Arc<Slot>>,
    /// The grant that opens each target. Rebuilt by [`Entries::index`] whenever a grant comes or
    /// goes or its targets change, under the lock of the change.
    by_target: HashMap<String, Arc<Slot>>,
    registrations: Vec<Registration>,
    secrets: BTreeMap<SecretName, StoredSecret>,
    pins: HashMap<PinKey, Pin>,
    damaged: Vec<PathBuf>,
    unsaved: UnsavedGrants,
}

/// What becomes of a new grant that cannot be written.
#[derive(Clone, Copy)]
enum IfUnwritten {
    Refuse,
    Use,
}

impl Ledger {
    pub(crate) fn new(vault: Vault) -> Self {
        Self {
            vault,
            loaded: OnceCell::new(),
            entries: Mutex::default(),
            changing: tokio::sync::Mutex::new(()),
            unsaved_changed: watch::Sender::new(()),
        }
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Reads the vault, unless that is done.
    pub(crate) async fn load(&self) -> Result<(), VaultError> {
        let load = || async {
            let contents = self.in_vault(Vault::read_all).await?;
            let strays = self.entries().take(contents);
            self.file_anew(strays).await;
            Ok(())
        };
        self.loaded.get_or_try_init(load).await.copied()
    }

    /// Files these grants under the names that they have now. A record under an older name would
    /// never be written again, nor removed when its account signs out.
    async fn file_anew(&self, strays: Vec<(RecordName, GrantKey)>) {
        for (name, key) in strays {
            if let Err(error) = self.rename(name, &key).await {
                tracing::warn!(%error, "a record keeps its older name for now");
            }
        }
    }

    async fn rename(&self, name: RecordName, key: &GrantKey) -> Result<(), VaultError> {
        if let Some(slot) = self.slot(key) {
            let _flight = slot.flight.lock().await;
            let since = slot.with_grant(|grant| grant.tokens.obtained_at);
            self.save(&slot, since).await?;
        }
        self.in_vault(move |vault| vault.remove(&name)).await
    }

    /// Finds out whether the vault has a keychain, without asking for the key.
    pub(crate) async fn probe(&self) {
        let probe = |vault: &Vault| {
            vault.probe();
            Ok(())
        };
        if let Err(error) = self.in_vault(probe).await {
            tracing::warn!(%error, "the keychain cannot be probed");
        }
    }

    /// Makes sure that what a sign-in brings can be kept.
    pub(crate) async fn open(&self) -> Result<(), VaultError> {
        self.in_vault(Vault::open).await?;
        self.load().await
    }

    /// The grant that opens the target of this name.
    pub(crate) fn grant_for(&self, target: &str) -> Option<Arc<Slot>> {
        self.entries().by_target.get(target).cloned()
    }

    /// All grants.
    pub(crate) fn grants(&self) -> Vec<Arc<Slot>> {
        self.entries().slots.clone()
    }

    /// Returns the issuers of all grants and registrations.
    pub(crate) fn issuers(&self) -> Vec<Issuer> {
        let grants = self.grants();
        let of_grants = grants
            .iter()
            .map(|slot| slot.with_grant(|grant| grant.key.issuer.clone()));
        let entries = self.entries();
        let registrations = entries.registrations.iter();
        let of_registrations = registrations.map(|known| known.issuer.clone());
        of_grants.chain(of_registrations).collect()
    }

    /// Whether the grant is still kept: its account may have signed out.
    pub(crate) fn has(&self, slot: &Arc<Slot>) -> bool {
        let entries = self.entries();
        entries.slots.iter().any(|known| Arc::ptr_eq(known, slot))
    }

    /// Whether a record of some grant could not be read.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.entries().damaged.is_empty()
    }

    /// Keeps a new grant. It takes its targets over from whichever grants opened them before;
    /// those that open nothing any more are forgotten.
    pub(crate) async fn keep(&self, grant: Grant) -> Result<(), VaultError> {
        self.take_in(grant, IfUnwritten::Refuse).await
    }

    /// Keeps a grant that was derived from another one. If it cannot be written, it is used
    /// nevertheless, and written by [`save_unsaved`](Self::save_unsaved) later.
    pub(crate) async fn keep_derived(&self, grant: Grant) -> Result<(), VaultError> {
        self.take_in(grant, IfUnwritten::Use).await
    }

    async fn take_in(&self, mut grant: Grant, policy: IfUnwritten) -> Result<(), VaultError> {
        let _changing = self.changing.lock().await;
        let targets = grant.targets.clone();
        let (key, account) = (grant.key.clone(), grant.account.clone());
        let now = grant.tokens.obtained_at;
        let known = self.slot(&key);
        let flight = match &known {
            Some(slot) => Some(slot.flight.lock().await),
            None => None,
        };
        if let Some(slot) = &known {
            let before = slot.with_grant(|grant| grant.targets.clone());
            grant.targets.extend(before);
        }
        let written = self.write(key.record(), record::of_grant(&grant)).await;
        if let (Err(error), IfUnwritten::Refuse) = (&written, policy) {
            return Err(error.clone());
        }
        self.entries().put(known.as_ref(), grant);
        self.note_written(&key, &account, &written, now);
        drop(flight);
        if written.is_ok() {
            self.mend(&key);
        }
        for slot in self.grants() {
            let rival =
                slot.with_grant(|grant| grant.key != key && !grant.targets.is_disjoint(&targets));
            if rival {
                self.cede(&slot, &targets, now).await?;
            }
        }
        Ok(())
    }

    /// Writes the grant in `slot` as it is `now`. The caller holds its `flight`. One that cannot be
    /// written is written by [`save_unsaved`](Self::save_unsaved) later.
    pub(crate) async fn save(&self, slot: &Slot, now: u64) -> Result<(), VaultError> {
        let (name, record) = slot.with_grant(|grant| (grant.key.record(), record::of_grant(grant)));
        let written = self.write(name, record).await;
        // Not under its lock: others look at grants under that of the entries.
        let (key, account) = slot.with_grant(|grant| (grant.key.clone(), grant.account.clone()));
        self.note_written(&key, &account, &written, now);
        written
    }

    fn note_written(
        &self,
        key: &GrantKey,
        account: &Account,
        written: &Result<(), VaultError>,
        now: u64,
    ) {
        match written {
            Ok(()) => self.is_saved(key),
            Err(error) => {
                if self.entries().unsaved.insert(key, account, error, now) {
                    self.unsaved_changed.send_replace(());
                }
            }
        }
    }

    /// Tries again to write what could not be written.
    pub(crate) async fn save_unsaved(&self) {
        let keys = self.entries().unsaved.keys();
        for key in keys {
            let Some(slot) = self.slot(&key) else {
                self.is_saved(&key);
                continue;
            };
            let _flight = slot.flight.lock().await;
            // Its account may have signed out meanwhile.
            if !self.has(&slot) {
                continue;
            }
            let since = slot.with_grant(|grant| grant.tokens.obtained_at);
            match self.save(&slot, since).await {
                Ok(()) => tracing::info!(issuer = %key.issuer, "the renewed sign-in is stored now"),
                Err(error) => tracing::debug!(%error, "the renewed sign-in is still not stored"),
            }
        }
    }

    /// Returns what could not be written so far, or `None` if everything is.
    pub(crate) fn unsaved(&self) -> Option<Unsaved> {
        self.entries().unsaved.view()
    }

    /// News of [`unsaved`](Self::unsaved).
    pub(crate) fn unsaved_changes(&self) -> watch::Receiver<()> {
        self.unsaved_changed.subscribe()
    }

    fn is_saved(&self, key: &GrantKey) {
        if self.entries().unsaved.remove(key) {
            self.unsaved_changed.send_replace(());
        }
    }

    /// Forgets the grant in `slot`, once nobody renews it.
    pub(crate) async fn forget(&self, slot: &Arc<Slot>) -> Result<(), VaultError> {
        let _changing = self.changing.lock().await;
        self.drop_slot(slot).await
    }

    pub(crate) fn registration(&self, issuer: &Issuer) -> Option<Registration> {
        let entries = self.entries();
        let mut registrations = entries.registrations.iter();
        registrations.find(|known| known.issuer == *issuer).cloned()
    }

    pub(crate) async fn keep_registration(&self, new: Registration) -> Result<(), VaultError> {
        let name = Registration::record(&new.issuer);
        self.write(name, record::of_registration(&new)).await?;
        let mut entries = self.entries();
        entries
            .registrations
            .retain(|known| known.issuer != new.issuer);
        entries.registrations.push(new);
        Ok(())
    }

    /// Forgets the registration if it is still that of `client_id`.
    pub(crate) async fn forget_registration(
        &self,
        issuer: &Issuer,
        client_id: &str,
    ) -> Result<(), VaultError> {
        let is_it = |known: &Registration| known.issuer == *issuer && known.client.id == client_id;
        if !self.entries().registrations.iter().any(is_it) {
            return Ok(());
        }
        self.entries().registrations.retain(|known| !is_it(known));
        let name = Registration::record(issuer);
        self.in_vault(move |vault| vault.remove(&name)).await
    }

    pub(crate) fn secret(&self, name: &SecretName) -> Option<StoredSecret> {
        self.entries().secrets.get(name).cloned()
    }

    /// The names of all secrets.
    pub(crate) fn secrets(&self) -> Vec<SecretName> {
        self.entries().secrets.keys().cloned().collect()
    }

    /// Keeps a secret, in place of one of the same name.
    pub(crate) async fn keep_secret(
        &self,
        name: SecretName,
        secret: StoredSecret,
    ) -> Result<(), VaultError> {
        let _changing = self.changing.lock().await;
        self.write(secret_record(&name), record::of_secret(&name, &secret))
            .await?;
        self.entries().secrets.insert(name, secret);
        Ok(())
    }

    /// Forgets a secret; says whether there was one.
    pub(crate) async fn forget_secret(&self, name: &SecretName) -> Result<bool, VaultError> {
        let _changing = self.changing.lock().await;
        let record = secret_record(name);
        self.in_vault(move |vault| vault.remove(&record)).await?;
        Ok(self.entries().secrets.remove(name).is_some())
    }

    /// Returns what was approved under `key`.
    pub(crate) fn pin(&self, key: &PinKey) -> Option<Pin> {
        self.entries().pins.get(key).cloned()
    }

    /// Returns everything that was approved for the server at `url`.
    pub(crate) fn pins_of(&self, url: &str) -> Vec<Pin> {
        let entries = self.entries();
        let pins = entries.pins.values().filter(|pin| pin.key.server == url);
        pins.cloned().collect()
    }

    /// Changes what was approved under `key`, and keeps it. Returns whether that changed anything.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if it cannot be kept. Nothing is approved then.
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
        self.write(key.record(), record::of_pin(&pin)).await?;
        self.entries().pins.insert(key.clone(), pin);
        Ok(true)
    }

    /// Forgets everything that was approved for the server at `url`.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if a record stays.
    pub(crate) async fn forget_pins(&self, url: &str) -> Result<(), VaultError> {
        let _changing = self.changing.lock().await;
        for pin in self.pins_of(url) {
            self.entries().pins.remove(&pin.key);
            let name = pin.key.record();
            self.in_vault(move |vault| vault.remove(&name)).await?;
        }
        Ok(())
    }

    fn slot(&self, key: &GrantKey) -> Option<Arc<Slot>> {
        let entries = self.entries();
        let has_key = |slot: &&Arc<Slot>| slot.with_grant(|grant| grant.key == *key);
        entries.slots.iter().find(has_key).cloned()
    }

    async fn cede(
        &self,
        slot: &Arc<Slot>,
        targets: &BTreeSet<String>,
        now: u64,
    ) -> Result<(), VaultError> {
        let left = slot.with_grant(|grant| &grant.targets - targets);
        if left.is_empty() {
            return self.drop_slot(slot).await;
        }
        let _flight = slot.flight.lock().await;
        {
            let mut entries = self.entries();
            slot.set_targets(left);
            entries.index();
        }
        self.save(slot, now).await
    }

    async fn drop_slot(&self, slot: &Arc<Slot>) -> Result<(), VaultError> {
        let _flight = slot.flight.lock().await;
        {
            let mut entries = self.entries();
            slot.leave();
            entries.slots.retain(|other| !Arc::ptr_eq(other, slot));
            entries.index();
        }
        let key = slot.with_grant(|grant| grant.key.clone());
        self.is_saved(&key);
        let name = key.record();
        self.in_vault(move |vault| vault.remove(&name)).await
    }

    /// A record just written is damaged no more.
    fn mend(&self, key: &GrantKey) {
        let file = key.record().file_name();
        self.entries().damaged.retain(|path| !path.ends_with(&file));
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

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn secret_record(name: &SecretName) -> RecordName {
    RecordName::new(RecordKind::Secret, &[name.as_str()])
}

impl Entries {
    /// Puts a grant into its slot, or into a new one.
    fn put(&mut self, slot: Option<&Arc<Slot>>, grant: Grant) {
        match slot {
            Some(slot) => slot.replace(grant),
            None => self.slots.push(Arc::new(Slot::new(grant))),
        }
        self.index();
    }

    /// Finds the grant of each target. Of several that open one, the first counts: those after it are
    /// about to give it up.
    fn index(&mut self) {
        let mut by_target = HashMap::new();
        for slot in &self.slots {
            let targets = slot.with_grant(|grant| grant.targets.clone());
            for target in targets {
                by_target.entry(target).or_insert_with(|| Arc::clone(slot));
            }
        }
        self.by_target = by_target;
    }

    /// Takes what the vault holds; says which grants lie there under another name than theirs.
    fn take(&mut self, contents: Contents) -> Vec<(RecordName, GrantKey)> {
        let mut strays = Vec::new();
        self.damaged = contents.damaged;
        for (name, plain) in contents.records {
            let read = match name.kind {
                RecordKind::Grant => record::to_grant(&plain).map(|grant| {
                    if grant.key.record() != name {
                        strays.push((name.clone(), grant.key.clone()));
                    }
                    self.slots.push(Arc::new(Slot::new(grant)));
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
        // A crash between two writes leaves two grants for one target: the newer one counts.
        let obtained = |slot: &Arc<Slot>| slot.with_grant(|grant| grant.tokens.obtained_at);
        self.slots.sort_by_key(|slot| Reverse(obtained(slot)));
        // The same goes for one grant under two names.
        let mut seen = HashSet::new();
        self.slots
            .retain(|slot| seen.insert(slot.with_grant(|grant| grant.key.clone())));
        self.index();
        for path in &self.damaged {
            tracing::warn!(path = %path.display(), "a record of the vault is damaged");
        }
        strays
    }
}
