//! `GET /oauth-callback`: Entra sends the browser back; the client gets its code.
//!
//! Invariants: nothing is issued in a browser that did not approve, and for no user who did not
//! consent. The cookie of the sign-in goes, whatever becomes of it.

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

/// How long a code is good, in seconds.
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
        // Nothing has happened yet, and the page may be loaded again.
        Err(error) if error.is_temporary() => return error.answer(&gateway, &headers),
        Err(error) => error.answer(&gateway, &headers),
    };
    if let Some(removal) = gateway.cookies.remove_sign_in(state) {
        response.headers_mut().append(SET_COOKIE, removal);
    }
    response
}

/// Goes on with the sign-in of a state, if there is one that may go on.
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
    // What was begun is not to be left half done if the browser goes away.
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

/// Entra's code, if its answer is one and from the right issuer (RFC 9207).
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
        tracing::info!(error, text, "the identity provider answered with an error");
        return Err(Denial::new(error, text));
    }
    parameters
        .get("code")
        .ok_or_else(|| Denial::new("server_error", "The identity provider sent no code"))
}

/// What a sign-in leads to.
enum Granted {
    Code(String),
    /// The user who signed in has to be asked.
    NoConsent,
    /// The transaction brought a code before.
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

/// Notes that sessions of a user have made room for another one.
fn record_ends(gateway: &Gateway, ended: &[String]) {
    for session in ended {
        tracing::info!(session, "a session ends: its person has too many");
        gateway.sessions.record_end(session);
    }
}

/// Stores what was signed in to, and returns the code for it; `None` if its transaction brought one
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
        upstream: gateway
            .keys
            .seal_json(Purpose::UpstreamTokens, &signed_in.tokens),
        upstream_expires_at: signed_in.tokens.expires_at,
        upstream_renew_at: signed_in.tokens.renew_at(gateway.now()),
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
