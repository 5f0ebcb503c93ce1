//! The grant behind a refresh token. The token contains its grant, sealed. So the server stores
//! nothing, and tokens survive a restart.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::{App, Platform};
use crate::code::CodeGrant;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::keys::Purpose;
use crate::random;
use crate::session::Session;

/// The lifetime of an unused token in seconds: 90 days.
const INACTIVITY_LIMIT: u64 = 90 * 24 * 60 * 60;
/// The lifetime of single-page apps' tokens in seconds, regardless of use: 24 hours.
const SPA_LIFETIME: u64 = 24 * 60 * 60;
const PREFIX: &str = "1.";

/// The grant of a refresh token.
#[derive(Serialize, Deserialize)]
pub(crate) struct RefreshGrant {
    pub(crate) client_id: Uuid,
    pub(crate) session: Session,
    pub(crate) scope: String,
    pub(crate) resource: Option<String>,
    issued_at: u64,
    /// The end of a lifetime that use does not extend.
    fixed_end: Option<u64>,
    /// A random value that makes each token unique.
    pub(crate) salt: String,
    /// The salt of the first token. All tokens that descend from it have the same family.
    #[serde(default)]
    pub(crate) family: String,
}

impl RefreshGrant {
    /// Creates the grant of the first token after a code.
    pub(crate) fn from_code(app: &App, grant: &CodeGrant, now: u64) -> Self {
        let resource = grant.resource.as_deref();
        Self::new(app, &grant.session, &grant.scope, resource, now)
    }

    /// Creates the grant of the first token of a sign-in.
    pub(crate) fn new(
        app: &App,
        session: &Session,
        scope: &str,
        resource: Option<&str>,
        now: u64,
    ) -> Self {
        let fixed_end = match app.platform {
            Platform::Spa => Some(now + SPA_LIFETIME),
            Platform::MobileDesktop | Platform::Web { .. } => None,
        };
        let salt = random::token::<16>();
        Self {
            client_id: app.client_id,
            session: session.clone(),
            scope: scope.to_owned(),
            resource: resource.map(str::to_owned),
            issued_at: now,
            fixed_end,
            family: salt.clone(),
            salt,
        }
    }

    pub(crate) fn rotate(self, now: u64) -> Self {
        Self {
            issued_at: now,
            salt: random::token::<16>(),
            ..self
        }
    }

    /// Returns the refresh token.
    pub(crate) fn seal(&self, entra: &Entra) -> anyhow::Result<String> {
        let sealed = entra.keys.seal(Purpose::Refresh, "", self)?;
        Ok(format!("{PREFIX}{sealed}"))
    }

    pub(crate) fn open(entra: &Entra, token: &SecretString) -> Result<Self, Fault> {
        let grant: Self = token
            .expose_secret()
            .strip_prefix(PREFIX)
            .and_then(|sealed| entra.keys.open_sealed(Purpose::Refresh, "", sealed))
            .ok_or(Fault::MalformedGrant)?;
        let now = entra.clock.unix();
        match grant.fixed_end {
            Some(end) if now >= end => Err(Fault::SpaRefreshExpired),
            None if now >= grant.issued_at + INACTIVITY_LIMIT => Err(Fault::RefreshExpired),
            Some(_) | None => Ok(grant),
        }
    }
}
