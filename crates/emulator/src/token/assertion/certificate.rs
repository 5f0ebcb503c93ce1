//! Assertions that the client signs itself with PS256 or RS256. The header names a certificate of
//! the registration by `x5t#S256` or, from older clients, by `x5t`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::Claims;
use crate::app::App;
use crate::authority::Authority;
use crate::claims::jwt::{self, Parts};
use crate::credential::Certificate;
use crate::entra::Entra;
use crate::fault::Fault;

/// Some clients pad thumbprints.
const THUMBPRINT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

pub(super) fn check(
    entra: &Entra,
    authority: Authority<'_>,
    app: &App,
    parts: Parts<'_>,
    claims: &Claims,
) -> Result<(), Fault> {
    let header: Header = jwt::decode(parts.header).ok_or(Fault::AssertionMalformed)?;
    let unknown = || Fault::AssertionKeyUnknown(app.client_id);
    let known = app
        .certificates
        .iter()
        .find(|one| header.names(one))
        .ok_or_else(unknown)?;
    let allowed = matches!(header.alg, Algorithm::PS256 | Algorithm::RS256);
    if !allowed || !known.verifies(header.alg, &parts.signed(), parts.signature) {
        return Err(unknown());
    }
    if claims.sub != claims.iss {
        return Err(Fault::AssertionSubjectMismatch(app.client_id));
    }
    if claims.jti.is_none() {
        return Err(Fault::AssertionMalformed);
    }
    if is_for_us(entra, authority, &claims.aud) {
        Ok(())
    } else {
        Err(Fault::AssertionAudienceMismatch)
    }
}

impl Header {
    fn names(&self, certificate: &Certificate) -> bool {
        match (&self.x5t_s256, &self.x5t) {
            (Some(thumbprint), _) => is(thumbprint, &certificate.sha256()),
            (None, Some(thumbprint)) => is(thumbprint, &certificate.sha1()),
            (None, None) => false,
        }
    }
}

fn is(thumbprint: &str, digest: &[u8]) -> bool {
    THUMBPRINT
        .decode(thumbprint)
        .is_ok_and(|bytes| bytes == digest)
}

/// Returns whether the audience is the token endpoint or the issuer of the requested authority.
fn is_for_us(entra: &Entra, authority: Authority<'_>, audience: &str) -> bool {
    let base = &entra.base;
    let segment = |path: &str| format!("{base}/{}{path}", authority.segment());
    [segment("/oauth2/v2.0/token"), segment("/v2.0")]
        .iter()
        .any(|ours| ours == audience)
}
