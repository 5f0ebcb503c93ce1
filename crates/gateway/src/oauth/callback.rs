//! `GET /oauth-callback`: Entra sends the browser back; the client gets its code.
//!
//! Invariant: nothing is issued in a browser that did not approve, and for nobody who did not
//! consent.

use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode, Uri};

use super::answer::App;
use super::authorize;
use super::parameters::Parameters;
use super::request::{AuthorizationRequest, Denial};
use super::sign_in::{self, Approval, SignIn};
use crate::cookies::Cookie;
use crate::crypto::{self, Digest, Purpose};
use crate::pages::PageError;
use crate::storage::{Code, Session, StoreError};
use crate::upstream::{self, SignedIn};

/// How long a code is good, in seconds.
const CODE_LIFE: u64 = 60;

pub(super) async fn callback(app: App, uri: Uri, headers: HeaderMap) -> Response {
    let parameters = match Parameters::parse(uri.query().unwrap_or_default().as_bytes()) {
        Ok(parameters) => parameters,
        Err(error) => return PageError::from(error).answer(&app, &headers),
    };
    match take(&app, &headers, &parameters).await {
        Ok(sign_in) => finish(&app, &headers, &parameters, sign_in).await,
        Err(error) => error.answer(&app, &headers),
    }
}

/// The sign-in that comes back, once, in the browser that approved it.
async fn take(
    app: &App,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<SignIn, PageError> {
    let state = Digest::of(parameters.require("state")?);
    let browser = app.cookies.read(&app.keys, Cookie::Approval, headers);
    let browser = Digest::of(&browser.ok_or(PageError::OtherBrowser)?);
    let taken = app.store.take_sign_in(state, browser, app.now()).await?;
    taken
        .and_then(|sealed| app.keys.open_json(Purpose::SignIn, &sealed))
        .ok_or(PageError::OtherBrowser)
}

async fn finish(
    app: &App,
    headers: &HeaderMap,
    parameters: &Parameters,
    sign_in: SignIn,
) -> Response {
    let SignIn {
        request,
        approval,
        pending,
    } = sign_in;
    let reply_to = request.reply_to.clone();
    let outcome = match code_of(app, parameters).await {
        Ok(code) => match app.entra.finish(&pending, code).await {
            Ok(signed_in) => grant(app, headers, request, approval, signed_in).await,
            Err(error) => {
                tracing::warn!(%error, "a sign-in failed");
                Err(sign_in::denial(&error))
            }
        },
        Err(denial) => Err(denial),
    };
    outcome.unwrap_or_else(|denial| reply_to.deny(&app.issuer, &denial))
}

/// Entra's code, if its answer is one and from the right issuer (RFC 9207).
async fn code_of<'a>(app: &App, parameters: &'a Parameters) -> Result<&'a str, Denial> {
    if let Some(named) = parameters.get("iss") {
        let issuer = app
            .entra
            .issuer()
            .await
            .map_err(|error| sign_in::denial(&error))?;
        if named != issuer && !issuer.contains("{tenantid}") {
            return Err(Denial::new(
                "server_error",
                "The answer is from another issuer",
            ));
        }
    }
    if let Some(error) = parameters.get("error") {
        let (error, text) = upstream::relayed(error, parameters.get("error_description"));
        tracing::info!(error, text, "the identity provider answered with an error");
        return Err(Denial::new(error, text));
    }
    parameters
        .get("code")
        .ok_or_else(|| Denial::new("server_error", "The identity provider sent no code"))
}

async fn grant(
    app: &App,
    headers: &HeaderMap,
    request: AuthorizationRequest,
    approval: Approval,
    signed_in: SignedIn,
) -> Result<Response, Denial> {
    let consent = match consent(app, &request, approval, &signed_in).await {
        Ok(Some(consent)) => consent,
        Ok(None) => {
            let page = authorize::ask(app, headers, &request, StatusCode::FOUND).await;
            return page.map_err(|error| unavailable(&error));
        }
        Err(error) => return Err(unavailable(&error)),
    };
    let person = app
        .cookies
        .set(&app.keys, Cookie::Person, &signed_in.person.id());
    let reply_to = request.reply_to.clone();
    let code = begin_session(app, request, consent, signed_in).await;
    let code = code.map_err(|error| unavailable(&error))?;
    let answer = reply_to.grant(&app.issuer, &code);
    Ok(([(SET_COOKIE, person)], answer).into_response())
}

/// The consent that covers the request of who signed in; `None` if they have to be asked.
async fn consent(
    app: &App,
    request: &AuthorizationRequest,
    approval: Approval,
    signed_in: &SignedIn,
) -> Result<Option<String>, StoreError> {
    let id = signed_in.person.id();
    let (key, scopes) = (request.consent_key(&id), request.scopes.clone());
    match approval {
        Approval::Given => {
            tracing::info!(person = id, client = request.client, server = %request.server, "consent");
            let person = signed_in.person.clone();
            app.store
                .record_consent(person, key, scopes, app.now())
                .await
                .map(Some)
        }
        Approval::Remembered { person } if person == id => {
            app.store.consent(key, scopes, app.now()).await
        }
        Approval::Remembered { .. } => Ok(None),
    }
}

/// Stores what was signed in to, and answers with the code for it.
async fn begin_session(
    app: &App,
    request: AuthorizationRequest,
    consent: String,
    signed_in: SignedIn,
) -> Result<String, StoreError> {
    let (id, code) = (crypto::id(), crypto::token());
    let expires_at = app.now() + CODE_LIFE;
    let session = Session {
        id: id.clone(),
        consent,
        upstream: app
            .keys
            .seal_json(Purpose::UpstreamTokens, &signed_in.tokens),
        upstream_expires_at: signed_in.tokens.expires_at,
        person: signed_in.person,
        client: request.client.clone(),
        server: request.server,
        scopes: request.scopes,
        expires_at,
    };
    let row = Code {
        digest: Digest::of(&code),
        session: id,
        client: request.client,
        redirect_uri: request.reply_to.redirect_uri,
        challenge: request.challenge,
        expires_at,
    };
    app.store.begin_session(session, row, app.now()).await?;
    Ok(code)
}

fn unavailable(error: &StoreError) -> Denial {
    tracing::error!(%error, "the store failed");
    Denial::new("temporarily_unavailable", "The gateway cannot answer now")
}
