//! Checks which access tokens may go to which server, if the authorization server grants by scope
//! alone. This is a second line of defence behind the requested scopes.
//!
//! Owns: comparing the audience (`aud`) of a token with the server's resources, and pinning the
//! first audience that the server accepted.
//! Does not own: which resources these are (`audience`).
//!
//! A token that cannot be read passes: access tokens are opaque to clients.

use ::http::HeaderValue;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::grant::Grant;
use super::grant_error::GrantError;
use super::source::Source;
use super::verdicts::Verdict;
use crate::approval::{AudienceChange, PinKey, PinnedAudience};
use crate::audience::{
    AllowedResources, ConfiguredServer, UNNAMED, is_same_resource, microsoft_resource,
};
use crate::discovery::covers;
use crate::entra;
use crate::error::SignInReason;
use crate::target::{Authorization, Target};

/// The facts of a grant that decide about its tokens. It is a copy, so no lock of the grant is
/// held during calls to the grant store, which takes its own lock first.
struct GrantFacts {
    key: PinKey,
    asked: Vec<String>,
    is_by_scope_alone: bool,
}

impl GrantFacts {
    fn new(grant: &Grant, target: &Target) -> Self {
        Self {
            key: PinKey::new(target, &grant.key.issuer, &grant.key.client_id),
            asked: grant.asked.clone(),
            is_by_scope_alone: grant.is_by_scope_alone(),
        }
    }
}

impl Source {
    /// Returns the authorization, if its token may go to `target`.
    pub(crate) fn checked(
        &self,
        target: &Target,
        authorization: Authorization,
    ) -> Result<Authorization, GrantError> {
        match self.verdict_on(target, &authorization)? {
            Verdict::Passes => Ok(authorization),
            Verdict::NotApproved => Err(GrantError::SignInNeeded(SignInReason::NotApproved, None)),
            Verdict::Microsoft { audience, owner } => {
                Err(GrantError::ForeignAudience { audience, owner })
            }
            Verdict::Changed(_) => Err(GrantError::SignInNeeded(
                SignInReason::AudienceChanged,
                None,
            )),
        }
    }

    /// Returns the audience that the user must approve before tokens go to `target`.
    pub(crate) fn changed_audience(&self, target: &Target) -> Option<AudienceChange> {
        let entry = self.store.grant_for(target.key())?;
        let (facts, audience) = entry.with_grant(|grant| {
            let audience = audience_of(grant.tokens.access.expose());
            (GrantFacts::new(grant, target), audience)
        });
        match self.verdict(target, &facts, audience) {
            Verdict::Changed(change) => Some(change),
            Verdict::Passes | Verdict::NotApproved | Verdict::Microsoft { .. } => None,
        }
    }

    /// Pins the audience of the first token that `target` accepted.
    pub(crate) fn accepted(&self, target: &Target, used: &Authorization) {
        if !self.verdicts.accept(target.url().as_str(), used.serial) {
            return;
        }
        let Some(facts) = self.facts(target).filter(|facts| facts.is_by_scope_alone) else {
            return;
        };
        let resource = self.allowed(target, &facts).first().cloned();
        let (Some(audience), Some(resource)) = (audience_of_header(&used.header), resource) else {
            return;
        };
        let source = self.clone();
        let pinning = async move {
            let pinned = source.store.change_pin(&facts.key, |pin| {
                let is_of_it = |pinned: &PinnedAudience| pinned.resource == resource;
                if !pin.audience.as_ref().is_some_and(is_of_it) {
                    pin.audience = Some(PinnedAudience { audience, resource });
                }
            });
            match pinned.await {
                Ok(true) => source.servers.bump(),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the audience of the tokens is not pinned"),
            }
        };
        // The message that was accepted does not wait for the disk.
        drop(self.token_requests.spawn(pinning));
    }

    /// Returns those of `named` that a sign-in to `target` would request and the last one did not.
    /// At Entra, each with its resource. Records the others as foreign.
    pub(crate) fn missing_scopes(&self, target: &Target, named: &[String]) -> Vec<String> {
        let facts = self.facts(target);
        let is_by_scope_alone = facts.as_ref().is_some_and(|facts| facts.is_by_scope_alone);
        let asked = facts.as_ref().map_or(&[][..], |facts| &facts.asked);
        if !is_by_scope_alone && target.auth().authority().is_none() {
            let is_new = |scope: &&String| !asked.contains(scope);
            return named.iter().filter(is_new).cloned().collect();
        }
        let allowed = match &facts {
            Some(facts) => self.allowed(target, facts),
            None => AllowedResources::configured(target.auth()),
        };
        let sorted = allowed.sort(named);
        self.foreign_scopes.record(target, &sorted.foreign);
        match allowed.first() {
            Some(resource) => entra::missing(&sorted.allowed, asked, resource),
            None => Vec::new(),
        }
    }

    fn facts(&self, target: &Target) -> Option<GrantFacts> {
        let entry = self.store.grant_for(target.key())?;
        Some(entry.with_grant(|grant| GrantFacts::new(grant, target)))
    }

    /// Returns the resources of the configuration, and the one that the user approved.
    fn allowed(&self, target: &Target, facts: &GrantFacts) -> AllowedResources {
        let mut allowed = AllowedResources::configured(target.auth());
        let approved = self.store.pin(&facts.key).and_then(|pin| pin.resource);
        approved.into_iter().for_each(|one| allowed.add(one));
        allowed
    }

    /// Returns the verdict on the token that is about to be sent.
    ///
    /// # Errors
    ///
    /// `NotSignedIn`, if its grant was removed meanwhile.
    fn verdict_on(
        &self,
        target: &Target,
        authorization: &Authorization,
    ) -> Result<Verdict, GrantError> {
        let (url, serial) = (target.url().as_str(), authorization.serial);
        let generation = self.servers.generation();
        if let Some(known) = self.verdicts.known(url, serial, generation) {
            return Ok(known);
        }
        let facts = self.facts(target);
        let facts = facts.ok_or(GrantError::SignInNeeded(SignInReason::NotSignedIn, None))?;
        let audience = audience_of_header(&authorization.header);
        let verdict = self.verdict(target, &facts, audience);
        self.verdicts
            .record(url, serial, generation, verdict.clone());
        Ok(verdict)
    }

    fn verdict(&self, target: &Target, facts: &GrantFacts, audience: Option<String>) -> Verdict {
        if !facts.is_by_scope_alone {
            return Verdict::Passes;
        }
        let allowed = self.allowed(target, facts);
        if !allowed.sort(&facts.asked).foreign.is_empty() {
            return Verdict::NotApproved;
        }
        let Some(audience) = audience else {
            return Verdict::Passes;
        };
        let pinned = self.store.pin(&facts.key).and_then(|pin| pin.audience);
        // A resource that was removed from the configuration no longer counts.
        let pinned = pinned.filter(|pinned| allowed.iter().any(|own| *own == pinned.resource));
        self.judge(
            target,
            &allowed,
            audience,
            pinned.map(|pinned| pinned.audience),
        )
    }

    fn judge(
        &self,
        target: &Target,
        allowed: &AllowedResources,
        audience: String,
        pinned: Option<String>,
    ) -> Verdict {
        if let Some(owner) = microsoft_resource(&audience)
            && !is_meant(allowed, owner)
        {
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

    /// Returns true if a server uses a resource: one that it may have tokens for, or a prefix of
    /// its URL (RFC 9728 §1.2), which Entra accepts as an App ID URI too.
    pub(crate) fn uses(&self, server: &ConfiguredServer, resource: &str) -> bool {
        let resources = self.resources_of(server);
        let mut resources = resources.iter();
        resources.any(|own| is_same_resource(own, resource))
            || covers(resource, server.target.url().url())
    }

    /// Returns the resources that a server may have tokens for: configured and approved.
    fn resources_of(&self, server: &ConfiguredServer) -> Vec<String> {
        let configured = server.resources();
        let mut resources: Vec<_> = configured.iter().map(ToString::to_string).collect();
        let pins = self.store.pins_of(server.target.url().as_str());
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
        let pins = self.store.pins_of(server.target.url().as_str());
        let pinned = pins.iter().filter_map(|pin| pin.audience.as_ref());
        let pinned = pinned.map(|pinned| &*pinned.audience);
        let own = resources.iter().map(String::as_str);
        own.chain(pinned)
            .any(|known| is_same_resource(known, audience))
    }
}

/// Returns true if the configuration names this API of Microsoft's, or one whose name is unknown.
fn is_meant(allowed: &AllowedResources, owner: &str) -> bool {
    let own = allowed.iter();
    let mut own = own.filter_map(|own| microsoft_resource(own.as_str()));
    own.any(|own| own == owner || [own, owner].contains(&UNNAMED))
}

/// Returns the audience of the token in an `Authorization` header.
fn audience_of_header(header: &HeaderValue) -> Option<String> {
    audience_of(header.to_str().ok()?.strip_prefix("Bearer ")?)
}

/// Returns the `aud` of a JWT (RFC 7519 §4.1.3). Returns `None` if the token cannot be read. Does
/// not verify the signature: this is about what the receiving server could do with the token.
fn audience_of(token: &str) -> Option<String> {
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
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    match serde_json::from_slice::<Claims>(&payload).ok()?.aud {
        Audience::One(one) => Some(one),
        // The most powerful audience decides.
        Audience::Many(many) => {
            let microsofts = many.iter().find(|one| microsoft_resource(one).is_some());
            microsofts.or(many.first()).cloned()
        }
    }
}
