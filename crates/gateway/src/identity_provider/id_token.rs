//! The validation of an id token (OpenID Connect Core §3.1.3.7, and what Entra adds).

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::error::IdTokenError;
use super::keys::Key;
use crate::storage::Seconds;
use crate::user::User;

/// The tolerance for different clocks, in seconds.
const CLOCK_SKEW: Seconds = 60;
/// The placeholder for the tenant in the issuer of a multi-tenant authority.
const TENANT_ID: &str = "{tenantid}";

/// The claims that a token must have.
pub(super) struct Expected<'a> {
    /// The issuer, which may contain `{tenantid}`.
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// The tenants that may sign in. Empty if the issuer determines the tenant, which one with
    /// `{tenantid}` cannot.
    pub(super) allowed_tenants: &'a [String],
    pub(super) now: Seconds,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    azp: Option<String>,
    tid: String,
    oid: Option<String>,
    sub: String,
    exp: Seconds,
    nbf: Option<Seconds>,
    iat: Option<Seconds>,
    nonce: Option<String>,
    name: Option<String>,
    preferred_username: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn is_only(&self, client: &str) -> bool {
        match self {
            Self::One(one) => one == client,
            Self::Many(many) => many.iter().all(|one| one == client) && !many.is_empty(),
        }
    }
}

/// Returns the id of the key that a token names. Nothing else is read before the signature is
/// verified.
pub(super) fn key_id(token: &str) -> Result<String, IdTokenError> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| IdTokenError::Malformed)?;
    header
        .kid
        .filter(|_| header.alg == Algorithm::RS256)
        .ok_or(IdTokenError::Malformed)
}

/// Verifies the signature and the claims. Returns the user who signed in.
pub(super) fn check(token: &str, key: &Key, expected: &Expected<'_>) -> Result<User, IdTokenError> {
    // All other checks are below, with a clock that is an argument.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &validation);
    let claims = decoded.map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::Json(_) => IdTokenError::Malformed,
        _ => IdTokenError::Signature,
    })?;
    claims.claims.check(key.issuer.as_deref(), expected)
}

impl Claims {
    fn check(
        self,
        key_issuer: Option<&str>,
        expected: &Expected<'_>,
    ) -> Result<User, IdTokenError> {
        let of_tenant = |template: &str| template.replace(TENANT_ID, &self.tid);
        let plain = |id: &str| {
            !id.is_empty()
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !plain(&self.tid) {
            return Err(IdTokenError::Tenant);
        }
        if self.iss != of_tenant(expected.issuer) || !self.iss.contains(&format!("/{}/", self.tid))
        {
            return Err(IdTokenError::Issuer);
        }
        if key_issuer.is_some_and(|issuer| self.iss != of_tenant(issuer)) {
            return Err(IdTokenError::KeyIssuer);
        }
        if !self.aud.is_only(expected.client_id)
            || self
                .azp
                .as_deref()
                .is_some_and(|azp| azp != expected.client_id)
        {
            return Err(IdTokenError::Audience);
        }
        let decided = expected.allowed_tenants.is_empty() && !expected.issuer.contains(TENANT_ID);
        let is_allowed = |allowed: &String| allowed.eq_ignore_ascii_case(&self.tid);
        if !decided && !expected.allowed_tenants.iter().any(is_allowed) {
            return Err(IdTokenError::Tenant);
        }
        if self.exp.saturating_add(CLOCK_SKEW) <= expected.now {
            return Err(IdTokenError::Expired);
        }
        if self
            .nbf
            .max(self.iat)
            .is_some_and(|start| start > expected.now + CLOCK_SKEW)
        {
            return Err(IdTokenError::Early);
        }
        if self.nonce.as_deref() != Some(expected.nonce) {
            return Err(IdTokenError::Nonce);
        }
        let oid = self.oid.unwrap_or(self.sub);
        if !plain(&oid) {
            return Err(IdTokenError::Malformed);
        }
        Ok(User {
            tid: self.tid,
            oid,
            name: self.name,
            preferred_username: self.preferred_username,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Seconds = 1_700_000_000;
    const ISSUER: &str = "https://login.example/t-1/v2.0";

    fn expected(issuer: &str) -> Expected<'_> {
        Expected {
            issuer,
            client_id: "gateway",
            nonce: "n",
            allowed_tenants: &[],
            now: NOW,
        }
    }

    fn claims(change: &serde_json::Value) -> Claims {
        let mut claims = serde_json::json!({
            "iss": ISSUER, "aud": "gateway", "tid": "t-1", "oid": "o-1", "sub": "s",
            "exp": NOW + 3600, "nbf": NOW, "iat": NOW, "nonce": "n", "name": "Ada",
        });
        let fields = claims.as_object_mut().unwrap();
        for (name, value) in change.as_object().unwrap() {
            fields.insert(name.clone(), value.clone());
        }
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn t21_t80_id_token_with_wrong_claim_is_rejected() {
        use serde_json::json;
        for (change, outcome) in [
            (json!({}), Ok("t-1.o-1")),
            (json!({"oid": null}), Ok("t-1.s")),
            (json!({"aud": ["gateway"]}), Ok("t-1.o-1")),
            (json!({"azp": "gateway"}), Ok("t-1.o-1")),
            (json!({"exp": NOW - 59}), Ok("t-1.o-1")),
            (json!({"exp": NOW - 600}), Err(IdTokenError::Expired)),
            (json!({"nbf": NOW + 60}), Ok("t-1.o-1")),
            (json!({"nbf": NOW + 600}), Err(IdTokenError::Early)),
            (json!({"iat": NOW + 600}), Err(IdTokenError::Early)),
            (
                json!({"iss": "https://login.example/t-2/v2.0"}),
                Err(IdTokenError::Issuer),
            ),
            (
                json!({"iss": "https://login.example/t-1/v2.0/"}),
                Err(IdTokenError::Issuer),
            ),
            (json!({"tid": "t-2"}), Err(IdTokenError::Issuer)),
            (json!({"tid": ""}), Err(IdTokenError::Tenant)),
            (json!({"tid": "../t"}), Err(IdTokenError::Tenant)),
            (json!({"aud": "other"}), Err(IdTokenError::Audience)),
            (json!({"aud": []}), Err(IdTokenError::Audience)),
            (
                json!({"aud": ["gateway", "other"]}),
                Err(IdTokenError::Audience),
            ),
            (json!({"azp": "other"}), Err(IdTokenError::Audience)),
            (json!({"nonce": "m"}), Err(IdTokenError::Nonce)),
            (json!({"nonce": null}), Err(IdTokenError::Nonce)),
            (json!({"oid": "a b\r\n"}), Err(IdTokenError::Malformed)),
        ] {
            let text = change.to_string();
            let user = claims(&change)
                .check(None, &expected(ISSUER))
                .map(|user| user.id());
            assert_eq!(user.as_deref().map_err(|e| *e), outcome, "{text}");
        }
    }

    #[test]
    fn d29_shared_authority_accepts_only_allowed_tenants() {
        let shared = "https://login.example/{tenantid}/v2.0";
        let (own, other) = (["t-1".to_owned()], ["t-2".to_owned()]);
        for (allowed_tenants, outcome) in [
            (&own[..], Ok(())),
            (&other, Err(IdTokenError::Tenant)),
            (&[], Err(IdTokenError::Tenant)),
        ] {
            let expected = Expected {
                allowed_tenants,
                ..expected(shared)
            };
            let checked = claims(&serde_json::json!({})).check(None, &expected);
            assert_eq!(checked.map(drop), outcome, "{allowed_tenants:?}");
        }
    }

    #[test]
    fn key_of_another_issuer_is_rejected() {
        let check = |issuer| claims(&serde_json::json!({})).check(Some(issuer), &expected(ISSUER));
        assert!(check(ISSUER).is_ok());
        assert!(check("https://login.example/{tenantid}/v2.0").is_ok());
        assert_eq!(
            check("https://login.example/t-9/v2.0").unwrap_err(),
            IdTokenError::KeyIssuer
        );
    }

    #[test]
    fn t52_algorithm_other_than_rs256_is_rejected() {
        use base64::Engine as _;
        let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        for header in [
            r#"{"alg":"none","kid":"k"}"#,
            r#"{"alg":"HS256","kid":"k"}"#,
            r#"{"alg":"ES256","kid":"k"}"#,
            r#"{"alg":"RS256"}"#,
            "{}",
        ] {
            let token = format!("{}.{}.{}", part(header), part("{}"), part("x"));
            assert_eq!(key_id(&token), Err(IdTokenError::Malformed), "{header}");
        }
    }
}
