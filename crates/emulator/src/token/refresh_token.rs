//! `grant_type=refresh_token` (RFC 6749 §6). Like Entra, it returns a new refresh token each time
//! and does not revoke the old one. A token is bound to user and client, not to a resource.

use crate::app::App;
use crate::authority::Authority;
use crate::claims_request::ClaimsRequest;
use crate::endpoint::RequestKind;
use crate::entra::Entra;
use crate::fault::Fault;
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
    let token = parameters.secret("refresh_token");
    let token = token.ok_or(Fault::MissingParameter("refresh_token"))?;
    let grant = RefreshGrant::open(entra, &token)?;
    if grant.client_id != client.app.client_id {
        return Err(Fault::GrantOfOtherClient);
    }
    let member = entra.cloud.member(grant.session.user);
    let member = member.ok_or(Fault::UserDeleted)?;
    client.check_member(member)?;
    let authority = client.authority.for_tenant(member.tenant);
    let (oidc, requested) = scopes(authority, client.app, &grant, parameters)?;
    let attempt = client.attempt(RequestKind::Token, &requested, Some(&grant.session));
    entra.fault_rules.check(&attempt)?;
    entra
        .fault_rules
        .record_refresh_token_use(&grant.family, &grant.salt)?;
    Ok(TokenGrant {
        identity: client.identity(),
        subject: Subject::User(Box::new(SignedInUser {
            member,
            session: grant.session.clone(),
            oidc,
            nonce: None,
            refresh: Some(grant.rotate(entra.clock.unix())),
            client_info: parameters.wants_client_info(),
        })),
        requested,
        claims: ClaimsRequest::read(parameters)?,
    })
}

/// Returns the scopes of the first named resource. Without one, it returns those of the sign-in,
/// unless these name the client itself by its URI.
fn scopes<'e>(
    authority: Authority<'e>,
    app: &App,
    grant: &RefreshGrant,
    parameters: &Parameters,
) -> Result<(Oidc, ResourceScopes<'e>), Fault> {
    let resolve = |scope: &str, resource| Scopes::resolve(authority, app, scope, resource);
    let scope = parameters.optional("scope");
    let named = resolve(scope.unwrap_or_default(), parameters.optional("resource"))?;
    let granted = resolve(&grant.scope, grant.resource.as_deref())?;
    let oidc = if scope.is_some() {
        named.oidc
    } else {
        granted.oidc
    };
    if let Some(requested) = named.requested.into_iter().next() {
        return Ok((oidc, requested));
    }
    match granted.requested.into_iter().next() {
        Some(requested) if requested.is_self_by_uri(app) => {
            Err(Fault::SelfRequestByUri(app.client_id))
        }
        Some(requested) => Ok((oidc, requested)),
        None => Ok((oidc, ResourceScopes::userinfo())),
    }
}
