//! `GET /authorize`: checks a request, keeps it, and sends the browser to the consent page.
//!
//! Until client and redirect URI are known to belong together, an error is a page of our own and
//! never a redirect. From then on the client is told; but anybody can register a website, and
//! until somebody allowed it anything, a link here must not lead there without a click (RFC 9700
//! section 4.11.2).
//!
//! A remembered consent skips the page only if the browser itself started the navigation, from
//! the address bar or because an application opened it: never when a web page sent it here. Who
//! the remembered person is gets checked after the sign-in; for anybody else the page appears.
//! A program on the person's computer can start such a navigation too, and listen at the loopback
//! redirect of a client that was allowed: signing in again without the page, which hosts need,
//! leaves that to whoever runs programs there.

use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode, Uri};

use super::answer::App;
use super::cross_site;
use super::parameters::Parameters;
use super::redirect::Destination;
use super::request::{AuthorizationRequest, Denial, ReplyTo, see};
use super::sign_in::{self, Approval};
use crate::cookies::Cookie;
use crate::crypto::{self, Digest, Purpose};
use crate::pages::{Back, PageError};
use crate::storage::{Client, StoredRequest};

/// How long a consent page may stay open, in seconds.
const OPEN: u64 = 15 * 60;

pub(super) async fn authorize(app: App, uri: Uri, headers: HeaderMap) -> Response {
    let parameters = match Parameters::parse(uri.query().unwrap_or_default().as_bytes()) {
        Ok(parameters) => parameters,
        Err(error) => return PageError::from(error).answer(&app, &headers),
    };
    match client(&app, &parameters).await {
        Ok(client) => for_client(&app, &headers, &parameters, &client).await,
        Err(error) => error.answer(&app, &headers),
    }
}

async fn client(app: &App, parameters: &Parameters) -> Result<Client, PageError> {
    let id = parameters.require("client_id")?;
    app.store.client(id).await?.ok_or(PageError::UnknownClient)
}

async fn for_client(
    app: &App,
    headers: &HeaderMap,
    parameters: &Parameters,
    client: &Client,
) -> Response {
    let Some((reply_to, registered)) = ReplyTo::find(parameters, client) else {
        return PageError::UnknownRedirect.answer(app, headers);
    };
    let to = (reply_to.clone(), registered);
    match AuthorizationRequest::check(parameters, client, to, &app.servers) {
        Ok(request) => go_on(app, headers, request).await,
        Err(denial) => match Destination::of(&reply_to.redirect_uri) {
            Destination::Website(host) if !client.used => {
                let back = reply_to.denial_url(&app.issuer, &denial);
                PageError::Denied(denial, Back { host, url: back }).answer(app, headers)
            }
            Destination::Website(_)
            | Destination::ThisComputer(_)
            | Destination::Application { .. } => reply_to.deny(&app.issuer, &denial),
        },
    }
}

async fn go_on(app: &App, headers: &HeaderMap, request: AuthorizationRequest) -> Response {
    let reply_to = request.reply_to.clone();
    let outcome = match remembered(app, headers, &request).await {
        Ok(Some(person)) => {
            let approval = Approval::Remembered { person };
            return sign_in::begin(app, headers, request, approval, StatusCode::FOUND).await;
        }
        Ok(None) => ask(app, headers, &request, StatusCode::FOUND).await,
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        tracing::error!(%error, "the store failed");
        let denial = Denial::new("temporarily_unavailable", "The gateway cannot answer now");
        reply_to.deny(&app.issuer, &denial)
    })
}

/// The person whose consent may stand for the page.
async fn remembered(
    app: &App,
    headers: &HeaderMap,
    request: &AuthorizationRequest,
) -> Result<Option<String>, crate::storage::StoreError> {
    if request.must_ask || !cross_site::is_started_by_browser(headers) {
        return Ok(None);
    }
    let Some(person) = app.cookies.read(&app.keys, Cookie::Person, headers) else {
        return Ok(None);
    };
    let key = request.consent_key(&person);
    let consent = app
        .store
        .consent(key, request.scopes.clone(), app.now())
        .await?;
    Ok(consent.map(|_| person))
}

/// Keeps the request and sends the browser to the consent page, which answers only to it.
pub(super) async fn ask(
    app: &App,
    headers: &HeaderMap,
    request: &AuthorizationRequest,
    status: StatusCode,
) -> Result<Response, crate::storage::StoreError> {
    let browser = app.cookies.read(&app.keys, Cookie::Browser, headers);
    let browser = browser.unwrap_or_else(crypto::token);
    let id = crypto::token();
    let row = StoredRequest {
        id: Digest::of(&id),
        browser: Digest::of(&browser),
        sealed: app.keys.seal_json(Purpose::Request, request),
        expires_at: app.now() + OPEN,
    };
    app.store.put_request(row).await?;
    let cookie = app.cookies.set(&app.keys, Cookie::Browser, &browser);
    let url = format!("{}/consent?request={id}", app.issuer);
    Ok(([(SET_COOKIE, cookie)], see(status, &url)).into_response())
}
