//! A redeemed grant, from which tokens are issued.

use uuid::Uuid;

use crate::claims_request::ClaimsRequest;
use crate::cloud::Member;
use crate::refresh_grant::RefreshGrant;
use crate::scope::{Oidc, ResourceScopes};
use crate::session::Session;
use crate::tenant::Tenant;

/// A redeemed grant: who gets tokens, for whom, for what.
pub(crate) struct TokenGrant<'e> {
    pub(crate) identity: ClientIdentity<'e>,
    pub(crate) subject: Subject<'e>,
    pub(crate) requested: ResourceScopes<'e>,
    pub(crate) claims: ClaimsRequest,
}

/// The client as tokens name it, `azp`.
#[derive(Clone, Copy)]
pub(crate) struct ClientIdentity<'e> {
    pub(crate) id: Uuid,
    pub(crate) name: &'e str,
    pub(crate) authentication: ClientAuthentication,
}

/// How a client proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuthentication {
    /// Not at all: a public client.
    None,
    Secret,
    /// A certificate, or the token of a trusted issuer.
    Assertion,
}

/// Whom a token speaks for.
pub(crate) enum Subject<'e> {
    User(Box<SignedInUser<'e>>),
    Application(ApplicationSubject<'e>),
}

/// A person who is signed in at the client.
pub(crate) struct SignedInUser<'e> {
    pub(crate) member: Member<'e>,
    pub(crate) session: Session,
    pub(crate) oidc: Oidc,
    pub(crate) nonce: Option<String>,
    pub(crate) refresh: Option<RefreshGrant>,
    pub(crate) client_info: bool,
}

/// The client itself, as a tenant knows it.
pub(crate) struct ApplicationSubject<'e> {
    pub(crate) tenant: &'e Tenant,
    /// Of its service principal.
    pub(crate) object_id: Uuid,
}

impl<'e> Subject<'e> {
    pub(crate) fn tenant(&self) -> &'e Tenant {
        match self {
            Self::User(signed_in) => signed_in.member.tenant,
            Self::Application(application) => application.tenant,
        }
    }

    pub(crate) fn username(&self) -> Option<&'e str> {
        match self {
            Self::User(signed_in) => Some(&signed_in.member.user.username),
            Self::Application(_) => None,
        }
    }

    pub(crate) fn user(&self) -> Option<Uuid> {
        match self {
            Self::User(signed_in) => Some(signed_in.member.user.object_id),
            Self::Application(_) => None,
        }
    }

    pub(crate) fn object_id(&self) -> Uuid {
        match self {
            Self::User(signed_in) => signed_in.member.user.object_id,
            Self::Application(application) => application.object_id,
        }
    }
}

impl ClientAuthentication {
    /// `azpacr` in tokens.
    pub(crate) fn azpacr(self) -> &'static str {
        match self {
            Self::None => "0",
            Self::Secret => "1",
            Self::Assertion => "2",
        }
    }
}
