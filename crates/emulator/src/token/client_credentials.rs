//! `grant_type=client_credentials`: a token of the client itself, with the roles that an
//! administrator granted it (RFC 6749 §4.4).

use crate::claims;
use crate::claims_request::ClaimsRequest;
use crate::endpoint::RequestKind;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::parameters::Parameters;
use crate::scope::Scopes;
use crate::token::client::Client;
use crate::token_grant::{ApplicationSubject, Subject, TokenGrant};

pub(super) fn redeem<'e>(
    entra: &Entra,
    client: &Client<'e>,
    parameters: &Parameters,
) -> Result<TokenGrant<'e>, Fault> {
    let tenant = client.organisation_tenant()?;
    client.check_confidential()?;
    let scope = parameters.required("scope")?;
    let resource = parameters.optional("resource");
    let not_default = || Fault::ScopeNotDefault(scope.to_owned());
    if !scope.ends_with("/.default") {
        return Err(not_default());
    }
    let scopes = Scopes::resolve(client.authority, client.app, scope, resource)?;
    let requested = scopes
        .requested
        .into_iter()
        .next()
        .ok_or_else(not_default)?;
    let attempt = client.attempt(RequestKind::Token, &requested, None);
    entra.fault_rules.check(&attempt)?;
    Ok(TokenGrant {
        identity: client.identity(),
        subject: Subject::Application(ApplicationSubject {
            tenant,
            object_id: claims::service_principal(tenant, client.app.client_id),
        }),
        requested,
        claims: ClaimsRequest::read(parameters)?,
    })
}
