//! `grant_type=urn:ietf:params:oauth:grant-type:device_code` (RFC 8628 section 3.4): a device asks
//! whether its person has signed in yet.

use crate::claims::request::ClaimsRequest;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::parameters::Parameters;
use crate::scope::{Asked, Scopes};
use crate::token::client::Client;
use crate::token::issue::{Granted, Person, Subject};
use crate::token::refresh_token::RefreshGrant;

pub(super) fn redeem<'e>(
    entra: &'e Entra,
    client: &Client<'e>,
    parameters: &Parameters,
) -> Result<Granted<'e>, Fault> {
    // Older clients call it `code`.
    let code = parameters
        .secret("device_code")
        .or_else(|| parameters.secret("code"))
        .ok_or(Fault::MissingParameter("device_code"))?;
    let now = entra.clock.unix();
    let (request, session) = entra.devices.redeem(&code, client.app.client_id, now)?;
    let member = entra.cloud.member(session.user).ok_or(Fault::UserGone)?;
    client.check_member(member)?;
    let (scope, resource) = (request.scope.as_str(), request.resource.as_deref());
    let authority = client.authority.at(member.tenant);
    let mut scopes = Scopes::resolve(authority, client.app, scope, resource)?;
    let asked = match scopes.asked.pop() {
        Some(_) if !scopes.asked.is_empty() => {
            return Err(Fault::SeveralResources(request.scope));
        }
        Some(asked) => asked,
        None => Asked::userinfo(),
    };
    let refresh = scopes
        .oidc
        .offline_access
        .then(|| RefreshGrant::first(client.app, &session, scope, resource, now));
    Ok(Granted {
        party: client.party(),
        subject: Subject::Person(Box::new(Person {
            member,
            session,
            oidc: scopes.oidc,
            nonce: None,
            refresh,
            client_info: parameters.wants_client_info(),
        })),
        asked,
        claims: ClaimsRequest::read(parameters)?,
    })
}
