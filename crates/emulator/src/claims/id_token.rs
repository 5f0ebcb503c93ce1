//! Id tokens, which tell the client the signed-in user.

use serde::Serialize;
use uuid::Uuid;

use super::{Time, jwt, subject};
use crate::cloud::Member;
use crate::entra::Entra;
use crate::random;
use crate::token_grant::{ClientIdentity, SignedInUser};

/// The lifetime of an id token in seconds.
const LIFETIME: u64 = 60 * 60;

#[derive(Serialize)]
struct IdToken<'a> {
    aud: Uuid,
    iss: String,
    #[serde(flatten)]
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a String>,
    sid: Uuid,
    sub: String,
    tid: Uuid,
    uti: String,
    ver: &'static str,
}

/// Returns a signed id token for the client.
pub(crate) fn id_token(
    entra: &Entra,
    identity: &ClientIdentity<'_>,
    signed_in: &SignedInUser<'_>,
) -> anyhow::Result<String> {
    let SignedInUser { oidc, session, .. } = signed_in;
    let Member { tenant, user } = signed_in.member;
    let claims = IdToken {
        aud: identity.id,
        iss: entra.issuer(tenant),
        time: Time::new(entra, Some(user.object_id), LIFETIME),
        email: oidc.email.then_some(&user.username),
        name: oidc.profile.then_some(&user.name),
        nonce: signed_in.nonce.as_deref(),
        oid: oidc.profile.then_some(user.object_id),
        preferred_username: oidc.profile.then_some(&user.username),
        sid: session.id,
        sub: subject(tenant, identity.id, user.object_id),
        tid: tenant.id,
        uti: random::token::<16>(),
        ver: "2.0",
    };
    jwt::sign(entra, &claims)
}
