//! Access tokens: version 1 or 2, as the resource's registration wants it, whatever endpoint was
//! asked; for a person, with `scp`, or for an app, with `roles` where some were granted.

use serde::Serialize;
use uuid::Uuid;

use super::{Time, jwt, subject};
use crate::app::AccessTokenVersion;
use crate::entra::Entra;
use crate::random;
use crate::scope::Resource;
use crate::tenant::Tenant;
use crate::token::{Granted, Subject};

/// An access token for the one resource that was granted.
pub(crate) fn access_token(
    entra: &Entra,
    granted: &Granted<'_>,
    life: u64,
) -> anyhow::Result<String> {
    let common = Common::new(entra, granted, life);
    match granted.asked.resource {
        Resource::Graph => jwt::sign_for_graph(entra, &V1::new(entra, granted, common)),
        Resource::App(api) => match api.access_token_version {
            AccessTokenVersion::V1 => jwt::sign_v1(entra, &V1::new(entra, granted, common)),
            AccessTokenVersion::V2 => jwt::sign(entra, &V2::new(entra, granted, common)),
        },
        Resource::TokenExchange => jwt::sign(entra, &V2::new(entra, granted, common)),
    }
}

/// What both versions say in the same words.
#[derive(Serialize)]
struct Common<'a> {
    #[serde(flatten)]
    time: Time,
    oid: Uuid,
    sub: String,
    tid: Uuid,
    uti: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    xms_cc: &'a [String],
    #[serde(flatten)]
    rights: Rights<'a>,
}

/// What the bearer may do.
#[derive(Serialize)]
#[serde(untagged)]
enum Rights<'a> {
    Delegated {
        name: &'a str,
        #[serde(skip_serializing_if = "String::is_empty")]
        scp: String,
        sid: Uuid,
    },
    Application {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        roles: Vec<&'a str>,
    },
}

impl<'a> Common<'a> {
    fn new(entra: &Entra, granted: &'a Granted<'_>, life: u64) -> Self {
        let resource = granted.asked.resource;
        let (oid, sub, rights) = match &granted.subject {
            Subject::Person(person) => {
                let user = person.member.user;
                let rights = Rights::Delegated {
                    name: &user.name,
                    scp: granted.asked.granted(person.oidc).join(" "),
                    sid: person.session.id,
                };
                let sub = subject(person.member.tenant, resource.id(), user.object_id);
                (user.object_id, sub, rights)
            }
            Subject::Application(application) => {
                let oid = application.object_id;
                let roles = resource.roles_of(granted.party.id);
                (oid, oid.to_string(), Rights::Application { roles })
            }
        };
        Self {
            time: Time::new(entra, granted.subject.user(), life),
            oid,
            sub,
            tid: granted.subject.tenant().id,
            uti: random::token::<16>(),
            xms_cc: granted.claims.capabilities(),
            rights,
        }
    }
}

#[derive(Serialize)]
struct V2<'a> {
    aud: Uuid,
    iss: String,
    azp: Uuid,
    azpacr: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    ver: &'static str,
    #[serde(flatten)]
    common: Common<'a>,
}

impl<'a> V2<'a> {
    fn new(entra: &Entra, granted: &'a Granted<'_>, common: Common<'a>) -> Self {
        Self {
            aud: granted.asked.resource.id(),
            iss: entra.issuer(granted.subject.tenant()),
            azp: granted.party.id,
            azpacr: granted.party.proof.class(),
            preferred_username: granted.subject.username(),
            ver: "2.0",
            common,
        }
    }
}

#[derive(Serialize)]
struct V1<'a> {
    /// The id, or a URI: as the client named the resource.
    aud: String,
    iss: String,
    app_displayname: &'a str,
    appid: Uuid,
    appidacr: &'static str,
    idtyp: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upn: Option<&'a str>,
    ver: &'static str,
    #[serde(flatten)]
    common: Common<'a>,
}

impl<'a> V1<'a> {
    fn new(entra: &Entra, granted: &'a Granted<'_>, common: Common<'a>) -> Self {
        let username = granted.subject.username();
        Self {
            aud: match granted.asked.resource {
                Resource::Graph => granted.asked.resource.id().to_string(),
                Resource::App(_) | Resource::TokenExchange => granted.asked.identifier.clone(),
            },
            iss: v1_issuer(entra, granted.subject.tenant()),
            app_displayname: granted.party.name,
            appid: granted.party.id,
            appidacr: granted.party.proof.class(),
            idtyp: match granted.subject {
                Subject::Person(_) => "user",
                Subject::Application(_) => "app",
            },
            unique_name: username,
            upn: username,
            ver: "1.0",
            common,
        }
    }
}

/// The issuer of a tenant's v1 tokens; Entra's own has a host of its own, `sts.windows.net`.
pub(crate) fn v1_issuer(entra: &Entra, tenant: &Tenant) -> String {
    format!("{}/{}/", entra.base, tenant.id)
}
