//! `client_assertion` (RFC 7523 section 2.2): a token in place of a secret, signed by the client
//! with a certificate, or by an issuer that the registration trusts.
//!
//! An assertion may come again while it is valid, because MSAL keeps one for some minutes: `jti`
//! has to be there, and is not remembered.

mod certificate;
mod federated;

use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::app::App;
use crate::authority::Authority;
use crate::claims::jwt::{self, Parts};
use crate::entra::Entra;
use crate::fault::Fault;
use crate::parameters::Parameters;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How far the clocks of others may be off, in seconds.
const CLOCK_SKEW: f64 = 5.0 * 60.0;

/// An assertion that was read, and not believed yet.
pub(super) struct Assertion(SecretString);

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    /// Times are any numbers (RFC 7519 section 2), and MSAL for Python sends parts of seconds.
    exp: f64,
    nbf: Option<f64>,
    jti: Option<String>,
}

impl Assertion {
    /// # Errors
    /// If an assertion comes without its type, or with another one.
    pub(super) fn read(parameters: &Parameters) -> Result<Option<Self>, Fault> {
        let Some(assertion) = parameters.secret("client_assertion") else {
            return Ok(None);
        };
        match parameters.required("client_assertion_type")? {
            TYPE => Ok(Some(Self(assertion))),
            _ => Err(Fault::MalformedRequest),
        }
    }

    /// # Errors
    /// If it does not prove that the sender is `app`.
    pub(super) fn check(
        &self,
        entra: &Entra,
        authority: Authority<'_>,
        app: &App,
    ) -> Result<(), Fault> {
        let malformed = || Fault::AssertionMalformed;
        let parts = Parts::parse(self.0.expose_secret()).ok_or_else(malformed)?;
        let claims: Claims = jwt::decode(parts.claims).ok_or_else(malformed)?;
        if claims.iss == app.client_id.to_string() {
            certificate::check(entra, authority, app, parts, &claims)?;
        } else {
            federated::check(entra, app, self.0.expose_secret(), &claims)?;
        }
        let now = entra.clock.now().duration_since(SystemTime::UNIX_EPOCH);
        claims.check_time(now.unwrap_or_default())
    }
}

impl Claims {
    fn check_time(&self, now: Duration) -> Result<(), Fault> {
        let now = now.as_secs_f64();
        let begun = self.nbf.is_none_or(|begin| begin <= now + CLOCK_SKEW);
        if begun && now < self.exp + CLOCK_SKEW {
            Ok(())
        } else {
            Err(Fault::AssertionOutsideValidity)
        }
    }
}
