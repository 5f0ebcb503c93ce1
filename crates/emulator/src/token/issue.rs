//! What a grant yields: the response of the token endpoint.

use serde::Serialize;
use uuid::Uuid;

use crate::browser::Session;
use crate::claims;
use crate::claims::request::ClaimsRequest;
use crate::cloud::Member;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::random;
use crate::scope::{Asked, Oidc};
use crate::sign_in::client_info;
use crate::tenant::Tenant;
use crate::token::client::Proof;
use crate::token::refresh_token::RefreshGrant;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// A redeemed grant: who gets tokens, for whom, for what.
pub(crate) struct Granted<'e> {
    pub(crate) party: Party<'e>,
    pub(crate) subject: Subject<'e>,
    pub(crate) asked: Asked<'e>,
    pub(crate) claims: ClaimsRequest,
}

/// The client as tokens name it, `azp`.
#[derive(Clone, Copy)]
pub(crate) struct Party<'e> {
    pub(crate) id: Uuid,
    pub(crate) name: &'e str,
    pub(crate) proof: Proof,
}

/// Whom a token speaks for.
pub(crate) enum Subject<'e> {
    Person(Box<Person<'e>>),
    Application(Application<'e>),
}

/// A person who is signed in at the client.
pub(crate) struct Person<'e> {
    pub(crate) member: Member<'e>,
    pub(crate) session: Session,
    pub(crate) oidc: Oidc,
    pub(crate) nonce: Option<String>,
    pub(crate) refresh: Option<RefreshGrant>,
    pub(crate) client_info: bool,
}

/// The client itself, as a tenant knows it.
pub(crate) struct Application<'e> {
    pub(crate) tenant: &'e Tenant,
    /// Of its service principal.
    pub(crate) object_id: Uuid,
}

impl<'e> Subject<'e> {
    pub(crate) fn tenant(&self) -> &'e Tenant {
        match self {
            Self::Person(person) => person.member.tenant,
            Self::Application(application) => application.tenant,
        }
    }

    pub(crate) fn username(&self) -> Option<&'e str> {
        match self {
            Self::Person(person) => Some(&person.member.user.username),
            Self::Application(_) => None,
        }
    }

    pub(crate) fn user(&self) -> Option<Uuid> {
        match self {
            Self::Person(person) => Some(person.member.user.object_id),
            Self::Application(_) => None,
        }
    }

    fn object_id(&self) -> Uuid {
        match self {
            Self::Person(person) => person.member.user.object_id,
            Self::Application(application) => application.object_id,
        }
    }
}

/// How long an access token lives, in seconds.
struct Life {
    expires_in: u64,
    /// When to get another one though this one still works.
    refresh_in: Option<u64>,
}

impl Life {
    /// 60 to 90 minutes; or 20 to 28 hours, for a client that lets itself be challenged.
    fn of(granted: &Granted<'_>) -> Self {
        if granted.claims.handles_challenges() {
            let expires_in = random::seconds(20 * HOUR, 8 * HOUR);
            Self {
                expires_in,
                refresh_in: Some(expires_in / 2),
            }
        } else {
            Self {
                expires_in: random::seconds(60 * MINUTE, 30 * MINUTE),
                refresh_in: None,
            }
        }
    }
}

/// A token response (RFC 6749 section 5.1). It holds tokens, so it does not print.
#[derive(Serialize)]
pub(crate) struct Tokens {
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    pub(crate) expires_in: u64,
    pub(crate) ext_expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_in: Option<u64>,
    pub(crate) access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_info: Option<String>,
}

impl Tokens {
    pub(crate) fn issue(entra: &Entra, granted: &Granted<'_>) -> Result<Self, Fault> {
        let resource = granted.asked.resource.id();
        tracing::info!(
            client = %granted.party.id, subject = %granted.subject.object_id(), %resource,
            "tokens issued"
        );
        Self::sign(entra, granted).map_err(|error| {
            tracing::error!(%error, "no tokens could be issued");
            Fault::Internal
        })
    }

    fn sign(entra: &Entra, granted: &Granted<'_>) -> anyhow::Result<Self> {
        let Life {
            expires_in,
            refresh_in,
        } = Life::of(granted);
        let tokens = Self {
            token_type: "Bearer",
            scope: None,
            expires_in,
            ext_expires_in: expires_in,
            refresh_in,
            access_token: claims::access_token(entra, granted, expires_in)?,
            refresh_token: None,
            id_token: None,
            client_info: None,
        };
        match &granted.subject {
            Subject::Application(_) => Ok(tokens),
            Subject::Person(person) => tokens.with_person(entra, granted, person),
        }
    }

    fn with_person(
        self,
        entra: &Entra,
        granted: &Granted<'_>,
        person: &Person<'_>,
    ) -> anyhow::Result<Self> {
        let id_token = person
            .oidc
            .openid
            .then(|| claims::id_token(entra, &granted.party, person))
            .transpose()?;
        let refresh_token = person
            .refresh
            .as_ref()
            .map(|grant| grant.seal(entra))
            .transpose()?;
        Ok(Self {
            scope: Some(granted.asked.response_scope(person.oidc)),
            refresh_token,
            id_token,
            client_info: person.client_info.then(|| client_info(person.member)),
            ..self
        })
    }
}
