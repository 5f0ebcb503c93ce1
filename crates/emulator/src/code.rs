//! Authorization codes. Each can be redeemed once, within ten minutes, by the client it was issued
//! to.
//!
//! Codes are stored as digests. They are the only state of a sign-in that the server stores.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::authorization_request::{AuthorizationRequest, Challenge, RedirectParameters};
use crate::claims_request::ClaimsRequest;
use crate::fault::Fault;
use crate::random;
use crate::session::Session;

/// The lifetime of a code in seconds.
const LIFETIME: u64 = 10 * 60;

/// What a user granted a client.
#[derive(Clone, Debug)]
pub(crate) struct CodeGrant {
    pub(crate) client_id: Uuid,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) resource: Option<String>,
    pub(crate) nonce: Option<String>,
    challenge: Option<Challenge>,
    pub(crate) claims: ClaimsRequest,
    pub(crate) session: Session,
}

impl CodeGrant {
    pub(crate) fn new(
        request: &AuthorizationRequest,
        redirect: &RedirectParameters,
        session: Session,
    ) -> Self {
        Self {
            client_id: request.client_id,
            redirect_uri: redirect.redirect_uri.clone(),
            scope: request.scope.clone(),
            resource: request.resource.clone(),
            nonce: redirect.nonce.clone(),
            challenge: redirect.challenge.clone(),
            claims: request.claims.clone(),
            session,
        }
    }

    /// Verifies the PKCE code verifier.
    ///
    /// # Errors
    /// If the challenge was not derived from `verifier`.
    pub(crate) fn verify(&self, verifier: Option<&SecretString>) -> Result<(), Fault> {
        let Some(challenge) = &self.challenge else {
            return Ok(());
        };
        let verifier = verifier.ok_or(Fault::VerifierMissing)?.expose_secret();
        let same = match challenge {
            Challenge::Plain(expected) => verifier.as_bytes().ct_eq(expected.as_bytes()),
            Challenge::S256(expected) => random::sha256(verifier)
                .as_bytes()
                .ct_eq(expected.as_bytes()),
        };
        if bool::from(same) {
            Ok(())
        } else {
            Err(Fault::VerifierMismatch)
        }
    }
}

/// The recently issued codes.
#[derive(Default)]
pub(crate) struct Codes(Mutex<HashMap<String, Entry>>);

struct Entry {
    issued_at: u64,
    state: State,
}

enum State {
    Issued(Box<CodeGrant>),
    Redeemed,
}

impl Codes {
    /// Issues a code for `grant`.
    pub(crate) fn issue(&self, grant: CodeGrant, now: u64) -> String {
        let code = format!("1.{}", random::token::<48>());
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Entries are kept for two lifetimes, so that a late client gets "expired", not
        // "malformed".
        codes.retain(|_, entry| now < entry.issued_at + 2 * LIFETIME);
        codes.insert(
            random::sha256(&code),
            Entry {
                issued_at: now,
                state: State::Issued(Box::new(grant)),
            },
        );
        code
    }

    /// Redeems `code` if `check` succeeds. If `check` fails, the client can try again.
    ///
    /// # Errors
    /// If the code is unknown, expired or redeemed, or if `check` fails.
    pub(crate) fn redeem<T>(
        &self,
        code: &SecretString,
        now: u64,
        check: impl FnOnce(&CodeGrant) -> Result<T, Fault>,
    ) -> Result<(CodeGrant, T), Fault> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = codes
            .get_mut(&random::sha256(code.expose_secret()))
            .ok_or(Fault::MalformedGrant)?;
        let State::Issued(grant) = &entry.state else {
            return Err(Fault::CodeRedeemed);
        };
        if now >= entry.issued_at + LIFETIME {
            return Err(Fault::CodeExpired);
        }
        let checked = check(grant)?;
        let grant = CodeGrant::clone(grant);
        entry.state = State::Redeemed;
        Ok((grant, checked))
    }
}
