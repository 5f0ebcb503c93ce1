//! A redeemed grant, which tokens are issued for.

use uuid::Uuid;

use crate::claims_request::ClaimsRequest;
use crate::cloud::Member;
use crate::refresh_grant::RefreshGrant;
use crate::scope::{Oidc, ResourceScopes};
use crate::session::Session;
use crate::tenant::Tenant;

/// A redeemed grant: the client, the subject, and the scopes of the tokens.
pub(crate) struct TokenGrant<'e> {
    pub(crate) identity: ClientIdentity<'e>,
    pub(crate) subject: Subject<'e>,
    pub(crate) requested: ResourceScopes<'e>,
    pub(crate) claims: ClaimsRequest,
}

/// The identity of the client in tokens, `azp`.
#[derive(Clone, Copy)]
pub(crate) struct ClientIdentity<'e> {
    pub(crate) id: Uuid,
    pub(crate) name: &'e str,
    pub(crate) authentication: ClientAuthentication,
}

/// How a client authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuthentication {
    /// Public client.
    None,
    Secret,
    /// A certificate, or the token of a trusted issuer.
    Assertion,
}

/// The subject of a token.
pub(crate) enum Subject<'e> {
    User(Box<SignedInUser<'e>>),
    Application(ApplicationSubject<'e>),
}

/// A user who is signed in to the client.
pub(crate) struct SignedInUser<'e> {
    pub(crate) member: Member<'e>,
    pub(crate) session: Session,
    pub(crate) oidc: Oidc,
    pub(crate) nonce: Option<String>,
    pub(crate) refresh: Option<RefreshGrant>,
    pub(crate) client_info: bool,
}

/// The client itself in one tenant.
pub(crate) struct ApplicationSubject<'e> {
    pub(crate) tenant: &'e Tenant,
    /// The object id of the service principal.
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
    /// Returns the `azpacr` claim.
    pub(crate) fn azpacr(self) -> &'static str {
        match self {
            Self::None => "0",
            Self::Secret => "1",
            Self::Assertion => "2",
        }
    }
}
