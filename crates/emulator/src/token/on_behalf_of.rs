//! `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523) with
//! `requested_token_use=on_behalf_of`: an API that got a person's token gets one for another API.
//!
//! Tokens for Graph, and tokens of applications, are no input.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use uuid::Uuid;

use crate::aadsts::Occasion;
use crate::browser::Session;
use crate::claims::request::ClaimsRequest;
use crate::claims::{DATED_BACK, jwt};
use crate::entra::Entra;
use crate::fault::Fault;
use crate::parameters::Parameters;
use crate::scope::Scopes;
use crate::token::client::Client;
use crate::token::issue::{Granted, Person, Subject};
use crate::token::refresh_token::RefreshGrant;

/// What counts of the token that the client was called with.
#[derive(Deserialize)]
struct Assertion {
    aud: String,
    tid: Uuid,
    oid: Uuid,
    iat: u64,
    exp: u64,
    /// Only in tokens for persons.
    scp: Option<String>,
    sid: Option<Uuid>,
}

pub(super) fn redeem<'e>(
    entra: &'e Entra,
    client: &Client<'e>,
    parameters: &Parameters,
) -> Result<Granted<'e>, Fault> {
    match parameters.required("requested_token_use")? {
        "on_behalf_of" => {}
        other => return Err(Fault::UnsupportedTokenUse(other.to_owned())),
    }
    client.one_organisation()?;
    client.check_confidential()?;
    let assertion = parameters.secret("assertion");
    let assertion = assertion.ok_or(Fault::MissingParameter("assertion"))?;
    let session = Assertion::read(entra, &assertion, client)?;
    let member = entra.cloud.member(session.user).ok_or(Fault::UserGone)?;
    client.check_member(member)?;
    let scope = parameters.required("scope")?;
    let resource = parameters.optional("resource");
    let scopes = Scopes::resolve(client.authority, client.app, scope, resource)?;
    let (oidc, asked) = scopes.of_one(scope)?;
    let asked = asked.ok_or(Fault::ScopeNeeded)?;
    let attempt = client.attempt(Occasion::OnBehalfOf, &asked, Some(&session));
    entra.switches.check(&attempt)?;
    let now = entra.clock.unix();
    let refresh = oidc
        .offline_access
        .then(|| RefreshGrant::first(client.app, &session, scope, resource, now));
    Ok(Granted {
        party: client.party(),
        subject: Subject::Person(Box::new(Person {
            member,
            session,
            oidc,
            nonce: None,
            refresh,
            client_info: parameters.wants_client_info(),
        })),
        asked,
        claims: ClaimsRequest::read(parameters)?,
    })
}

impl Assertion {
    /// The sign-in that the token goes back to.
    fn read(entra: &Entra, token: &SecretString, client: &Client<'_>) -> Result<Session, Fault> {
        let claims: Self =
            jwt::read(entra, token.expose_secret()).ok_or(Fault::AssertedTokenForged)?;
        let own_id = client.app.client_id.to_string();
        if claims.aud != own_id && !client.app.app_id_uris.contains(&claims.aud) {
            return Err(Fault::AssertedTokenForAnother(client.app.client_id));
        }
        if entra.clock.unix() >= claims.exp {
            return Err(Fault::AssertedTokenExpired);
        }
        let (Some(_), Some(id)) = (claims.scp, claims.sid) else {
            return Err(Fault::AssertedTokenOfApplication(client.app.client_id));
        };
        tracing::debug!(tenant = %claims.tid, "on behalf of a person");
        Ok(Session {
            id,
            user: claims.oid,
            authenticated_at: claims.iat + DATED_BACK,
            persistent: false,
            second_factor: entra.switches.has_second_factor(id),
        })
    }
}
