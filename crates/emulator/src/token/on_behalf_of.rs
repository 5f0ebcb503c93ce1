//! `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer` with
//! `requested_token_use=on_behalf_of`: an API exchanges a user's token for one for another API (RFC
//! 7523).
//!
//! Rejects tokens for Graph and tokens of applications.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use uuid::Uuid;

use crate::claims::{BACKDATE, jwt};
use crate::claims_request::ClaimsRequest;
use crate::endpoint::RequestKind;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::parameters::Parameters;
use crate::refresh_grant::RefreshGrant;
use crate::scope::Scopes;
use crate::session::Session;
use crate::token::client::Client;
use crate::token_grant::{SignedInUser, Subject, TokenGrant};

/// The relevant claims of the token that the API received.
#[derive(Deserialize)]
struct Assertion {
    aud: String,
    tid: Uuid,
    oid: Uuid,
    iat: u64,
    exp: u64,
    /// Present only in users' tokens.
    scp: Option<String>,
    sid: Option<Uuid>,
}

pub(super) fn redeem<'e>(
    entra: &'e Entra,
    client: &Client<'e>,
    parameters: &Parameters,
) -> Result<TokenGrant<'e>, Fault> {
    match parameters.required("requested_token_use")? {
        "on_behalf_of" => {}
        other => return Err(Fault::UnsupportedTokenUse(other.to_owned())),
    }
    client.organisation_tenant()?;
    client.check_confidential()?;
    let assertion = parameters.secret("assertion");
    let assertion = assertion.ok_or(Fault::MissingParameter("assertion"))?;
    let session = Assertion::read(entra, &assertion, client)?;
    let member = entra.cloud.member(session.user).ok_or(Fault::UserDeleted)?;
    client.check_member(member)?;
    let scope = parameters.required("scope")?;
    let resource = parameters.optional("resource");
    let scopes = Scopes::resolve(client.authority, client.app, scope, resource)?;
    let (oidc, requested) = scopes.single_resource(scope)?;
    let requested = requested.ok_or(Fault::ScopeNeeded)?;
    let attempt = client.attempt(RequestKind::OnBehalfOf, &requested, Some(&session));
    entra.fault_rules.check(&attempt)?;
    let now = entra.clock.unix();
    let refresh = oidc
        .offline_access
        .then(|| RefreshGrant::new(client.app, &session, scope, resource, now));
    Ok(TokenGrant {
        identity: client.identity(),
        subject: Subject::User(Box::new(SignedInUser {
            member,
            session,
            oidc,
            nonce: None,
            refresh,
            client_info: parameters.wants_client_info(),
        })),
        requested,
        claims: ClaimsRequest::read(parameters)?,
    })
}

impl Assertion {
    /// Validates the token. Returns the session that it belongs to.
    fn read(entra: &Entra, token: &SecretString, client: &Client<'_>) -> Result<Session, Fault> {
        let claims: Self =
            jwt::read(entra, token.expose_secret()).ok_or(Fault::OboAssertionInvalidSignature)?;
        let own_id = client.app.client_id.to_string();
        if claims.aud != own_id && !client.app.app_id_uris.contains(&claims.aud) {
            return Err(Fault::OboAssertionAudienceMismatch(client.app.client_id));
        }
        if entra.clock.unix() >= claims.exp {
            return Err(Fault::OboAssertionExpired);
        }
        let (Some(_), Some(id)) = (claims.scp, claims.sid) else {
            return Err(Fault::OboAssertionOfApplication(client.app.client_id));
        };
        tracing::debug!(tenant = %claims.tid, "on behalf of a user");
        Ok(Session {
            id,
            user: claims.oid,
            authenticated_at: claims.iat + BACKDATE,
            persistent: false,
            second_factor: entra.fault_rules.has_second_factor(id),
        })
    }
}
