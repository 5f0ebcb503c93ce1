//! The scopes of an authorization request to Entra, which carry the resource, and the approval
//! that the user must give first.
//!
//! Does not own: which resources a server may use (`audience`).
//!
//! Invariants:
//! - `resource` (RFC 8707) is never sent. Entra accepts it only if it is exactly one of the
//!   application's URIs, and then the scopes say the same.
//! - Every scope from a challenge, from metadata or from a previous sign-in belongs to an allowed
//!   resource.

use model::{Issuer, Resource};

use super::prior_state::PriorState;
use super::scopes::{Sources, wanted};
use crate::approval::{Approval, Pin, PinKey};
use crate::audience::{AllowedResources, CandidateError, ConfiguredServer, candidate};
use crate::discovery::{Challenge, ProtectedResource, covers};
use crate::entra;
use crate::error::SignInError;

/// The scopes and the approval of one authorization request.
pub(super) struct EntraRequest {
    pub(super) resource: Resource,
    /// The scopes with their resource, and those for a refresh token and the user's name.
    pub(super) scopes: Vec<String>,
    /// Scopes of other resources, which the server named and which are not requested.
    pub(super) foreign: Vec<String>,
    /// What the user must approve before the authorization request.
    pub(super) approval: Option<Approval>,
}

/// One server at one issuer, for one client.
pub(super) struct EntraServer<'a> {
    pub(super) prior: &'a PriorState<'a>,
    pub(super) issuer: &'a Issuer,
    /// `None` if no client is known.
    pub(super) client_id: Option<&'a str>,
    pub(super) scopes: &'a [String],
    pub(super) challenge: &'a Challenge,
}

/// Who chose a resource.
enum NamedBy {
    /// The user, in the configuration or by an approval.
    User,
    /// The server, instead of the resource that the user approved before.
    Server { previous: Option<Resource> },
}

impl EntraServer<'_> {
    /// Returns the request for a resource that the configuration names.
    pub(super) fn configured(&self, resource: &Resource) -> EntraRequest {
        let allowed = AllowedResources::configured(self.prior.target.auth());
        let approval = self.approval(resource, NamedBy::User);
        self.request(resource.clone(), &[], &allowed, approval)
    }

    /// Returns the request for a discovered server. Its resource is that of the configured scopes,
    /// else the one that the user approved or must approve.
    ///
    /// # Errors
    ///
    /// `ForeignResource`, if the user must not be asked for the resource.
    pub(super) fn discovered(
        &self,
        described: &ProtectedResource,
    ) -> Result<EntraRequest, SignInError> {
        let mut allowed = AllowedResources::configured(self.prior.target.auth());
        if let Some(resource) = allowed.first().cloned() {
            let approval = self.approval(&resource, NamedBy::User);
            return Ok(self.request(resource, &described.scopes, &allowed, approval));
        }
        let others = self.prior.source.servers.others(self.prior.target);
        let uses = |server: &ConfiguredServer, resource: &str| {
            // A resource that covers both URLs is confirmed at its own location.
            self.prior.source.uses(server, resource)
                && !covers(resource, self.prior.target.url().url())
        };
        let approved = self.pin().and_then(|pin| pin.resource);
        let resource = candidate(described, &others, uses, approved.as_ref());
        let resource = resource.map_err(|error| self.refused(&error))?;
        let named_by = match approved {
            Some(approved) if approved == resource => NamedBy::User,
            previous => NamedBy::Server { previous },
        };
        let approval = self.approval(&resource, named_by);
        allowed.add(resource.clone());
        Ok(self.request(resource, &described.scopes, &allowed, approval))
    }

    /// Returns the request, without the scopes of other resources.
    fn request(
        &self,
        resource: Resource,
        listed: &[String],
        allowed: &AllowedResources,
        approval: Option<Approval>,
    ) -> EntraRequest {
        let granted = self.prior.granted_scopes(self.issuer);
        let named = [&*self.challenge.scopes, listed, granted].map(|scopes| allowed.sort(scopes));
        let [challenged, mut listed, granted] = named;
        // Some metadata names scopes of Microsoft Graph besides its own, without the resource.
        if listed.allowed.iter().any(|scope| scope.contains('/')) {
            listed.allowed.retain(|scope| scope.contains('/'));
        }
        let asked = wanted(&Sources {
            configured: self.scopes,
            challenged: &challenged.allowed,
            listed: &listed.allowed,
            granted: &granted.allowed,
            is_step_up: self.challenge.is_insufficient_scope(),
        });
        let mut foreign = challenged.foreign;
        foreign.extend(listed.foreign);
        foreign.sort();
        foreign.dedup();
        EntraRequest {
            scopes: entra::with_sign_in_scopes(&asked, &resource),
            resource,
            foreign,
            approval,
        }
    }

    /// Returns what the user must approve: a resource that the server names, or another audience.
    /// Returns `None` if there is nothing to approve, or no client to approve it for.
    fn approval(&self, resource: &Resource, named_by: NamedBy) -> Option<Approval> {
        let source = self.prior.source;
        let audience = source.changed_audience(self.prior.target);
        let (pins_resource, previous) = match named_by {
            NamedBy::User if audience.is_none() => return None,
            NamedBy::User => (false, None),
            NamedBy::Server { previous } => (true, previous),
        };
        Some(Approval {
            server: source.servers.name_of(self.prior.target),
            issuer: self.issuer.clone(),
            resource: resource.clone(),
            pins_resource,
            previous,
            audience,
            key: self.key()?,
        })
    }

    fn key(&self) -> Option<PinKey> {
        Some(PinKey::new(self.prior.target, self.issuer, self.client_id?))
    }

    fn pin(&self) -> Option<Pin> {
        self.prior.source.store.pin(&self.key()?)
    }

    fn refused(&self, error: &CandidateError) -> SignInError {
        let (resource, issuer) = (error.resource(), self.issuer);
        let client = self.client_id.unwrap_or("…");
        let entry = match self.prior.has_client_secret() {
            true => format!("`scopes = [\"{resource}/.default\"]` in its `auth`"),
            false => format!(
                "`auth = {{ kind = \"entra\", authority = \"{issuer}\", client_id = \"{client}\", resource = \"{resource}\" }}`"
            ),
        };
        SignInError::ForeignResource {
            server: self.prior.server(),
            reason: error.to_string(),
            entry,
        }
    }
}
