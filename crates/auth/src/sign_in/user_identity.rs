//! Identifies the user who signed in: from the ID token, else from the userinfo endpoint, else by
//! the audience.
//!
//! Does not verify the ID token's signature: it comes directly from the token endpoint, over TLS
//! or loopback, which OpenID Connect Core 1.0 §3.1.3.7 accepts instead.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::{EndpointUrl, Issuer};
use serde::Deserialize;

use crate::account::{Account, AccountKey};
use crate::discovery::IssuerRule;
use crate::http::send;
use crate::secret::{AccessToken, IdToken, Nonce};

/// The tolerated difference of the clocks, in seconds.
const CLOCK_SKEW: u64 = 5 * 60;

/// The expected values of an ID token.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a IssuerRule,
    pub(super) client_id: &'a str,
    pub(super) nonce: Option<&'a Nonce>,
    pub(super) now: u64,
}

/// Why an ID token was rejected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdTokenError {
    /// The clocks differ too much.
    Clock { off_by: Duration, behind: bool },
    /// A claim has the wrong value.
    Wrong(&'static str),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: u64,
    iat: u64,
    nonce: Option<String>,
    #[serde(flatten)]
    user: UserClaims,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The claims about the user.
#[derive(Deserialize)]
struct UserClaims {
    sub: String,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    tid: Option<String>,
    oid: Option<String>,
}

/// Returns the account of an ID token.
pub(super) fn from_id_token(
    token: &IdToken,
    expected: &Expected<'_>,
) -> Result<Account, IdTokenError> {
    let claims = decode(token).ok_or(IdTokenError::Wrong("it cannot be read"))?;
    let tenant = claims.user.tid.as_deref();
    if !expected.issuer.admits_for(&claims.iss, tenant) {
        return Err(IdTokenError::Wrong("it is from another issuer"));
    }
    if !claims.aud.is_only(expected.client_id) {
        return Err(IdTokenError::Wrong("it is for another client"));
    }
    let same_nonce = match (expected.nonce, &claims.nonce) {
        (Some(nonce), Some(claimed)) => nonce.matches(claimed),
        (Some(_), None) => false,
        (None, _) => true,
    };
    if !same_nonce {
        return Err(IdTokenError::Wrong("it is from another sign-in"));
    }
    check_times(&claims, expected.now)?;
    let is_entra = tenant.is_some_and(|tenant| claims.iss.contains(tenant));
    let mut account = claims.user.account(Issuer::new(claims.iss));
    // Entra's `sub` differs between applications.
    if let (true, Some(object_id)) = (is_entra, &account.object_id) {
        account.key.subject.clone_from(object_id);
    }
    Ok(account)
}

/// Returns the account from the userinfo endpoint, or `None` if that fails.
pub(super) async fn from_userinfo(
    http: &reqwest::Client,
    endpoint: &EndpointUrl,
    access: &AccessToken,
    issuer: Issuer,
) -> Option<Account> {
    let request = http
        .get(endpoint.url().clone())
        .header("accept", "application/json")
        .bearer_auth(access.expose());
    let claims = match send(request).await {
        Ok(answer) if answer.status.is_success() => {
            serde_json::from_slice::<UserClaims>(&answer.body.0).map_err(|error| error.to_string())
        }
        Ok(answer) => Err(format!("it answers {}", answer.status)),
        Err(error) => Err(error.to_string()),
    };
    match claims {
        Ok(user) => Some(user.account(issuer)),
        Err(reason) => {
            tracing::warn!(
                endpoint = endpoint.shown(),
                reason,
                "the userinfo endpoint does not identify the user"
            );
            None
        }
    }
}

/// Returns an account for an unknown user, identified by the audience.
pub(super) fn unnamed_account(issuer: Issuer, audience: &str) -> Account {
    Account {
        key: AccountKey {
            issuer,
            subject: audience.to_owned(),
        },
        name: None,
        username: None,
        tenant: None,
        object_id: None,
    }
}

fn decode(token: &IdToken) -> Option<Claims> {
    let mut parts = token.expose().split('.');
    let (_, payload) = (parts.next()?, parts.next()?);
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn check_times(claims: &Claims, now: u64) -> Result<(), IdTokenError> {
    // Entra backdates its tokens, so an old `iat` says nothing. A future one does.
    let behind = claims.iat.saturating_sub(now);
    let ahead = now.saturating_sub(claims.exp);
    let wrong = |off_by, behind| IdTokenError::Clock {
        off_by: Duration::from_secs(off_by),
        behind,
    };
    if behind > CLOCK_SKEW {
        return Err(wrong(behind, true));
    }
    if ahead > CLOCK_SKEW {
        return Err(wrong(ahead, false));
    }
    Ok(())
}

impl Audience {
    fn is_only(&self, client_id: &str) -> bool {
        match self {
            Self::One(audience) => audience == client_id,
            Self::Many(audiences) => audiences.iter().eq([client_id]),
        }
    }
}

impl UserClaims {
    fn account(self, issuer: Issuer) -> Account {
        Account {
            key: AccountKey {
                issuer,
                subject: self.sub,
            },
            name: self.name,
            username: self.preferred_username.or(self.email),
            tenant: self.tid,
            object_id: self.oid,
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::{Expected, IdTokenError, from_id_token};
    use crate::account::Account;
    use crate::discovery::IssuerRule;
    use crate::secret::{IdToken, Nonce};

    const NOW: u64 = 1_000_000;

    fn read(change: impl FnOnce(&mut Value)) -> Result<Account, IdTokenError> {
        let mut claims = json!({
            "iss": "https://login.example/t1/v2.0", "aud": "client", "nonce": "n",
            "iat": NOW - 300, "exp": NOW + 3300,
            "sub": "s", "name": "Alice", "preferred_username": "alice@example.com",
            "tid": "t1", "oid": "o1",
        });
        change(&mut claims);
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        from_id_token(
            &IdToken::new(format!("e30.{payload}.c2ln")),
            &Expected {
                issuer: &IssuerRule::new("https://login.example/{tenantid}/v2.0"),
                client_id: "client",
                nonce: Some(&Nonce::new("n")),
                now: NOW,
            },
        )
    }

    #[test]
    fn id_token_names_account() {
        let account = read(|_| {}).unwrap();
        assert_eq!(account.key.issuer.as_str(), "https://login.example/t1/v2.0");
        assert_eq!(account.key.subject, "o1");
        assert_eq!(account.name.as_deref(), Some("Alice"));
        assert_eq!(account.object_id.as_deref(), Some("o1"));
    }

    #[test]
    fn id_token_with_wrong_claim_is_rejected() {
        for (name, value) in [
            ("iss", json!("https://login.example/t2/v2.0")),
            ("tid", json!("t2")),
            ("aud", json!("other")),
            ("aud", json!(["client", "other"])),
            ("nonce", json!("other")),
            ("nonce", Value::Null),
            ("sub", Value::Null),
        ] {
            let read = read(|claims| claims[name] = value.clone());
            assert!(
                matches!(read, Err(IdTokenError::Wrong(_))),
                "{name} {value}"
            );
        }
    }

    #[test]
    fn id_token_reveals_wrong_clock() {
        let clock = |change: fn(&mut Value)| match read(change) {
            Err(IdTokenError::Clock { off_by, behind }) => Some((off_by.as_secs(), behind)),
            _ => None,
        };
        assert_eq!(
            clock(|claims| claims["iat"] = json!(NOW + 301)),
            Some((301, true))
        );
        assert_eq!(
            clock(|claims| claims["exp"] = json!(NOW - 301)),
            Some((301, false))
        );
        assert_eq!(clock(|claims| claims["exp"] = json!(NOW - 300)), None);
    }
}
