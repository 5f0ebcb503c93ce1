//! The approval of a resource: what the user is asked before a server gets tokens for it, and what
//! the user approved.

use model::{Issuer, Resource};

use crate::target::Target;
use crate::vault::{RecordKind, RecordName};

/// A question to the user: may this server have tokens for this resource?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The name of the server.
    pub server: String,
    /// The authorization server that issues the tokens.
    pub issuer: Issuer,
    /// The resource that the tokens are for.
    pub resource: Resource,
    /// The resource that was approved before, if the server asks for another one now.
    pub previous: Option<Resource>,
    /// The audience of the tokens, if it changed or is that of another server.
    pub audience: Option<AudienceChange>,
    pub(crate) key: PinKey,
    /// True if the server names the resource, and not the configuration.
    pub(crate) pins_resource: bool,
}

/// An audience (`aud`) that the user must approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudienceChange {
    /// The audience that was approved before, if there was one.
    pub previous: Option<String>,
    /// The audience of the latest token.
    pub current: String,
    /// Another server whose tokens have this audience.
    pub other_server: Option<String>,
}

/// Identifies an approval: the server's URL, the issuer and the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PinKey {
    pub(crate) server: String,
    pub(crate) issuer: Issuer,
    pub(crate) client_id: String,
}

/// What the user approved for one server. Stored in the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) key: PinKey,
    /// The approved resource, or `None` if the configuration names it.
    pub(crate) resource: Option<Resource>,
    /// The audience of the tokens that the server may have.
    pub(crate) audience: Option<PinnedAudience>,
}

/// The audience of the first token that a server accepted, or the one that the user approved
/// later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PinnedAudience {
    pub(crate) audience: String,
    /// The resource of the token. Another resource has another audience.
    pub(crate) resource: Resource,
}

impl PinKey {
    pub(crate) fn new(target: &Target, issuer: &Issuer, client_id: &str) -> Self {
        Self {
            server: target.url().as_str().to_owned(),
            issuer: issuer.clone(),
            client_id: client_id.to_owned(),
        }
    }

    /// Returns the name of its record in the vault.
    pub(crate) fn record(&self) -> RecordName {
        let parts = [&*self.server, self.issuer.as_str(), &*self.client_id];
        RecordName::new(RecordKind::Approval, &parts)
    }
}

impl Pin {
    pub(crate) fn new(key: PinKey) -> Self {
        Self {
            key,
            resource: None,
            audience: None,
        }
    }

    /// Records what the user approved. Another resource resets the audience.
    pub(crate) fn approve(&mut self, approval: &Approval) {
        if approval.pins_resource && self.resource.as_ref() != Some(&approval.resource) {
            self.resource = Some(approval.resource.clone());
            self.audience = None;
        }
        if let Some(change) = &approval.audience {
            self.audience = Some(PinnedAudience {
                audience: change.current.clone(),
                resource: approval.resource.clone(),
            });
        }
    }
}
