//! `grant_type=refresh_token` (RFC 6749 section 6), the way Entra does it: a new token each
//! time, the old one not revoked; bound to person and client, not to a resource.
//!
//! A refresh token is its grant, sealed: nothing is stored, and nothing is lost on a restart.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aadsts::RequestKind;
use crate::app::{App, Platform};
use crate::authority::Authority;
use crate::browser::Session;
use crate::claims::request::ClaimsRequest;
use crate::code::CodeGrant;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::keys::Purpose;
use crate::parameters::Parameters;
use crate::random;
use crate::scope::{Oidc, ResourceScopes, Scopes};
use crate::token::client::Client;
use crate::token::issue::{SignedInUser, Subject, TokenGrant};

/// How long an unused token lives, in seconds: 90 days.
const INACTIVITY_LIMIT: u64 = 90 * 24 * 60 * 60;
/// How long tokens of single-page apps live, however often they are used: 24 hours.
const SPA_LIFETIME: u64 = 24 * 60 * 60;
const PREFIX: &str = "1.";

/// What a refresh token stands for.
#[derive(Serialize, Deserialize)]
pub(crate) struct RefreshGrant {
    client_id: Uuid,
    session: Session,
    scope: String,
    resource: Option<String>,
    issued_at: u64,
    /// The end of a token that cannot be extended.
    fixed_end: Option<u64>,
    /// Makes every token another.
    salt: String,
    /// The salt of the first one: the same in all that descend from it.
    #[serde(default)]
    family: String,
}

impl RefreshGrant {
    /// The first one of a code.
    pub(super) fn from_code(app: &App, grant: &CodeGrant, now: u64) -> Self {
        let resource = grant.resource.as_deref();
        Self::first(app, &grant.session, &grant.scope, resource, now)
    }

    /// The first one of a sign-in.
    pub(super) fn first(
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

    fn next(self, now: u64) -> Self {
        Self {
            issued_at: now,
            salt: random::token::<16>(),
            ..self
        }
    }

    /// The token itself.
    pub(super) fn seal(&self, entra: &Entra) -> anyhow::Result<String> {
        let sealed = entra.keys.seal(Purpose::Refresh, "", self)?;
        Ok(format!("{PREFIX}{sealed}"))
    }

    fn open(entra: &Entra, token: &SecretString) -> Result<Self, Fault> {
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

pub(super) fn redeem<'e>(
    entra: &'e Entra,
    client: &Client<'e>,
    parameters: &Parameters,
) -> Result<TokenGrant<'e>, Fault> {
    let token = parameters.secret("refresh_token");
    let token = token.ok_or(Fault::MissingParameter("refresh_token"))?;
    let grant = RefreshGrant::open(entra, &token)?;
    if grant.client_id != client.app.client_id {
        return Err(Fault::GrantOfOtherClient);
    }
    let member = entra.cloud.member(grant.session.user);
    let member = member.ok_or(Fault::UserDeleted)?;
    client.check_member(member)?;
    let authority = client.authority.for_tenant(member.tenant);
    let (oidc, requested) = scopes(authority, client.app, &grant, parameters)?;
    let attempt = client.attempt(RequestKind::Token, &requested, Some(&grant.session));
    entra.fault_rules.check(&attempt)?;
    entra
        .fault_rules
        .record_refresh_token_use(&grant.family, &grant.salt)?;
    Ok(TokenGrant {
        identity: client.identity(),
        subject: Subject::User(Box::new(SignedInUser {
            member,
            session: grant.session.clone(),
            oidc,
            nonce: None,
            refresh: Some(grant.next(entra.clock.unix())),
            client_info: parameters.wants_client_info(),
        })),
        requested,
        claims: ClaimsRequest::read(parameters)?,
    })
}

/// Of several resources the first counts; where none is named, the one of the sign-in does,
/// unless that is the client itself by its URI.
fn scopes<'e>(
    authority: Authority<'e>,
    app: &App,
    grant: &RefreshGrant,
    parameters: &Parameters,
) -> Result<(Oidc, ResourceScopes<'e>), Fault> {
    let resolve = |scope: &str, resource| Scopes::resolve(authority, app, scope, resource);
    let scope = parameters.optional("scope");
    let named = resolve(scope.unwrap_or_default(), parameters.optional("resource"))?;
    let granted = resolve(&grant.scope, grant.resource.as_deref())?;
    let oidc = if scope.is_some() {
        named.oidc
    } else {
        granted.oidc
    };
    if let Some(requested) = named.requested.into_iter().next() {
        return Ok((oidc, requested));
    }
    match granted.requested.into_iter().next() {
        Some(requested) if requested.is_self_by_uri(app) => {
            Err(Fault::SelfRequestByUri(app.client_id))
        }
        Some(requested) => Ok((oidc, requested)),
        None => Ok((oidc, ResourceScopes::userinfo())),
    }
}
