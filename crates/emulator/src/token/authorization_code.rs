//! `grant_type=authorization_code` (RFC 6749 §4.1.3, RFC 7636).

use crate::app::App;
use crate::authority::Authority;
use crate::claims_request::ClaimsRequest;
use crate::code::CodeGrant;
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
    let code = parameters.secret("code");
    let code = code.ok_or(Fault::MissingParameter("code"))?;
    let presented = parameters.required("redirect_uri")?;
    let verifier = parameters.secret("code_verifier");
    let now = entra.clock.unix();
    let (grant, (member, oidc, requested)) = entra.codes.redeem(&code, now, |grant| {
        if grant.client_id != client.app.client_id {
            return Err(Fault::GrantOfOtherClient);
        }
        if grant.redirect_uri != presented {
            return Err(Fault::RedirectChanged {
                presented: presented.to_owned(),
                issued: grant.redirect_uri.clone(),
            });
        }
        grant.verify(verifier.as_ref())?;
        let member = entra.cloud.member(grant.session.user);
        let member = member.ok_or(Fault::UserDeleted)?;
        if !client.authority.admits(member.tenant) {
            return Err(Fault::CodeOfOtherTenant);
        }
        let (oidc, requested) = scopes(
            client.authority.for_tenant(member.tenant),
            client.app,
            grant,
            parameters,
        )?;
        let attempt = client.attempt(RequestKind::Token, &requested, Some(&grant.session));
        entra.fault_rules.check(&attempt)?;
        Ok((member, oidc, requested))
    })?;
    let refresh = oidc
        .offline_access
        .then(|| RefreshGrant::from_code(client.app, &grant, now));
    Ok(TokenGrant {
        identity: client.identity(),
        subject: Subject::User(Box::new(SignedInUser {
            member,
            session: grant.session,
            oidc,
            nonce: grant.nonce,
            refresh,
            client_info: parameters.wants_client_info(),
        })),
        requested,
        claims: grant.claims.union(ClaimsRequest::read(parameters)?),
    })
}

/// Returns the scopes of the one resource that the tokens are for. The token request must name it
/// if the authorization request named several.
fn scopes<'e>(
    authority: Authority<'e>,
    client: &App,
    grant: &CodeGrant,
    parameters: &Parameters,
) -> Result<(Oidc, ResourceScopes<'e>), Fault> {
    let resolve = |scope: &str, resource| Scopes::resolve(authority, client, scope, resource);
    let authorized = resolve(&grant.scope, grant.resource.as_deref())?;
    let scope = parameters.optional("scope").unwrap_or_default();
    let named = resolve(scope, parameters.optional("resource"))?;
    let oidc = authorized.oidc.union(named.oidc);
    match (named.requested.as_slice(), authorized.requested.as_slice()) {
        ([one], _) | ([], [one]) => Ok((oidc, one.clone())),
        ([], []) => Ok((oidc, ResourceScopes::userinfo())),
        ([], _) => Err(Fault::ScopeNeeded),
        (_, _) => Err(Fault::SeveralResources(scope.to_owned())),
    }
}
