//! The consent page, on which a user allows or denies a request before the browser goes to Entra, and
//! `POST /consent`, which receives the decision.
//!
//! The form contains the sealed request, so the gateway stores nothing for it.
//!
//! Invariants: a form is accepted only from the gateway's own page, and only from the browser that the
//! page was made for. It expires, and is rejected after it has issued a code.

use axum::body::Body;
use axum::response::Response;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::cross_site;
use super::redirect_response::RedirectAfter;
use super::request::{AuthorizationRequest, RequestError};
use super::response::{self, Gateway, OAuthError};
use super::sign_in::{self, Approval, Transaction};
use crate::cookies::Cookie;
use crate::crypto::{self, Purpose};
use crate::denial::Denial;
use crate::pages::{self, ConsentPage, PageError};
use crate::parameters::Parameters;
use crate::redirect::Destination;
use crate::storage::{Client, Seconds};
use crate::visitors::Visitor;

/// How long a consent page may stay open, in seconds.
const OPEN: Seconds = 15 * 60;

/// The sealed content of a form.
#[derive(Serialize, Deserialize)]
struct Form {
    transaction: Transaction,
    /// The browser that the page was made for.
    browser: String,
    expires_at: Seconds,
    request: AuthorizationRequest,
}

/// Why a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The client requests it.
    Asked,
    /// Another user signed in than the one with the stored consent.
    OtherPerson,
    /// The user decided, but not in the browser that the page was made for, or in one that accepts no
    /// cookies.
    OtherBrowser,
}

/// Returns the page for a request. Its form is valid in this browser only.
pub(super) fn ask(
    gateway: &Gateway,
    headers: &HeaderMap,
    client: &Client,
    request: &AuthorizationRequest,
    reason: Reason,
) -> Response {
    let Some(server) = gateway.servers.get(request.server.as_str()) else {
        return PageError::Expired.answer(gateway, headers);
    };
    let browser = gateway
        .cookies
        .read(&gateway.keys, Cookie::Browser, headers);
    let browser = browser.unwrap_or_else(crypto::token);
    let cookie = gateway
        .cookies
        .set(&gateway.keys, Cookie::Browser, &browser);
    let expires_at = gateway.now() + OPEN;
    let form = Form {
        transaction: Transaction::with_form_until(expires_at),
        browser,
        expires_at,
        request: request.clone(),
    };
    let destination = Destination::of(&request.reply_to.redirect_uri);
    let form_action = format!(
        "'self' {} {}",
        gateway.entra_form_action,
        destination.csp_source()
    );
    let page = ConsentPage {
        gateway: &gateway.name,
        host: gateway.host(),
        server: &server.title,
        client_name: client
            .name
            .as_deref()
            .unwrap_or("An application without a name"),
        client_website: client.website.as_deref(),
        client_id: &client.id,
        destination: &destination,
        redirect_uri: &shortened(&request.reply_to.redirect_uri),
        scopes: &request.scopes,
        notice: reason.notice(),
        request: &gateway.keys.seal_json(Purpose::ConsentForm, &form),
    };
    let mut response = pages::html(StatusCode::OK, &page, &form_action);
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

impl Reason {
    /// Returns the notice on the page.
    fn notice(self) -> Option<&'static str> {
        match self {
            Self::Asked => None,
            Self::OtherPerson => Some(
                "You signed in with another account than last time. Please answer for this one.",
            ),
            Self::OtherBrowser => Some(
                "Your answer did not count: this page was opened in another browser, or at the same \
                 time as another page, or your browser keeps no cookies. Please answer again.",
            ),
        }
    }
}

/// `POST /consent`.
pub(super) async fn answer(
    gateway: Gateway,
    visitor: Visitor,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match ConsentDecision::read(&gateway, &headers, body).await {
        Ok(answer) => act(&gateway, visitor, &headers, answer).await,
        Err(error) => error.answer(&gateway, &headers),
    }
}

/// A form that was sent.
struct ConsentDecision {
    form: Form,
    allows: bool,
}

impl ConsentDecision {
    async fn read(gateway: &Gateway, headers: &HeaderMap, body: Body) -> Result<Self, PageError> {
        if !cross_site::is_own_form(headers, &gateway.issuer) {
            return Err(PageError::CrossSite);
        }
        let body = response::body(headers, "application/x-www-form-urlencoded", body).await;
        let body = body.map_err(|error: OAuthError| PageError::Form(error.status))?;
        let form = Parameters::parse(&body)?;
        let allows = match form.require("answer")? {
            "allow" => true,
            "deny" => false,
            _ => return Err(PageError::Form(StatusCode::BAD_REQUEST)),
        };
        let sealed = form.require("request")?;
        let form: Option<Form> = gateway.keys.open_json(Purpose::ConsentForm, sealed);
        let form = form.filter(|form| gateway.now() < form.expires_at);
        Ok(Self {
            form: form.ok_or(PageError::Expired)?,
            allows,
        })
    }
}

async fn act(
    gateway: &Gateway,
    visitor: Visitor,
    headers: &HeaderMap,
    answer: ConsentDecision,
) -> Response {
    let ConsentDecision { form, allows } = answer;
    let Form {
        transaction,
        request,
        ..
    } = form;
    let client = match request.confirm(gateway).await {
        Ok(client) => client,
        Err(RequestError::Page(error)) => return error.answer(gateway, headers),
        Err(RequestError::Denied(denial)) => {
            return request
                .reply_to
                .deny(&gateway.issuer, &denial, RedirectAfter::Form);
        }
    };
    let browser = gateway
        .cookies
        .read(&gateway.keys, Cookie::Browser, headers);
    if browser.as_deref() != Some(&*form.browser) {
        return ask(gateway, headers, &client, &request, Reason::OtherBrowser);
    }
    match gateway.store.is_spent(&transaction.id).await {
        Ok(false) => {}
        Ok(true) => return PageError::Expired.answer(gateway, headers),
        Err(error) => return PageError::from(error).answer(gateway, headers),
    }
    if !allows {
        let denial = Denial::new("access_denied", "The person said no");
        return request
            .reply_to
            .deny(&gateway.issuer, &denial, RedirectAfter::Form);
    }
    let sign_in = (transaction, request, Approval::Given);
    sign_in::begin(gateway, visitor, headers, sign_in, RedirectAfter::Form).await
}

/// Shortens a redirect URI to the space on the page. Its host comes first.
fn shortened(uri: &str) -> String {
    let mut text: String = uri.chars().take(160).collect();
    if text.len() < uri.len() {
        text.push('…');
    }
    text
}
