//! Who signed in: from the ID token, else from the userinfo endpoint, else nobody in particular.
//!
//! The ID token's signature is not checked: it comes straight from the token endpoint, over TLS
//! or loopback, which OpenID Connect Core 1.0 section 3.1.3.7 accepts in its place.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::{EndpointUrl, Issuer};
use serde::Deserialize;

use crate::account::{Account, AccountKey};
use crate::discovery::IssuerRule;
use crate::http::send;
use crate::secret::{AccessToken, IdToken, Nonce};

/// How far two clocks may differ, in seconds.
const LEEWAY: u64 = 5 * 60;

/// What an ID token is held against.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a IssuerRule,
    pub(super) client_id: &'a str,
    pub(super) nonce: Option<&'a Nonce>,
    pub(super) now: u64,
}

/// Why an ID token is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdTokenError {
    /// The clocks differ too much.
    Clock { off_by: Duration, behind: bool },
    /// It is not what it should be.
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
    person: Person,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What the claims tell about a person.
#[derive(Deserialize)]
struct Person {
    sub: String,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    tid: Option<String>,
    oid: Option<String>,
}

/// The account that an ID token speaks of.
pub(super) fn of_id_token(
    token: &IdToken,
    expected: &Expected<'_>,
) -> Result<Account, IdTokenError> {
    let claims = decode(token).ok_or(IdTokenError::Wrong("it cannot be read"))?;
    let tenant = claims.person.tid.as_deref();
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
    in_time(&claims, expected.now)?;
    let is_entra = tenant.is_some_and(|tenant| claims.iss.contains(tenant));
    let mut account = claims.person.account(Issuer::new(claims.iss));
    // Entra's `sub` is another one for each application.
    if let (true, Some(object_id)) = (is_entra, &account.object_id) {
        account.key.subject.clone_from(object_id);
    }
    Ok(account)
}

/// The account that the userinfo endpoint speaks of; `None` if it does not.
pub(super) async fn of_userinfo(
    http: &reqwest::Client,
    endpoint: &EndpointUrl,
    access: &AccessToken,
    issuer: Issuer,
) -> Option<Account> {
    let request = http
        .get(endpoint.url().clone())
        .header("accept", "application/json")
        .bearer_auth(access.expose());
    let told = match send(request).await {
        Ok(answer) if answer.status.is_success() => {
            serde_json::from_slice::<Person>(&answer.body.0).map_err(|error| error.to_string())
        }
        Ok(answer) => Err(format!("it answers {}", answer.status)),
        Err(fault) => Err(fault.to_string()),
    };
    match told {
        Ok(person) => Some(person.account(issuer)),
        Err(reason) => {
            tracing::warn!(
                endpoint = endpoint.shown(),
                reason,
                "nobody says who signed in"
            );
            None
        }
    }
}

/// The account where nobody says who signed in: known by what it opens.
pub(super) fn nameless(issuer: Issuer, audience: &str) -> Account {
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

fn in_time(claims: &Claims, now: u64) -> Result<(), IdTokenError> {
    // Entra dates its tokens back, so an old `iat` says nothing; a future one does.
    let behind = claims.iat.saturating_sub(now);
    let ahead = now.saturating_sub(claims.exp);
    let wrong = |off_by, behind| IdTokenError::Clock {
        off_by: Duration::from_secs(off_by),
        behind,
    };
    if behind > LEEWAY {
        return Err(wrong(behind, true));
    }
    if ahead > LEEWAY {
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

impl Person {
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

    use super::{Expected, IdTokenError, of_id_token};
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
        of_id_token(
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
    fn tells_who_signed_in() {
        let account = read(|_| {}).unwrap();
        assert_eq!(account.key.issuer.as_str(), "https://login.example/t1/v2.0");
        assert_eq!(account.key.subject, "o1");
        assert_eq!(account.name.as_deref(), Some("Alice"));
        assert_eq!(account.object_id.as_deref(), Some("o1"));
    }

    #[test]
    fn believes_only_what_was_meant_for_this_sign_in() {
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
    fn a_wrong_clock_is_told_apart() {
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
