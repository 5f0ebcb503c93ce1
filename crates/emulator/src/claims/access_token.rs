//! Access tokens. The registration of the resource determines version 1 or 2, whatever the
//! endpoint. A user's token has `scp`; an app's token has `roles` if some were granted.

use serde::Serialize;
use uuid::Uuid;

use super::{Time, jwt, subject};
use crate::app::AccessTokenVersion;
use crate::entra::Entra;
use crate::random;
use crate::scope::Resource;
use crate::tenant::Tenant;
use crate::token_grant::{Subject, TokenGrant};

/// Returns a signed access token for the requested resource.
pub(crate) fn access_token(
    entra: &Entra,
    grant: &TokenGrant<'_>,
    lifetime: u64,
) -> anyhow::Result<String> {
    let common = Common::new(entra, grant, lifetime);
    match grant.requested.resource {
        Resource::Graph => jwt::sign_for_graph(entra, &V1::new(entra, grant, common)),
        Resource::App(api) => match api.access_token_version {
            AccessTokenVersion::V1 => jwt::sign_v1(entra, &V1::new(entra, grant, common)),
            AccessTokenVersion::V2 => jwt::sign(entra, &V2::new(entra, grant, common)),
        },
        Resource::TokenExchange => jwt::sign(entra, &V2::new(entra, grant, common)),
    }
}

/// The claims that both versions have.
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
    permissions: Permissions<'a>,
}

/// The permissions of the bearer.
#[derive(Serialize)]
#[serde(untagged)]
enum Permissions<'a> {
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
    fn new(entra: &Entra, grant: &'a TokenGrant<'_>, lifetime: u64) -> Self {
        let resource = grant.requested.resource;
        let (oid, sub, permissions) = match &grant.subject {
            Subject::User(signed_in) => {
                let user = signed_in.member.user;
                let permissions = Permissions::Delegated {
                    name: &user.name,
                    scp: grant.requested.granted(signed_in.oidc).join(" "),
                    sid: signed_in.session.id,
                };
                let sub = subject(signed_in.member.tenant, resource.id(), user.object_id);
                (user.object_id, sub, permissions)
            }
            Subject::Application(application) => {
                let oid = application.object_id;
                let roles = resource.roles_of(grant.identity.id);
                (oid, oid.to_string(), Permissions::Application { roles })
            }
        };
        Self {
            time: Time::new(entra, grant.subject.user(), lifetime),
            oid,
            sub,
            tid: grant.subject.tenant().id,
            uti: random::token::<16>(),
            xms_cc: grant.claims.capabilities(),
            permissions,
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
    fn new(entra: &Entra, grant: &'a TokenGrant<'_>, common: Common<'a>) -> Self {
        Self {
            aud: grant.requested.resource.id(),
            iss: entra.issuer(grant.subject.tenant()),
            azp: grant.identity.id,
            azpacr: grant.identity.authentication.azpacr(),
            preferred_username: grant.subject.username(),
            ver: "2.0",
            common,
        }
    }
}

#[derive(Serialize)]
struct V1<'a> {
    /// The resource as the client named it: its id or a URI.
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
    fn new(entra: &Entra, grant: &'a TokenGrant<'_>, common: Common<'a>) -> Self {
        let username = grant.subject.username();
        Self {
            aud: match grant.requested.resource {
                Resource::Graph => grant.requested.resource.id().to_string(),
                Resource::App(_) | Resource::TokenExchange => grant.requested.identifier.clone(),
            },
            iss: v1_issuer(entra, grant.subject.tenant()),
            app_displayname: grant.identity.name,
            appid: grant.identity.id,
            appidacr: grant.identity.authentication.azpacr(),
            idtyp: match grant.subject {
                Subject::User(_) => "user",
                Subject::Application(_) => "app",
            },
            unique_name: username,
            upn: username,
            ver: "1.0",
            common,
        }
    }
}

/// Returns the issuer of a tenant's v1 tokens. Entra uses a separate host, `sts.windows.net`.
pub(crate) fn v1_issuer(entra: &Entra, tenant: &Tenant) -> String {
    format!("{}/{}/", entra.base, tenant.id)
}
