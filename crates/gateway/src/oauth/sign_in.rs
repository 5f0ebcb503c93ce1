//! Sends the browser to Entra after the user approved, and finds the sign-in when the browser returns.
//!
//! The data of a sign-in is sealed in a cookie that is named after the state sent to Entra. Only a
//! sign-in that is too long for a cookie is in the store. So any number of unfinished sign-ins takes
//! no space from others.
//!
//! Invariants: the state is random, made by the gateway, and valid for ten minutes. It is useless
//! without the cookie of the browser that approved. A transaction issues one code, no matter how often
//! its form is sent and its state returns.

use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::redirect_response::{RedirectAfter, redirect_to};
use super::request::{AuthorizationRequest, RequestError};
use super::response::Gateway;
use crate::cookies::Cookie;
use crate::crypto::{self, Digest, Purpose};
use crate::denial::Denial;
use crate::identity_provider::{IdentityProviderError, Pending};
use crate::pages::PageError;
use crate::storage::{Seconds, SpentTransaction, StoreError, StoredSignIn};
use crate::visitors::Visitor;

/// How long a user may take at Entra, in seconds.
const OPEN: Seconds = 10 * 60;

/// An authorization request, from the consent page to the code. It issues at most one code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Transaction {
    pub(super) id: String,
    /// When all its forms and cookies have expired.
    ends_at: Seconds,
}

impl Transaction {
    /// Creates a transaction whose form may be sent until `ends_at`.
    pub(super) fn with_form_until(expires_at: Seconds) -> Self {
        Self {
            id: crypto::id(),
            ends_at: expires_at + OPEN,
        }
    }

    /// Creates a transaction without a consent page.
    pub(super) fn without_form(now: Seconds) -> Self {
        Self::with_form_until(now)
    }

    /// Returns the record for the store. It is kept slightly longer than its forms and cookies are
    /// valid.
    pub(super) fn spent(self) -> SpentTransaction {
        SpentTransaction {
            id: self.id,
            expires_at: self.ends_at + OPEN,
        }
    }
}

/// Why a request may continue to Entra.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Approval {
    /// The user at the browser has just allowed it. The user who signs in thereby consents.
    Given,
    /// This user allowed it earlier. That counts only if the same user signs in.
    Remembered {
        #[serde(alias = "person")]
        /// The user's id.
        user: String,
    },
}

/// An approved request, as sealed in its cookie.
#[derive(Serialize, Deserialize)]
pub(super) struct SignIn {
    /// The state sent to Entra.
    state: String,
    expires_at: Seconds,
    /// Whether it is in the store.
    #[serde(skip)]
    is_stored: bool,
    pub(super) transaction: Transaction,
    pub(super) request: AuthorizationRequest,
    pub(super) approval: Approval,
    pub(super) pending: Pending,
}

/// Sends the browser to Entra.
pub(super) async fn begin(
    gateway: &Gateway,
    visitor: Visitor,
    headers: &HeaderMap,
    sign_in: (Transaction, AuthorizationRequest, Approval),
    after: RedirectAfter,
) -> Response {
    let reply_to = sign_in.1.reply_to.clone();
    match try_begin(gateway, visitor, headers, sign_in, after).await {
        Ok(response) => response,
        Err(RequestError::Page(error)) => error.answer(gateway, headers),
        Err(RequestError::Denied(denial)) => reply_to.deny(&gateway.issuer, &denial, after),
    }
}

async fn try_begin(
    gateway: &Gateway,
    visitor: Visitor,
    headers: &HeaderMap,
    (transaction, request, approval): (Transaction, AuthorizationRequest, Approval),
    after: RedirectAfter,
) -> Result<Response, RequestError> {
    let state = crypto::token();
    let expires_at = transaction.ends_at.min(gateway.now() + OPEN);
    let prompt = request.prompt.as_deref();
    let begun = gateway.entra.begin(&state.clone().into(), prompt).await;
    let (url, pending) = begun.map_err(|error| {
        tracing::error!(%error, "a sign-in could not begin");
        RequestError::Denied(denial(&error))
    })?;
    let sign_in = SignIn {
        state,
        expires_at,
        is_stored: false,
        transaction,
        request,
        approval,
        pending,
    };
    let cookie = keep(gateway, &visitor, headers, &sign_in).await?;
    Ok(([(SET_COOKIE, cookie)], redirect_to(after, &url)).into_response())
}

/// Stores a sign-in until the browser returns: in a cookie, or, if that would be too long, in the
/// store, for the browser that its cookie identifies.
async fn keep(
    gateway: &Gateway,
    visitor: &Visitor,
    headers: &HeaderMap,
    sign_in: &SignIn,
) -> Result<HeaderValue, RequestError> {
    let sealed = gateway.keys.seal_json(Purpose::SignIn, sign_in);
    let cookies = &gateway.cookies;
    if let Some(cookie) = cookies.set_sign_in(&sign_in.state, &sealed, OPEN, headers) {
        return Ok(cookie);
    }
    let counted = gateway.rates.stored_sign_ins.count(visitor);
    counted.map_err(|too_often| RequestError::Page(PageError::TooOften(too_often)))?;
    let browser = cookies.read(&gateway.keys, Cookie::Browser, headers);
    let browser = browser.unwrap_or_else(crypto::token);
    let row = StoredSignIn {
        state: Digest::of(&sign_in.state),
        browser: Digest::of(&browser),
        network: visitor.network,
        sealed,
        expires_at: sign_in.expires_at,
    };
    let stored = gateway.store.put_sign_in(row, gateway.now()).await;
    stored.map_err(|error| RequestError::Denied(unavailable(&error)))?;
    Ok(cookies.set(&gateway.keys, Cookie::Browser, &browser))
}

/// Returns the sign-in of a state, if this browser approved it and its transaction has issued no code
/// yet.
///
/// # Errors
///
/// The error page for any other state.
pub(super) async fn find(
    gateway: &Gateway,
    visitor: &Visitor,
    headers: &HeaderMap,
    state: &str,
) -> Result<SignIn, PageError> {
    let sign_in = match from_cookie(gateway, headers, state) {
        Some(sign_in) => sign_in,
        None => from_store(gateway, visitor, headers, state).await?,
    };
    // A state without a sign-in in this browser is not counted, because any web page can cause such a
    // request.
    let counted = gateway.rates.callbacks.count(visitor);
    counted.map_err(PageError::TooOften)?;
    match gateway.store.is_spent(&sign_in.transaction.id).await? {
        true => Err(PageError::OtherBrowser),
        false => Ok(sign_in),
    }
}

/// Claims a sign-in. This succeeds once.
///
/// # Errors
///
/// The error page for a sign-in that is already claimed.
pub(super) async fn claim(gateway: &Gateway, sign_in: &SignIn) -> Result<(), PageError> {
    let state = Digest::of(&sign_in.state);
    if !gateway
        .claims
        .claim(state, sign_in.expires_at, gateway.now())
    {
        return Err(PageError::OtherBrowser);
    }
    if sign_in.is_stored
        && let Err(error) = gateway.store.remove_sign_in(state).await
    {
        tracing::warn!(%error, "a finished sign-in could not be removed");
    }
    Ok(())
}

fn from_cookie(gateway: &Gateway, headers: &HeaderMap, state: &str) -> Option<SignIn> {
    let mut sealed = gateway.cookies.sign_ins(state, headers);
    sealed.find_map(|sealed| open(gateway, state, sealed))
}

async fn from_store(
    gateway: &Gateway,
    visitor: &Visitor,
    headers: &HeaderMap,
    state: &str,
) -> Result<SignIn, PageError> {
    let browser = gateway
        .cookies
        .read(&gateway.keys, Cookie::Browser, headers);
    let browser = Digest::of(&browser.ok_or(PageError::OtherBrowser)?);
    let counted = gateway.rates.stored_sign_ins.count(visitor);
    counted.map_err(PageError::TooOften)?;
    let found = gateway
        .store
        .sign_in(Digest::of(state), browser, gateway.now());
    let sealed = found.await?.ok_or(PageError::OtherBrowser)?;
    let sign_in = open(gateway, state, &sealed).ok_or(PageError::OtherBrowser)?;
    Ok(SignIn {
        is_stored: true,
        ..sign_in
    })
}

/// Opens a sign-in that belongs to this state and has not expired.
fn open(gateway: &Gateway, state: &str, sealed: &str) -> Option<SignIn> {
    let sign_in: SignIn = gateway.keys.open_json(Purpose::SignIn, sealed)?;
    (sign_in.state == state && gateway.now() < sign_in.expires_at).then_some(sign_in)
}

/// Returns the client's error if the store does not respond.
pub(super) fn unavailable(error: &StoreError) -> Denial {
    tracing::error!(%error, "the store failed");
    Denial::new("temporarily_unavailable", "The gateway cannot answer now")
}

/// Returns the client's error if Entra does not fulfil a request.
pub(super) fn denial(error: &IdentityProviderError) -> Denial {
    match error {
        IdentityProviderError::Unavailable(_) => Denial::new(
            "temporarily_unavailable",
            "The identity provider cannot be reached",
        ),
        IdentityProviderError::Rejected(error) => {
            let codes: String = error
                .error_codes
                .iter()
                .map(|code| format!(" (AADSTS{code})"))
                .collect();
            let text = format!("The identity provider refused the sign-in{codes}");
            Denial::new("access_denied", text)
        }
        IdentityProviderError::Over => Denial::new("access_denied", "The sign-in has ended"),
        IdentityProviderError::ForeignTenant => {
            Denial::new("access_denied", "Users of this tenant may not sign in here")
        }
        IdentityProviderError::Misconfigured(_) | IdentityProviderError::Untrusted(_) => {
            Denial::new(
                "server_error",
                "The sign-in failed; the gateway's log says why",
            )
        }
    }
}
