//! `grant_type=authorization_code` (RFC 6749 section 4.1.3, RFC 7636).

use crate::aadsts::Occasion;
use crate::app::App;
use crate::authority::Authority;
use crate::claims::request::ClaimsRequest;
use crate::code::CodeGrant;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::parameters::Parameters;
use crate::scope::{Asked, Oidc, Scopes};
use crate::token::client::Client;
use crate::token::issue::{Granted, Person, Subject};
use crate::token::refresh_token::RefreshGrant;

pub(super) fn redeem<'e>(
    entra: &'e Entra,
    client: &Client<'e>,
    parameters: &Parameters,
) -> Result<Granted<'e>, Fault> {
    let code = parameters.secret("code");
    let code = code.ok_or(Fault::MissingParameter("code"))?;
    let presented = parameters.required("redirect_uri")?;
    let verifier = parameters.secret("code_verifier");
    let now = entra.clock.unix();
    let (grant, (member, oidc, asked)) = entra.codes.redeem(&code, now, |grant| {
        if grant.client_id != client.app.client_id {
            return Err(Fault::ForeignGrant);
        }
        if grant.redirect_uri != presented {
            return Err(Fault::RedirectChanged {
                presented: presented.to_owned(),
                issued: grant.redirect_uri.clone(),
            });
        }
        grant.verify(verifier.as_ref())?;
        let member = entra.cloud.member(grant.session.user);
        let member = member.ok_or(Fault::UserGone)?;
        if !client.authority.admits(member.tenant) {
            return Err(Fault::CodeOfOtherTenant);
        }
        let (oidc, asked) = scopes(
            client.authority.at(member.tenant),
            client.app,
            grant,
            parameters,
        )?;
        let attempt = client.attempt(Occasion::Token, &asked, Some(&grant.session));
        entra.switches.check(&attempt)?;
        Ok((member, oidc, asked))
    })?;
    let refresh = oidc
        .offline_access
        .then(|| RefreshGrant::of_code(client.app, &grant, now));
    Ok(Granted {
        party: client.party(),
        subject: Subject::Person(Box::new(Person {
            member,
            session: grant.session,
            oidc,
            nonce: grant.nonce,
            refresh,
            client_info: parameters.wants_client_info(),
        })),
        asked,
        claims: grant.claims.or(ClaimsRequest::read(parameters)?),
    })
}

/// What the tokens are for: one resource, named here if the authorization named several.
fn scopes<'e>(
    authority: Authority<'e>,
    client: &App,
    grant: &CodeGrant,
    parameters: &Parameters,
) -> Result<(Oidc, Asked<'e>), Fault> {
    let resolve = |scope: &str, resource| Scopes::resolve(authority, client, scope, resource);
    let authorized = resolve(&grant.scope, grant.resource.as_deref())?;
    let scope = parameters.optional("scope").unwrap_or_default();
    let named = resolve(scope, parameters.optional("resource"))?;
    let oidc = authorized.oidc.or(named.oidc);
    match (named.asked.as_slice(), authorized.asked.as_slice()) {
        ([one], _) | ([], [one]) => Ok((oidc, one.clone())),
        ([], []) => Ok((oidc, Asked::userinfo())),
        ([], _) => Err(Fault::ScopeNeeded),
        (_, _) => Err(Fault::SeveralResources(scope.to_owned())),
    }
}
