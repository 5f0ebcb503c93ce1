//! What every endpoint works with.

use model::Clock;
use uuid::Uuid;

use crate::code::Codes;
use crate::fault::Fault;
use crate::keys::Keys;
use crate::tenant::{App, Tenant};

/// The running emulator.
pub(crate) struct Entra {
    /// Where it is reached, without a slash at the end.
    pub(crate) base: String,
    pub(crate) tenant: Tenant,
    pub(crate) clock: Clock,
    pub(crate) keys: Keys,
    pub(crate) codes: Codes,
}

/// The first segment of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    /// The tenant, by its id or one of its domains.
    Tenant,
    /// `common` or `organizations`: any tenant.
    Any(&'static str),
}

impl Entra {
    pub(crate) fn authority(&self, segment: &str) -> Result<Authority, Fault> {
        match segment {
            "common" => Ok(Authority::Any("common")),
            "organizations" => Ok(Authority::Any("organizations")),
            id if id.parse() == Ok(self.tenant.id) => Ok(Authority::Tenant),
            domain if self.tenant.has_domain(domain) => Ok(Authority::Tenant),
            other => Err(Fault::UnknownTenant(other.to_owned())),
        }
    }

    /// The app that `client_id` names, asked for through `authority`.
    pub(crate) fn client(&self, authority: Authority, client_id: &str) -> Result<&App, Fault> {
        let id: Uuid = client_id
            .parse()
            .ok()
            .filter(|id: &Uuid| !id.is_nil())
            .ok_or_else(|| Fault::NotAnAppId(client_id.to_owned()))?;
        let app = self.tenant.app(id).ok_or_else(|| Fault::UnknownApp {
            client_id: id,
            tenant: self.tenant.name.clone(),
        })?;
        match authority {
            Authority::Tenant => Ok(app),
            Authority::Any(authority) => Err(Fault::NotMultiTenant {
                client_id: id,
                name: app.name.clone(),
                authority,
            }),
        }
    }

    /// The issuer of v2 tokens.
    pub(crate) fn issuer(&self) -> String {
        format!("{}/{}/v2.0", self.base, self.tenant.id)
    }
}
