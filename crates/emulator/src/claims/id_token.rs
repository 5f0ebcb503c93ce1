//! Id tokens: who signed in, for the client.

use serde::Serialize;
use uuid::Uuid;

use super::{Time, jwt, subject};
use crate::cloud::Member;
use crate::entra::Entra;
use crate::random;
use crate::token::{Party, Person};

/// The life of an id token, in seconds.
const LIFE: u64 = 60 * 60;

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

/// An id token of `person` for the client.
pub(crate) fn id_token(
    entra: &Entra,
    party: &Party<'_>,
    person: &Person<'_>,
) -> anyhow::Result<String> {
    let Person { oidc, session, .. } = person;
    let Member { tenant, user } = person.member;
    let claims = IdToken {
        aud: party.id,
        iss: entra.issuer(tenant),
        time: Time::new(entra, Some(user.object_id), LIFE),
        email: oidc.email.then_some(&user.username),
        name: oidc.profile.then_some(&user.name),
        nonce: person.nonce.as_deref(),
        oid: oidc.profile.then_some(user.object_id),
        preferred_username: oidc.profile.then_some(&user.username),
        sid: session.id,
        sub: subject(tenant, party.id, user.object_id),
        tid: tenant.id,
        uti: random::token::<16>(),
        ver: "2.0",
    };
    jwt::sign(entra, &claims)
}
