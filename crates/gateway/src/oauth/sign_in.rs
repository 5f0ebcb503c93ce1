//! The way to Entra, after a person approved, and back.
//!
//! What is needed when the browser comes back lies in a cookie of that browser, sealed and named after
//! the state sent to Entra; only what is too long for that is kept in the store. So sign-ins that
//! begin without end take no place from others.
//!
//! Invariants: the state is random, ours and good for ten minutes; it leads nowhere without the cookie
//! of the browser that approved; a transaction brings one code, however often its form is sent and its
//! state comes back.

use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::answer::App;
use super::redirect_response::{RedirectAfter, redirect_to};
use super::request::{AuthorizationRequest, Refused};
use crate::cookies::Cookie;
use crate::crypto::{self, Digest, Purpose};
use crate::denial::Denial;
use crate::pages::PageError;
use crate::storage::{Seconds, SpentTransaction, StoreError, StoredSignIn};
use crate::upstream::{Pending, UpstreamError};
use crate::visitors::Visitor;

/// How long a person may take at Entra, in seconds.
const OPEN: Seconds = 10 * 60;

/// An authorization request from the consent page to the code. It brings one code at most.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Transaction {
    pub(super) id: String,
    /// When every form and cookie of it has expired.
    ends_at: Seconds,
}

impl Transaction {
    /// One whose form may be sent until then.
    pub(super) fn with_form_until(expires_at: Seconds) -> Self {
        Self {
            id: crypto::id(),
            ends_at: expires_at + OPEN,
        }
    }

    /// One that goes on to Entra at once.
    pub(super) fn without_form(now: Seconds) -> Self {
        Self::with_form_until(now)
    }

    /// What the store notes of it: for a little longer than anything of it is good.
    pub(super) fn spent(self) -> SpentTransaction {
        SpentTransaction {
            id: self.id,
            expires_at: self.ends_at + OPEN,
        }
    }
}

/// Why a request may go on to Entra.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Approval {
    /// The person at the browser said yes just now; whoever signs in consents by that.
    Given,
    /// This person said yes before. It counts only if they are who signs in.
    Remembered {
        /// The person's id.
        person: String,
    },
}

/// An approved request on its way: the sealed content of its cookie.
#[derive(Serialize, Deserialize)]
pub(super) struct SignIn {
    /// The state sent to Entra.
    state: String,
    expires_at: Seconds,
    /// Whether it lies in the store.
    #[serde(skip)]
    is_stored: bool,
    pub(super) transaction: Transaction,
    pub(super) request: AuthorizationRequest,
    pub(super) approval: Approval,
    pub(super) pending: Pending,
}

/// Sends the browser to Entra.
pub(super) async fn begin(
    app: &App,
    visitor: Visitor,
    headers: &HeaderMap,
    sign_in: (Transaction, AuthorizationRequest, Approval),
    after: RedirectAfter,
) -> Response {
    let reply_to = sign_in.1.reply_to.clone();
    match try_begin(app, visitor, headers, sign_in, after).await {
        Ok(response) => response,
        Err(Refused::Page(error)) => error.answer(app, headers),
        Err(Refused::Denied(denial)) => reply_to.deny(&app.issuer, &denial, after),
    }
}

async fn try_begin(
    app: &App,
    visitor: Visitor,
    headers: &HeaderMap,
    (transaction, request, approval): (Transaction, AuthorizationRequest, Approval),
    after: RedirectAfter,
) -> Result<Response, Refused> {
    let state = crypto::token();
    let expires_at = transaction.ends_at.min(app.now() + OPEN);
    let prompt = request.prompt.as_deref();
    let begun = app.entra.begin(&state.clone().into(), prompt).await;
    let (url, pending) = begun.map_err(|error| {
        tracing::error!(%error, "a sign-in could not begin");
        Refused::Denied(denial(&error))
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
    let cookie = keep(app, &visitor, headers, &sign_in).await?;
    Ok(([(SET_COOKIE, cookie)], redirect_to(after, &url)).into_response())
}

/// Keeps a sign-in until the browser comes back: in a cookie, or, if that would be too long, in the
/// store, for the browser that its cookie names.
async fn keep(
    app: &App,
    visitor: &Visitor,
    headers: &HeaderMap,
    sign_in: &SignIn,
) -> Result<HeaderValue, Refused> {
    let sealed = app.keys.seal_json(Purpose::SignIn, sign_in);
    let cookies = &app.cookies;
    if let Some(cookie) = cookies.set_sign_in(&sign_in.state, &sealed, OPEN, headers) {
        return Ok(cookie);
    }
    let counted = app.rates.stored_sign_ins.count(visitor);
    counted.map_err(|too_often| Refused::Page(PageError::TooOften(too_often)))?;
    let browser = cookies.read(&app.keys, Cookie::Browser, headers);
    let browser = browser.unwrap_or_else(crypto::token);
    let row = StoredSignIn {
        state: Digest::of(&sign_in.state),
        browser: Digest::of(&browser),
        network: visitor.network,
        sealed,
        expires_at: sign_in.expires_at,
    };
    let stored = app.store.put_sign_in(row, app.now()).await;
    stored.map_err(|error| Refused::Denied(unavailable(&error)))?;
    Ok(cookies.set(&app.keys, Cookie::Browser, &browser))
}

/// Returns the sign-in that comes back with a state, if this is the browser that approved it and its
/// transaction has brought no code yet.
///
/// # Errors
/// The page for anything else.
pub(super) async fn find(
    app: &App,
    visitor: &Visitor,
    headers: &HeaderMap,
    state: &str,
) -> Result<SignIn, PageError> {
    let sign_in = match from_cookie(app, headers, state) {
        Some(sign_in) => sign_in,
        None => from_store(app, visitor, headers, state).await?,
    };
    // What is no sign-in of this browser is not counted: any web page can have it asked for.
    let counted = app.rates.callbacks.count(visitor);
    counted.map_err(PageError::TooOften)?;
    match app.store.is_spent(&sign_in.transaction.id).await? {
        true => Err(PageError::OtherBrowser),
        false => Ok(sign_in),
    }
}

/// Claims a sign-in, which can be done once.
///
/// # Errors
/// The page for one that was claimed before.
pub(super) async fn claim(app: &App, sign_in: &SignIn) -> Result<(), PageError> {
    let state = Digest::of(&sign_in.state);
    if !app.claims.claim(state, sign_in.expires_at, app.now()) {
        return Err(PageError::OtherBrowser);
    }
    if sign_in.is_stored
        && let Err(error) = app.store.remove_sign_in(state).await
    {
        tracing::warn!(%error, "a sign-in that came back could not be removed");
    }
    Ok(())
}

fn from_cookie(app: &App, headers: &HeaderMap, state: &str) -> Option<SignIn> {
    let mut sealed = app.cookies.sign_ins(state, headers);
    sealed.find_map(|sealed| open(app, state, sealed))
}

async fn from_store(
    app: &App,
    visitor: &Visitor,
    headers: &HeaderMap,
    state: &str,
) -> Result<SignIn, PageError> {
    let browser = app.cookies.read(&app.keys, Cookie::Browser, headers);
    let browser = Digest::of(&browser.ok_or(PageError::OtherBrowser)?);
    let counted = app.rates.stored_sign_ins.count(visitor);
    counted.map_err(PageError::TooOften)?;
    let found = app.store.sign_in(Digest::of(state), browser, app.now());
    let sealed = found.await?.ok_or(PageError::OtherBrowser)?;
    let sign_in = open(app, state, &sealed).ok_or(PageError::OtherBrowser)?;
    Ok(SignIn {
        is_stored: true,
        ..sign_in
    })
}

/// Opens a sign-in that belongs to this state and has not expired.
fn open(app: &App, state: &str, sealed: &str) -> Option<SignIn> {
    let sign_in: SignIn = app.keys.open_json(Purpose::SignIn, sealed)?;
    (sign_in.state == state && app.now() < sign_in.expires_at).then_some(sign_in)
}

/// What a client is told when the store does not answer.
pub(super) fn unavailable(error: &StoreError) -> Denial {
    tracing::error!(%error, "the store failed");
    Denial::new("temporarily_unavailable", "The gateway cannot answer now")
}

/// What a client is told when Entra does not do what was asked.
pub(super) fn denial(error: &UpstreamError) -> Denial {
    match error {
        UpstreamError::Unavailable(_) => Denial::new(
            "temporarily_unavailable",
            "The identity provider cannot be reached",
        ),
        UpstreamError::Rejected(error) => {
            let codes: String = error
                .error_codes
                .iter()
                .map(|code| format!(" (AADSTS{code})"))
                .collect();
            let text = format!("The identity provider refused the sign-in{codes}");
            Denial::new("access_denied", text)
        }
        UpstreamError::Over => Denial::new("access_denied", "The sign-in is over"),
        UpstreamError::ForeignTenant => {
            Denial::new("access_denied", "The person's tenant may not sign in here")
        }
        UpstreamError::Misconfigured(_) | UpstreamError::Untrusted(_) => Denial::new(
            "server_error",
            "The sign-in failed; the gateway's log says why",
        ),
    }
}
