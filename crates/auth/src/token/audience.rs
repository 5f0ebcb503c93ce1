//! Which access tokens may go to which server, where the authorization server grants by scope
//! alone. This is a second line of defence behind the scopes that are asked for.
//!
//! Owns: comparing the audience (`aud`) of a token with what the server may have, and pinning the
//! first audience that the server accepted. Does not own: which resources these are (`audience`).
//!
//! A token that cannot be read passes: access tokens are opaque to clients.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::grant::Grant;
use super::slot::Failure;
use super::source::Source;
use crate::audience::{
    AllowedResources, AudienceChange, ConfiguredServer, PinKey, is_same_resource,
    microsoft_resource,
};
use crate::dialect;
use crate::error::SignInReason;
use crate::identity::{Authorization, Target};
use crate::secret::AccessToken;

/// The latest verdict for each server, by its address.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(Mutex<HashMap<String, Checked>>);

#[derive(Debug)]
struct Checked {
    serial: u64,
    generation: u64,
    verdict: Verdict,
    /// Whether the server has accepted the token.
    is_accepted: bool,
}

/// Whether a token may go to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Passes,
    /// The grant has scopes of a resource that the server may not use.
    NotApproved,
    /// The audience is Microsoft's own.
    Microsoft {
        audience: String,
        owner: &'static str,
    },
    /// The user has to approve the audience.
    Changed(AudienceChange),
}

impl Verdicts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Checked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, url: &str, serial: u64, generation: u64) -> Option<Verdict> {
        let known = self.lock();
        let known = known.get(url)?;
        let is_current = known.serial == serial && known.generation == generation;
        is_current.then(|| known.verdict.clone())
    }

    fn record(&self, url: &str, serial: u64, generation: u64, verdict: Verdict) {
        let mut known = self.lock();
        let is_accepted = known
            .get(url)
            .is_some_and(|before| before.serial == serial && before.is_accepted);
        let checked = Checked {
            serial,
            generation,
            verdict,
            is_accepted,
        };
        known.insert(url.to_owned(), checked);
    }

    /// Returns whether this is the first acceptance of the token.
    fn accept(&self, url: &str, serial: u64) -> bool {
        let mut known = self.lock();
        let checked = known.get_mut(url).filter(|known| known.serial == serial);
        checked.is_some_and(|known| !std::mem::replace(&mut known.is_accepted, true))
    }
}

impl Source {
    /// Returns the authorization, if its token may go to `target`.
    pub(super) fn checked(
        &self,
        target: &Target,
        authorization: Authorization,
    ) -> Result<Authorization, Failure> {
        let (url, serial) = (target.url.as_str(), authorization.serial);
        let generation = self.servers.generation();
        let verdict = match self.verdicts.known(url, serial, generation) {
            Some(verdict) => verdict,
            None => {
                let verdict = self.verdict(target);
                self.verdicts
                    .record(url, serial, generation, verdict.clone());
                verdict
            }
        };
        match verdict {
            Verdict::Passes => Ok(authorization),
            Verdict::NotApproved => Err(Failure::SignInNeeded(SignInReason::NotApproved, None)),
            Verdict::Microsoft { audience, owner } => {
                Err(Failure::ForeignAudience { audience, owner })
            }
            Verdict::Changed(_) => Err(Failure::SignInNeeded(SignInReason::AudienceChanged, None)),
        }
    }

    /// Returns the audience that the user has to approve before tokens go to `target`.
    pub(crate) fn changed_audience(&self, target: &Target) -> Option<AudienceChange> {
        match self.verdict(target) {
            Verdict::Changed(change) => Some(change),
            Verdict::Passes | Verdict::NotApproved | Verdict::Microsoft { .. } => None,
        }
    }

    /// Pins the audience of the first token that `target` accepted.
    pub(crate) fn accepted(&self, target: &Target, used: &Authorization) {
        if !self.verdicts.accept(target.url.as_str(), used.serial) {
            return;
        }
        let slot = self.ledger.grant_for(&target.name());
        let Some(grant) = slot.map(|slot| slot.grant()) else {
            return;
        };
        let Some(audience) = audience(&grant) else {
            return;
        };
        let (source, key) = (self.clone(), grant.pin_key(target));
        let pinning = async move {
            let pinned = source.ledger.change_pin(&key, |pin| {
                pin.audience.get_or_insert(audience);
            });
            match pinned.await {
                Ok(true) => source.servers.bump(),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the audience of the tokens is not pinned"),
            }
        };
        // The vault waits for the disk, and the message that was accepted does not.
        drop(self.renewals.spawn(pinning));
    }

    /// Returns those of `named` that a sign-in to `target` would ask for and the last one did not,
    /// with their resource at Entra. Records the others as foreign.
    pub(crate) fn missing_scopes(&self, target: &Target, named: &[String]) -> Vec<String> {
        let slot = self.ledger.grant_for(&target.name());
        let (asked, is_by_scope, key) = match &slot {
            None => (Vec::new(), false, None),
            Some(slot) => slot.with_grant(|grant| {
                let key = grant.pin_key(target);
                (grant.asked.clone(), grant.is_by_scope_alone(), Some(key))
            }),
        };
        if !is_by_scope && target.auth.authority().is_none() {
            let is_new = |scope: &&String| !asked.contains(scope);
            return named.iter().filter(is_new).cloned().collect();
        }
        let mut allowed = AllowedResources::configured(&target.auth);
        let pin = key.and_then(|key| self.ledger.pin(&key));
        let approved = pin.and_then(|pin| pin.resource);
        approved.into_iter().for_each(|one| allowed.add(one));
        let sorted = allowed.sort(named);
        self.foreign_scopes.record(target, &sorted.foreign);
        match allowed.first() {
            Some(resource) => dialect::missing(&sorted.allowed, &asked, resource),
            None => Vec::new(),
        }
    }

    fn verdict(&self, target: &Target) -> Verdict {
        let Some(slot) = self.ledger.grant_for(&target.name()) else {
            return Verdict::Passes;
        };
        slot.with_grant(|grant| {
            if !grant.is_by_scope_alone() {
                return Verdict::Passes;
            }
            let pin = self.ledger.pin(&grant.pin_key(target));
            let mut allowed = AllowedResources::configured(&target.auth);
            let approved = pin.as_ref().and_then(|pin| pin.resource.clone());
            approved.into_iter().for_each(|one| allowed.add(one));
            if !allowed.sort(&grant.asked).foreign.is_empty() {
                return Verdict::NotApproved;
            }
            let Some(audience) = audience(grant) else {
                return Verdict::Passes;
            };
            let pinned = pin.and_then(|pin| pin.audience);
            self.judge(target, &allowed, audience, pinned)
        })
    }

    fn judge(
        &self,
        target: &Target,
        allowed: &AllowedResources,
        audience: String,
        pinned: Option<String>,
    ) -> Verdict {
        let is_microsofts = |resource: &str| microsoft_resource(resource);
        let is_for_microsoft = allowed
            .iter()
            .any(|own| is_microsofts(own.as_str()).is_some());
        if let Some(owner) = is_microsofts(&audience).filter(|_| !is_for_microsoft) {
            return Verdict::Microsoft { audience, owner };
        }
        if pinned.as_ref() == Some(&audience) {
            return Verdict::Passes;
        }
        let is_own = |resource: &str| {
            let mut own = allowed.iter();
            own.any(|own| is_same_resource(own.as_str(), resource))
        };
        let others = self.servers.others(target);
        let other = others
            .into_iter()
            .filter(|_| !is_own(&audience))
            .find(|other| {
                let resources = self.resources_of(other);
                let is_shared = resources.iter().any(|resource| is_own(resource));
                !is_shared && self.is_audience_of(other, &resources, &audience)
            });
        if pinned.is_none() && other.is_none() {
            return Verdict::Passes;
        }
        Verdict::Changed(AudienceChange {
            previous: pinned,
            current: audience,
            other_server: other.map(|other| other.name),
        })
    }

    /// Returns the resources that a server may use: configured and approved.
    pub(crate) fn resources_of(&self, server: &ConfiguredServer) -> Vec<String> {
        let configured = server.resources();
        let mut resources: Vec<_> = configured.iter().map(ToString::to_string).collect();
        let pins = self.ledger.pins_of(server.target.url.as_str());
        resources.extend(
            pins.into_iter()
                .filter_map(|pin| Some(pin.resource?.to_string())),
        );
        resources
    }

    fn is_audience_of(
        &self,
        server: &ConfiguredServer,
        resources: &[String],
        audience: &str,
    ) -> bool {
        let pins = self.ledger.pins_of(server.target.url.as_str());
        let pinned = pins.iter().filter_map(|pin| pin.audience.as_deref());
        let own = resources.iter().map(String::as_str);
        own.chain(pinned)
            .any(|known| is_same_resource(known, audience))
    }
}

impl Grant {
    /// Returns what the approvals for `target` are known by.
    fn pin_key(&self, target: &Target) -> PinKey {
        PinKey {
            server: target.url.as_str().to_owned(),
            issuer: self.key.issuer.clone(),
            client_id: self.key.client_id.clone(),
        }
    }
}

/// Returns the audience of the access token of a grant by scope alone, if it can be read.
fn audience(grant: &Grant) -> Option<String> {
    grant
        .is_by_scope_alone()
        .then(|| audience_of(&grant.tokens.access))
        .flatten()
}

/// Returns the `aud` of a JWT (RFC 7519 §4.1.3). The signature is not checked: this is about what
/// the server that gets the token could do with it.
fn audience_of(token: &AccessToken) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        aud: Audience,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    let payload = token.expose().split('.').nth(1)?;
    let payload = BASE64_URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .ok()?;
    match serde_json::from_slice::<Claims>(&payload).ok()?.aud {
        Audience::One(one) => Some(one),
        // The one that opens most decides.
        Audience::Many(many) => {
            let microsofts = many.iter().find(|one| microsoft_resource(one).is_some());
            microsofts.or(many.first()).cloned()
        }
    }
}
