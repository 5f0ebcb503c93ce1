//! Assertions that another issuer signs. Issuer, subject and audience must match one federated
//! credential of the registration.

use super::Claims;
use crate::app::App;
use crate::claims::jwt;
use crate::credential::FederatedCredential;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::scope::TOKEN_EXCHANGE_ID;

pub(super) fn check(
    entra: &Entra,
    app: &App,
    assertion: &str,
    claims: &Claims,
) -> Result<(), Fault> {
    let all = &app.federated_credentials;
    if all.is_empty() {
        return Err(Fault::NoFederatedCredential(app.client_id));
    }
    let by_issuer = |one: &&FederatedCredential| issuer(entra, one) == claims.iss;
    let by_subject = |one: &&FederatedCredential| one.subject == claims.sub;
    if !all.iter().any(|one| by_issuer(&one)) {
        return Err(Fault::FederatedIssuer(claims.iss.clone()));
    }
    let mut trusted = all.iter().filter(by_issuer).filter(by_subject).peekable();
    if trusted.peek().is_none() {
        return Err(Fault::FederatedSubject(claims.sub.clone()));
    }
    if !trusted.any(|one| is_for(one, &claims.aud)) {
        return Err(Fault::FederatedAudience(claims.aud.clone()));
    }
    jwt::read::<serde::de::IgnoredAny>(entra, assertion)
        .map(drop)
        .ok_or(Fault::AssertionKeyUnknown(app.client_id))
}

fn issuer(entra: &Entra, credential: &FederatedCredential) -> String {
    format!("{}/{}/v2.0", entra.base, credential.issuer)
}

/// Returns whether the audiences match. Tokens of the emulator contain the application id of the
/// recommended audience.
fn is_for(credential: &FederatedCredential, audience: &str) -> bool {
    credential.audience == audience
        || (credential.audience == FederatedCredential::AUDIENCE
            && audience.parse() == Ok(TOKEN_EXCHANGE_ID))
}
