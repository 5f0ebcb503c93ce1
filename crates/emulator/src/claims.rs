//! The tokens themselves: v2 access tokens for the tenant's apps, the v1 tokens that Graph
//! takes, and id tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;
use crate::cloud::Member;
use crate::entra::Entra;
use crate::random;
use crate::scope::{GRAPH_ID, Resource};
use crate::tenant::Tenant;
use crate::token::Granted;

/// Entra dates tokens back, for clocks that are behind; in seconds.
const DATED_BACK: u64 = 5 * 60;
/// The life of an id token, in seconds.
const ID_TOKEN_LIFE: u64 = 60 * 60;

/// An access token for the one resource that was granted.
pub(crate) fn access_token(
    entra: &Entra,
    granted: &Granted<'_>,
    life: u64,
) -> anyhow::Result<String> {
    match granted.asked.resource {
        Resource::App(api) => sign(entra, &AccessToken::new(entra, granted, api, life)),
        Resource::Graph => sign_for_graph(entra, &GraphToken::new(entra, granted, life)),
    }
}

/// An id token for the client.
pub(crate) fn id_token(entra: &Entra, granted: &Granted<'_>) -> anyhow::Result<String> {
    let Granted {
        client,
        member: Member { tenant, user },
        oidc,
        session,
        ..
    } = granted;
    sign(
        entra,
        &IdToken {
            aud: client.client_id,
            iss: entra.issuer(tenant),
            time: Time::new(entra, ID_TOKEN_LIFE),
            email: oidc.email.then_some(&user.username),
            name: oidc.profile.then_some(&user.name),
            nonce: granted.nonce.as_deref(),
            oid: oidc.profile.then_some(user.object_id),
            preferred_username: oidc.profile.then_some(&user.username),
            sid: session.id,
            sub: subject(tenant, client.client_id, user.object_id),
            tid: tenant.id,
            uti: random::token::<16>(),
            ver: "2.0",
        },
    )
}

/// `sub` is pairwise: stable for a person at one app, another at each app.
pub(crate) fn subject(tenant: &Tenant, app: Uuid, user: Uuid) -> String {
    random::sha256(format!("{}.{app}.{user}", tenant.id))
}

#[derive(Serialize)]
struct Time {
    iat: u64,
    nbf: u64,
    exp: u64,
}

impl Time {
    fn new(entra: &Entra, life: u64) -> Self {
        let now = entra.clock.unix();
        let back = now.saturating_sub(DATED_BACK);
        Self {
            iat: back,
            nbf: back,
            exp: now + life,
        }
    }
}

#[derive(Serialize)]
struct AccessToken<'a> {
    aud: Uuid,
    iss: String,
    #[serde(flatten)]
    time: Time,
    azp: Uuid,
    azpacr: &'static str,
    name: &'a str,
    oid: Uuid,
    preferred_username: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    scp: String,
    sid: Uuid,
    sub: String,
    tid: Uuid,
    uti: String,
    ver: &'static str,
}

impl<'a> AccessToken<'a> {
    fn new(entra: &Entra, granted: &'a Granted<'_>, api: &App, life: u64) -> Self {
        let Member { tenant, user } = granted.member;
        Self {
            aud: api.client_id,
            iss: entra.issuer(tenant),
            time: Time::new(entra, life),
            azp: granted.client.client_id,
            azpacr: granted.client.authentication_class(),
            name: &user.name,
            oid: user.object_id,
            preferred_username: &user.username,
            scp: granted.asked.granted(granted.oidc).join(" "),
            sid: granted.session.id,
            sub: subject(tenant, api.client_id, user.object_id),
            tid: tenant.id,
            uti: random::token::<16>(),
            ver: "2.0",
        }
    }
}

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

/// A token that only Graph can read: version 1, and signed over another header than it shows.
#[derive(Serialize)]
struct GraphToken<'a> {
    aud: Uuid,
    iss: String,
    #[serde(flatten)]
    time: Time,
    app_displayname: &'a str,
    appid: Uuid,
    appidacr: &'static str,
    idtyp: &'static str,
    name: &'a str,
    oid: Uuid,
    scp: String,
    sid: Uuid,
    sub: String,
    tid: Uuid,
    unique_name: &'a str,
    upn: &'a str,
    uti: String,
    ver: &'static str,
}

impl<'a> GraphToken<'a> {
    fn new(entra: &Entra, granted: &'a Granted<'_>, life: u64) -> Self {
        let Member { tenant, user } = granted.member;
        Self {
            aud: GRAPH_ID,
            iss: format!("{}/{}/", entra.base, tenant.id),
            time: Time::new(entra, life),
            app_displayname: &granted.client.name,
            appid: granted.client.client_id,
            appidacr: granted.client.authentication_class(),
            idtyp: "user",
            name: &user.name,
            oid: user.object_id,
            scp: granted.asked.granted(granted.oidc).join(" "),
            sid: granted.session.id,
            sub: subject(tenant, GRAPH_ID, user.object_id),
            tid: tenant.id,
            unique_name: &user.username,
            upn: &user.username,
            uti: random::token::<16>(),
            ver: "1.0",
        }
    }
}

/// What Graph reads in a token of its own.
#[derive(Deserialize)]
pub(crate) struct GraphClaims {
    aud: Uuid,
    exp: u64,
    pub(crate) appid: Uuid,
    pub(crate) oid: Uuid,
    scp: String,
}

impl GraphClaims {
    /// The claims of a token that Graph would take now, or nothing.
    pub(crate) fn read(entra: &Entra, token: &str) -> Option<Self> {
        let (header, rest) = token.split_once('.')?;
        let (claims, signature) = rest.split_once('.')?;
        let shown: GraphHeader = decode(header)?;
        let kid = shown.kid.clone();
        let input = format!("{}.{claims}", encode(&shown.signed()).ok()?);
        let keys = entra.keys.signing();
        let key = keys.iter().find(|key| key.kid == kid)?;
        let claims: Self = key.verifies(&input, signature).then(|| decode(claims))??;
        (claims.aud == GRAPH_ID && entra.clock.unix() < claims.exp).then_some(claims)
    }

    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scp.split(' ').any(|granted| granted == scope)
    }
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    kid: &'a str,
}

#[derive(Serialize, Deserialize)]
struct GraphHeader {
    typ: String,
    nonce: String,
    alg: String,
    kid: String,
}

impl GraphHeader {
    /// The header that the signature is over.
    fn signed(self) -> Self {
        Self {
            nonce: random::sha256(&self.nonce),
            ..self
        }
    }
}

fn sign(entra: &Entra, claims: &impl Serialize) -> anyhow::Result<String> {
    let key = entra.keys.active();
    let header = Header {
        typ: "JWT",
        alg: "RS256",
        kid: &key.kid,
    };
    let input = format!("{}.{}", encode(&header)?, encode(claims)?);
    let signature = key.sign(&input)?;
    Ok(format!("{input}.{signature}"))
}

fn sign_for_graph(entra: &Entra, claims: &impl Serialize) -> anyhow::Result<String> {
    let key = entra.keys.active();
    let header = GraphHeader {
        typ: "JWT".to_owned(),
        nonce: random::token::<32>(),
        alg: "RS256".to_owned(),
        kid: key.kid.clone(),
    };
    let (shown, claims) = (encode(&header)?, encode(claims)?);
    let signature = key.sign(&format!("{}.{claims}", encode(&header.signed())?))?;
    Ok(format!("{shown}.{claims}.{signature}"))
}

fn encode(part: &impl Serialize) -> anyhow::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part)?))
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
