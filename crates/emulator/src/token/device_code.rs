//! `grant_type=urn:ietf:params:oauth:grant-type:device_code`: a device polls for the result of the
//! sign-in (RFC 8628 §3.4).

use crate::claims_request::ClaimsRequest;
use crate::cloud::Member;
use crate::device_codes::DeviceRequest;
use crate::endpoint::RequestKind;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::Attempt;
use crate::parameters::Parameters;
use crate::refresh_grant::RefreshGrant;
use crate::scope::{Oidc, ResourceScopes, Scopes};
use crate::token::client::Client;
use crate::token_grant::{SignedInUser, Subject, TokenGrant};

pub(super) fn redeem<'e>(
    entra: &'e Entra,
    client: &Client<'e>,
    parameters: &Parameters,
) -> Result<TokenGrant<'e>, Fault> {
    // Older clients name the parameter `code`.
    let code = parameters
        .secret("device_code")
        .or_else(|| parameters.secret("code"))
        .ok_or(Fault::MissingParameter("device_code"))?;
    let now = entra.clock.unix();
    // While the sign-in is pending, only rules without a user apply.
    let waiting = Attempt {
        kind: RequestKind::Token,
        client: client.app.client_id,
        resources: Vec::new(),
        session: None,
    };
    entra.fault_rules.check(&waiting)?;
    let (request, session, (member, oidc, requested)) =
        entra
            .devices
            .redeem(&code, client.app.client_id, now, |request, session| {
                let member = entra.cloud.member(session.user).ok_or(Fault::UserDeleted)?;
                client.check_member(member)?;
                let (oidc, requested) = scopes(client, member, request)?;
                let attempt = client.attempt(RequestKind::Token, &requested, Some(session));
                entra.fault_rules.check(&attempt)?;
                Ok((member, oidc, requested))
            })?;
    let (scope, resource) = (request.scope.as_str(), request.resource.as_deref());
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

/// Returns the scopes of the one resource that the tokens are for.
fn scopes<'e>(
    client: &Client<'e>,
    member: Member<'e>,
    request: &DeviceRequest,
) -> Result<(Oidc, ResourceScopes<'e>), Fault> {
    let authority = client.authority.for_tenant(member.tenant);
    let resource = request.resource.as_deref();
    let scopes = Scopes::resolve(authority, client.app, &request.scope, resource)?;
    let (oidc, requested) = scopes.single_resource(&request.scope)?;
    Ok((oidc, requested.unwrap_or_else(ResourceScopes::userinfo)))
}
