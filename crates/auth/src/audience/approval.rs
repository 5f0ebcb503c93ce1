//! What the user is asked before a server gets tokens for a resource, and what was approved.

use model::{Issuer, Resource};

use crate::identity::Target;
use crate::vault::{RecordKind, RecordName};

/// A question to the user: may this server have tokens for this resource?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The server, as its user knows it.
    pub server: String,
    /// The authorization server that issues the tokens.
    pub issuer: Issuer,
    /// The resource that the tokens are for.
    pub resource: Resource,
    /// The resource that was approved before, if the server asks for another one now.
    pub previous: Option<Resource>,
    /// Whether the audience of the tokens has changed, or is that of another server.
    pub audience: Option<AudienceChange>,
    pub(crate) key: PinKey,
    /// Whether the resource comes from the server, and not from the configuration.
    pub(crate) pins_resource: bool,
}

/// An audience (`aud`) that the user has to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudienceChange {
    /// The audience that was approved before, if there was one.
    pub previous: Option<String>,
    /// The audience of the latest token.
    pub current: String,
    /// Another server whose tokens have this audience.
    pub other_server: Option<String>,
}

/// What was approved is known by: the server's address, the issuer and the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PinKey {
    pub(crate) server: String,
    pub(crate) issuer: Issuer,
    pub(crate) client_id: String,
}

/// What was approved for one server, kept in the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) key: PinKey,
    /// The resource that the user approved. `None` where the configuration names it.
    pub(crate) resource: Option<Resource>,
    /// The audience of the tokens that the server may have.
    pub(crate) audience: Option<PinnedAudience>,
}

/// The audience of the first token that a server accepted, or of the one that the user approved
/// since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PinnedAudience {
    pub(crate) audience: String,
    /// The resource that the token was asked for. Another one has another audience.
    pub(crate) resource: Resource,
}

impl PinKey {
    pub(crate) fn new(target: &Target, issuer: &Issuer, client_id: &str) -> Self {
        Self {
            server: target.url.as_str().to_owned(),
            issuer: issuer.clone(),
            client_id: client_id.to_owned(),
        }
    }

    /// Returns where the pin lies in the vault.
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

    /// Takes what the user approved. Another resource has another audience.
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
