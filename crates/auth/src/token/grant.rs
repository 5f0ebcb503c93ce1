//! What one sign-in gave: tokens for one resource at one authorization server.

use std::collections::BTreeSet;

use model::{EndpointUrl, Issuer, Resource};

use crate::account::Account;
use crate::entra;
use crate::http::Side;
use crate::registration::Client;
use crate::secret::{AccessToken, RefreshToken};
use crate::vault::{RecordKind, RecordName};

/// How long before its end a token is renewed, in seconds.
const MARGIN: u64 = 5 * 60;

/// How long before its end a token may be refused as one that has ended: it takes a while to
/// arrive, and clocks are counted in seconds.
const LEEWAY: u64 = 10;

/// What a grant is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GrantKey {
    pub(crate) issuer: Issuer,
    pub(crate) client_id: String,
    /// What the tokens are for: the resource, or for Entra the scopes, which name it.
    pub(crate) audience: String,
    /// Whose they are: the account's subject.
    pub(crate) subject: String,
}

/// One sign-in and all that renewing it takes.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) key: GrantKey,
    /// The configured servers it opens, each by [`Target::name`](crate::Target::name).
    pub(crate) targets: BTreeSet<String>,
    pub(crate) account: Account,
    pub(crate) client: Client,
    pub(crate) resource: Option<Resource>,
    /// The scopes that were asked for.
    pub(crate) asked: Vec<String>,
    /// Those among them to repeat when renewing: all for Entra, else none.
    pub(crate) repeated: Vec<String>,
    pub(crate) endpoints: Endpoints,
    pub(crate) tokens: Tokens,
    pub(crate) obtained_by: ObtainedBy,
}

/// How the user signed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ObtainedBy {
    /// With a browser that brought the authorization response, or in a way that the record does
    /// not say.
    #[default]
    Browser,
    /// By device code (RFC 8628). Policies may forbid that flow alone, and Entra applies them to
    /// each refresh as well.
    DeviceCode,
}

/// Where a grant is renewed, ended and looked into.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) token: EndpointUrl,
    pub(crate) revocation: Option<EndpointUrl>,
    pub(crate) end_session: Option<EndpointUrl>,
    pub(crate) consents: Option<EndpointUrl>,
    /// Where it is that names them.
    pub(crate) side: Side,
}

/// What the token endpoint issued. Times in seconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: AccessToken,
    pub(crate) refresh: Option<RefreshToken>,
    pub(crate) obtained_at: u64,
    pub(crate) expires_at: Option<u64>,
    pub(crate) refresh_at: Option<u64>,
    /// The scopes granted, where they are not those asked for.
    pub(crate) scopes: Option<Vec<String>>,
}

impl GrantKey {
    /// Where it lies in the vault.
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
    /// The `claims` parameter of a request to renew it; `challenged` is what Entra wants.
    pub(crate) fn claims_parameter(&self, challenged: Option<String>) -> Option<String> {
        if self.repeated.is_empty() {
            return challenged;
        }
        Some(entra::claims(challenged.as_deref()))
    }

    /// Returns whether its authorization server grants by scope alone, as Entra does. Elsewhere
    /// `resource` binds the tokens (RFC 8707).
    pub(crate) fn is_by_scope_alone(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// The scopes that the access token carries, as far as is known.
    pub(crate) fn scopes(&self) -> &[String] {
        self.tokens.scopes.as_deref().unwrap_or(&self.asked)
    }
}

impl Tokens {
    /// Whether the access token should be renewed: five minutes before its end, or halfway where
    /// it lives for less than ten, or when the server said.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        let before_end = self.expires_at.is_some_and(|end| {
            let life = end.saturating_sub(self.obtained_at);
            now >= end.saturating_sub(MARGIN.min(life / 2))
        });
        before_end || self.refresh_at.is_some_and(|at| now >= at)
    }

    /// Whether the access token has ended, or so nearly that a server may see it so: in the last
    /// ten seconds, or the second half where it lives for less than twenty.
    pub(crate) fn is_ending(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| {
            let life = end.saturating_sub(self.obtained_at);
            now >= end.saturating_sub(LEEWAY.min(life / 2))
        })
    }

    /// Whether the access token has ended.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::Tokens;
    use crate::secret::AccessToken;

    #[test]
    fn a_token_is_due_before_its_end() {
        let tokens = |life: u64, refresh_in: Option<u64>| Tokens {
            access: AccessToken::new("x"),
            refresh: None,
            obtained_at: 1000,
            expires_at: Some(1000 + life),
            refresh_at: refresh_in.map(|delay| 1000 + delay),
            scopes: None,
        };
        assert!(!tokens(3600, None).is_due(1000 + 3299));
        assert!(tokens(3600, None).is_due(1000 + 3300));
        assert!(!tokens(3600, None).is_over(1000 + 3599));
        assert!(tokens(3600, None).is_over(1000 + 3600));
        assert!(tokens(86400, Some(43200)).is_due(1000 + 43200));
        assert!(
            !tokens(60, None).is_due(1029),
            "a short life is not all margin"
        );
        assert!(tokens(60, None).is_due(1030));
        let endless = Tokens {
            expires_at: None,
            ..tokens(0, None)
        };
        assert!(!endless.is_due(u64::MAX) && !endless.is_over(u64::MAX));
    }
}
