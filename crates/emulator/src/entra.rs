//! The state that all endpoints share.

use model::{AheadClock, Clock};

use crate::authority::Authority;
use crate::cloud::Cloud;
use crate::code::Codes;
use crate::device_codes::DeviceCodes;
use crate::fault::Fault;
use crate::fault_injection::FaultRules;
use crate::keys::Keys;
use crate::request_log::RequestLog;
use crate::tenant::Tenant;

/// The running emulator.
pub(crate) struct Entra {
    /// The base URL, without a trailing slash.
    pub(crate) base: String,
    pub(crate) cloud: Cloud,
    /// The time for all endpoints, from `ahead`.
    pub(crate) clock: Clock,
    pub(crate) ahead: AheadClock,
    pub(crate) keys: Keys,
    pub(crate) codes: Codes,
    pub(crate) devices: DeviceCodes,
    pub(crate) fault_rules: FaultRules,
    pub(crate) requests: RequestLog,
}

impl Entra {
    /// Returns the authority that the first segment of a path names.
    ///
    /// # Errors
    /// If no tenant has this name.
    pub(crate) fn authority(&self, segment: &str) -> Result<Authority<'_>, Fault> {
        Authority::parse(&self.cloud, segment)
    }

    /// Returns the issuer of a tenant's v2 tokens.
    pub(crate) fn issuer(&self, tenant: &Tenant) -> String {
        format!("{}/{}/v2.0", self.base, tenant.id)
    }

    /// Returns the issuer in metadata. For an authority of several tenants, it is a template.
    pub(crate) fn issuer_at(&self, authority: Authority<'_>) -> String {
        authority.tenant().map_or_else(
            || format!("{}/{{tenantid}}/v2.0", self.base),
            |tenant| self.issuer(tenant),
        )
    }
}
