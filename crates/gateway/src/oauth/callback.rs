//! `GET /oauth-callback`: Entra sends the browser back, and the client gets its code.
//!
//! Invariants: no code is issued in a browser that did not approve, or for a user who did not consent.
//! The cookie of the sign-in is deleted, whatever the outcome is.

use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, Uri};

use super::consent::{self, Reason};
use super::redirect_response::RedirectAfter;
use super::request::{AuthorizationRequest, RequestError};
use super::response::Gateway;
use super::sign_in::{self, Approval, SignIn, Transaction};
use crate::cookies::Cookie;
use crate::crypto::{self, Digest, Purpose};
use crate::denial::Denial;
use crate::identity_provider::{self, SignedIn};
use crate::pages::PageError;
use crate::parameters::Parameters;
use crate::storage::{Begun, Client, Code, Session, StoreError};
use crate::visitors::Visitor;

/// How long a code is valid, in seconds.
const CODE_LIFE: u64 = 60;

pub(super) async fn callback(
    gateway: Gateway,
    visitor: Visitor,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let parameters = match Parameters::parse(uri.query().unwrap_or_default().as_bytes()) {
        Ok(parameters) => parameters,
        Err(error) => return PageError::from(error).answer(&gateway, &headers),
    };
    let state = match parameters.require("state") {
        Ok(state) => state,
        Err(error) => return PageError::from(error).answer(&gateway, &headers),
    };
    let mut response = match resume(&gateway, &visitor, &headers, &parameters, state).await {
        Ok(response) => response,
        // Nothing has changed yet, so the page may be loaded again.
        Err(error) if error.is_temporary() => return error.answer(&gateway, &headers),
        Err(error) => error.answer(&gateway, &headers),
    };
    if let Some(removal) = gateway.cookies.remove_sign_in(state) {
        response.headers_mut().append(SET_COOKIE, removal);
    }
    response
}

/// Continues the sign-in of a state, if there is one that may continue.
async fn resume(
    gateway: &Gateway,
    visitor: &Visitor,
    headers: &HeaderMap,
    parameters: &Parameters,
    state: &str,
) -> Result<Response, PageError> {
    let sign_in = sign_in::find(gateway, visitor, headers, state).await?;
    let reply_to = sign_in.request.reply_to.clone();
    let deny = |denial: &Denial| reply_to.deny(&gateway.issuer, denial, RedirectAfter::Navigation);
    let client = match sign_in.request.confirm(gateway).await {
        Ok(client) => client,
        Err(RequestError::Page(error)) => return Err(error),
        Err(RequestError::Denied(denial)) => return Ok(deny(&denial)),
    };
    sign_in::claim(gateway, &sign_in).await?;
    let outcome = finish(gateway, headers, parameters, &client, sign_in).await;
    Ok(outcome.unwrap_or_else(|denial| deny(&denial)))
}

async fn finish(
    gateway: &Gateway,
    headers: &HeaderMap,
    parameters: &Parameters,
    client: &Client,
    sign_in: SignIn,
) -> Result<Response, Denial> {
    let code = code_of(gateway, parameters).await?;
    let signed_in = gateway.entra.finish(&sign_in.pending, code).await;
    let signed_in = signed_in.map_err(|error| {
        tracing::warn!(%error, "a sign-in failed");
        sign_in::denial(&error)
    })?;
    let request = sign_in.request.clone();
    let user = gateway
        .cookies
        .set(&gateway.keys, Cookie::User, &signed_in.user.id());
    // This must complete even if the browser disconnects.
    let granting = gateway
        .tasks
        .spawn(grant(gateway.clone(), sign_in, signed_in));
    let granted = granting.await.unwrap_or(Err(StoreError::Closed));
    match granted.map_err(|error| sign_in::unavailable(&error))? {
        Granted::Code(code) => {
            let answer = request.reply_to.grant(&gateway.issuer, &code);
            Ok(([(SET_COOKIE, user)], answer).into_response())
        }
        Granted::NoConsent => {
            let reason = Reason::OtherPerson;
            Ok(consent::ask(gateway, headers, client, &request, reason))
        }
        Granted::Spent => Ok(PageError::OtherBrowser.answer(gateway, headers)),
    }
}

/// Returns Entra's code, if the response has one and comes from the right issuer (RFC 9207).
async fn code_of<'a>(gateway: &Gateway, parameters: &'a Parameters) -> Result<&'a str, Denial> {
    if let Some(named) = parameters.get("iss") {
        let issuer = gateway
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
        let (error, text) = identity_provider::relayed(error, parameters.get("error_description"));
        tracing::info!(error, text, "the identity provider returned an error");
        return Err(Denial::new(error, text));
    }
    parameters
        .get("code")
        .ok_or_else(|| Denial::new("server_error", "The identity provider sent no code"))
}

/// The outcome of a sign-in.
enum Granted {
    Code(String),
    /// The user who signed in has to be asked for consent.
    NoConsent,
    /// The transaction has already issued a code.
    Spent,
}

async fn grant(
    gateway: Gateway,
    sign_in: SignIn,
    signed_in: SignedIn,
) -> Result<Granted, StoreError> {
    let SignIn {
        transaction,
        request,
        approval,
        ..
    } = sign_in;
    let Some(consent) = consent(&gateway, &request, approval, &signed_in).await? else {
        return Ok(Granted::NoConsent);
    };
    let code = begin_session(&gateway, request, consent, signed_in, transaction).await?;
    Ok(code.map_or(Granted::Spent, Granted::Code))
}

/// Returns the consent of the signed-in user that covers the request, or `None` if the user has to be
/// asked.
async fn consent(
    gateway: &Gateway,
    request: &AuthorizationRequest,
    approval: Approval,
    signed_in: &SignedIn,
) -> Result<Option<String>, StoreError> {
    let id = signed_in.user.id();
    let (key, scopes) = (request.consent_key(&id), request.scopes.clone());
    match approval {
        Approval::Given => {
            tracing::info!(user = id, client = request.client, server = %request.server, "consent");
            let user = signed_in.user.clone();
            let recorded = gateway
                .store
                .record_consent(user, key, scopes, gateway.now());
            let recorded = recorded.await?;
            record_ends(gateway, &recorded.ended);
            Ok(Some(recorded.id))
        }
        Approval::Remembered { user } if user == id => {
            gateway.store.consent(key, scopes, gateway.now()).await
        }
        Approval::Remembered { .. } => Ok(None),
    }
}

/// Records that sessions of a user ended in favour of another one.
fn record_ends(gateway: &Gateway, ended: &[String]) {
    for session in ended {
        tracing::info!(session, "a session ends: its user has too many");
        gateway.sessions.record_end(session);
    }
}

/// Stores the session and returns its code. Returns `None` if the transaction has issued a code
/// meanwhile.
async fn begin_session(
    gateway: &Gateway,
    request: AuthorizationRequest,
    consent: String,
    signed_in: SignedIn,
    transaction: Transaction,
) -> Result<Option<String>, StoreError> {
    let (id, code) = (crypto::id(), crypto::token());
    let expires_at = gateway.now() + CODE_LIFE;
    let session = Session {
        id: id.clone(),
        consent,
        provider_tokens: gateway
            .keys
            .seal_json(Purpose::ProviderTokens, &signed_in.tokens),
        provider_expires_at: signed_in.tokens.expires_at,
        provider_refresh_at: signed_in.tokens.refresh_at(gateway.now()),
        user: signed_in.user,
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
    let begun = gateway
        .store
        .begin_session(session, row, transaction.spent(), gateway.now())
        .await?;
    match begun {
        Begun::Session { ended } => {
            record_ends(gateway, &ended);
            Ok(Some(code))
        }
        Begun::Spent => Ok(None),
    }
}
