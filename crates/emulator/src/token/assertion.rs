//! `client_assertion`: a token instead of a client secret, signed with a certificate of the client
//! or by an issuer that the registration trusts (RFC 7523 §2.2).
//!
//! An assertion can be reused while it is valid, because MSAL caches it for some minutes. So `jti`
//! is required but not recorded.

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
/// The tolerated difference of other clocks in seconds.
const CLOCK_SKEW: f64 = 5.0 * 60.0;

/// An assertion that was not verified yet.
pub(super) struct Assertion(SecretString);

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    /// Numeric dates may have fractions (RFC 7519 §2), and MSAL for Python sends them.
    exp: f64,
    nbf: Option<f64>,
    jti: Option<String>,
}

impl Assertion {
    /// Reads the assertion. Returns `None` if the request has none.
    ///
    /// # Errors
    /// If the assertion type is missing or wrong.
    pub(super) fn read(parameters: &Parameters) -> Result<Option<Self>, Fault> {
        let Some(assertion) = parameters.secret("client_assertion") else {
            return Ok(None);
        };
        match parameters.required("client_assertion_type")? {
            TYPE => Ok(Some(Self(assertion))),
            _ => Err(Fault::MalformedRequest),
        }
    }

    /// Verifies the assertion.
    ///
    /// # Errors
    /// If it does not authenticate `app`.
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
