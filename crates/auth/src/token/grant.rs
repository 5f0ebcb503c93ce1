//! The grant of one sign-in: tokens for one resource at one authorization server.

use std::collections::BTreeSet;

use model::{EndpointUrl, Issuer, Resource};

use crate::account::Account;
use crate::entra;
use crate::http::NetworkZone;
use crate::registration::Client;
use crate::secret::{AccessToken, RefreshToken};
use crate::target::TargetKey;
use crate::vault::{RecordKind, RecordName};

/// How long before its expiry a token is refreshed, in seconds.
const REFRESH_MARGIN: u64 = 5 * 60;

/// How long before its expiry a server may refuse a token as expired: the request takes a while to
/// arrive, and clocks count seconds.
const CLOCK_SKEW: u64 = 10;

/// Identifies a grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GrantKey {
    pub(crate) issuer: Issuer,
    pub(crate) client_id: String,
    /// The audience of the tokens: the resource, or for Entra the scopes, which name it.
    pub(crate) audience: String,
    /// The subject of the account.
    pub(crate) subject: String,
}

/// One grant, with everything that refreshing it needs.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) key: GrantKey,
    /// The servers that use it.
    pub(crate) targets: BTreeSet<TargetKey>,
    pub(crate) account: Account,
    pub(crate) client: Client,
    pub(crate) resource: Option<Resource>,
    /// The scopes of the authorization request.
    pub(crate) asked: Vec<String>,
    /// The scopes to repeat when refreshing: all for Entra, else none.
    pub(crate) repeated: Vec<String>,
    pub(crate) endpoints: Endpoints,
    pub(crate) tokens: Tokens,
    pub(crate) obtained_by: ObtainedBy,
}

/// How the user signed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ObtainedBy {
    /// With a browser that received the authorization response, or in a way that the record does
    /// not name.
    #[default]
    Browser,
    /// By device code (RFC 8628). Policies may forbid that flow alone, and Entra applies them to
    /// each refresh as well.
    DeviceCode,
}

/// The endpoints that a grant uses later.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) token: EndpointUrl,
    pub(crate) revocation: Option<EndpointUrl>,
    pub(crate) end_session: Option<EndpointUrl>,
    pub(crate) consents: Option<EndpointUrl>,
    /// The zone of the server that names them.
    pub(crate) zone: NetworkZone,
}

/// The tokens of one response. Times are in seconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: AccessToken,
    pub(crate) refresh: Option<RefreshToken>,
    pub(crate) obtained_at: u64,
    pub(crate) expires_at: Option<u64>,
    pub(crate) refresh_at: Option<u64>,
    /// The granted scopes, if they differ from the requested ones.
    pub(crate) scopes: Option<Vec<String>>,
}

impl GrantKey {
    /// Returns the name of its record in the vault.
    pub(crate) fn record(&self) -> RecordName {
        let parts = [
            self.issuer.as_str(),
            &self.client_id,
            &self.audience,
            &self.subject,
        ];
        RecordName::new(RecordKind::Grant, &parts)
    }
}

impl Grant {
    /// Returns the `claims` parameter of a refresh request. `challenged` is what Entra requires.
    pub(crate) fn claims_parameter(&self, challenged: Option<String>) -> Option<String> {
        if self.repeated.is_empty() {
            return challenged;
        }
        Some(entra::claims(challenged.as_deref()))
    }

    /// Returns true if the authorization server grants by scope alone, as Entra does. Elsewhere
    /// `resource` binds the tokens (RFC 8707).
    pub(crate) fn is_by_scope_alone(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// Returns the scopes of the access token, as far as they are known.
    pub(crate) fn scopes(&self) -> &[String] {
        self.tokens.scopes.as_deref().unwrap_or(&self.asked)
    }
}

impl Tokens {
    /// Returns true if the access token should be refreshed: five minutes before its expiry,
    /// halfway if its lifetime is less than ten minutes, or when the server said.
    pub(crate) fn needs_refresh(&self, now: u64) -> bool {
        let before_end = self.expires_at.is_some_and(|end| {
            let lifetime = end.saturating_sub(self.obtained_at);
            now >= end.saturating_sub(REFRESH_MARGIN.min(lifetime / 2))
        });
        before_end || self.refresh_at.is_some_and(|at| now >= at)
    }

    /// Returns true if a server may consider the access token expired: in its last ten seconds, or
    /// in the second half of a lifetime below twenty seconds.
    pub(crate) fn is_expiring(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| {
            let lifetime = end.saturating_sub(self.obtained_at);
            now >= end.saturating_sub(CLOCK_SKEW.min(lifetime / 2))
        })
    }

    /// Returns true if the access token has expired.
    pub(crate) fn has_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::Tokens;
    use crate::secret::AccessToken;

    #[test]
    fn token_needs_refresh_before_expiry() {
        let tokens = |lifetime: u64, refresh_in: Option<u64>| Tokens {
            access: AccessToken::new("x"),
            refresh: None,
            obtained_at: 1000,
            expires_at: Some(1000 + lifetime),
            refresh_at: refresh_in.map(|delay| 1000 + delay),
            scopes: None,
        };
        assert!(!tokens(3600, None).needs_refresh(1000 + 3299));
        assert!(tokens(3600, None).needs_refresh(1000 + 3300));
        assert!(!tokens(3600, None).has_expired(1000 + 3599));
        assert!(tokens(3600, None).has_expired(1000 + 3600));
        assert!(tokens(86400, Some(43200)).needs_refresh(1000 + 43200));
        assert!(
            !tokens(60, None).needs_refresh(1029),
            "a short life is not all margin"
        );
        assert!(tokens(60, None).needs_refresh(1030));
        let endless = Tokens {
            expires_at: None,
            ..tokens(0, None)
        };
        assert!(!endless.needs_refresh(u64::MAX) && !endless.has_expired(u64::MAX));
    }
}
