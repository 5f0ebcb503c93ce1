//! `GET` and `POST /consent`: the page on which a person allows or denies, before anything
//! leads to Entra.
//!
//! Invariants: a page answers only to the browser its request was made in; its form is taken
//! once, from a page of our own, with a token that was made for this browser and this request.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::answer::{self, App, OAuthError};
use super::cross_site;
use super::parameters::Parameters;
use super::redirect::Destination;
use super::request::{AuthorizationRequest, Denial};
use super::sign_in::{self, Approval};
use crate::cookies::Cookie;
use crate::crypto::{Digest, Purpose};
use crate::pages::{self, ConsentPage, PageError};

/// The sealed content of a form's token.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct FormToken {
    browser: String,
    request: String,
}

pub(super) async fn show(app: App, uri: Uri, headers: HeaderMap) -> Response {
    let page = render(&app, &uri, &headers).await;
    page.unwrap_or_else(|error| error.answer(&app, &headers))
}

pub(super) async fn answer(app: App, headers: HeaderMap, body: Body) -> Response {
    match Answer::read(&app, &headers, body).await {
        Ok(Answer::Allow(request)) => {
            sign_in::begin(
                &app,
                &headers,
                request,
                Approval::Given,
                StatusCode::SEE_OTHER,
            )
            .await
        }
        Ok(Answer::Deny(request)) => {
            let denial = Denial::new("access_denied", "The person said no");
            request.reply_to.deny_form(&app.issuer, &denial)
        }
        Err(error) => error.answer(&app, &headers),
    }
}

async fn render(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<Response, PageError> {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes())?;
    let id = parameters.require("request")?;
    let browser = browser(app, headers)?;
    let found = app
        .store
        .request(Digest::of(id), Digest::of(&browser), app.now())
        .await?;
    let request: AuthorizationRequest = found
        .and_then(|sealed| app.keys.open_json(Purpose::Request, &sealed))
        .ok_or(PageError::Expired)?;
    let client = app
        .store
        .client(&request.client)
        .await?
        .ok_or(PageError::UnknownClient)?;
    let server = app
        .servers
        .get(request.server.as_str())
        .ok_or(PageError::Expired)?;
    let destination = Destination::of(&request.reply_to.redirect_uri);
    let form_action = format!(
        "'self' {} {}",
        app.entra_form_action,
        destination.csp_source()
    );
    let token = FormToken {
        browser,
        request: id.to_owned(),
    };
    let page = ConsentPage {
        gateway: &app.name,
        host: app.host(),
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
        request: id,
        token: &app.keys.seal_json(Purpose::ConsentForm, &token),
    };
    Ok(pages::html(StatusCode::OK, &page, &form_action))
}

enum Answer {
    Allow(AuthorizationRequest),
    Deny(AuthorizationRequest),
}

impl Answer {
    async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Self, PageError> {
        if !cross_site::is_own_form(headers, &app.issuer) {
            return Err(PageError::CrossSite);
        }
        let body = answer::body(headers, "application/x-www-form-urlencoded", body).await;
        let body = body.map_err(|error: OAuthError| PageError::Form(error.status))?;
        let form = Parameters::parse(&body)?;
        let answer = match form.require("answer")? {
            "allow" => Self::Allow,
            "deny" => Self::Deny,
            _ => return Err(PageError::Form(StatusCode::BAD_REQUEST)),
        };
        let expected = FormToken {
            browser: browser(app, headers)?,
            request: form.require("request")?.to_owned(),
        };
        let token = form.require("token")?;
        let token: Option<FormToken> = app.keys.open_json(Purpose::ConsentForm, token);
        if token.as_ref() != Some(&expected) {
            return Err(PageError::Expired);
        }
        let (id, browser) = (Digest::of(&expected.request), Digest::of(&expected.browser));
        let taken = app.store.take_request(id, browser, app.now()).await?;
        let request = taken.and_then(|sealed| app.keys.open_json(Purpose::Request, &sealed));
        request.map(answer).ok_or(PageError::Expired)
    }
}

/// As much of a redirect URI as a page has room for; its host comes first.
fn shortened(uri: &str) -> String {
    let mut text: String = uri.chars().take(160).collect();
    if text.len() < uri.len() {
        text.push('…');
    }
    text
}

fn browser(app: &App, headers: &HeaderMap) -> Result<String, PageError> {
    let browser = app.cookies.read(&app.keys, Cookie::Browser, headers);
    browser.ok_or(PageError::Expired)
}
