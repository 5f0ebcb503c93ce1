//! `GET /authorize`: checks a request and responds with the consent page.
//!
//! The gateway stores nothing for a request. The request is in the form of its page, so that any
//! number of requests takes no space from others.
//!
//! Until it is known that the redirect URI belongs to the client, an error is a page of the gateway
//! and never a redirect. After that, the client gets the error. But any visitor can register a website
//! or the scheme of an application. As long as no user has consented to a client, a link here must not
//! lead there without a click (RFC 9700 §4.11.2).
//!
//! A stored consent skips the page only if the browser itself started the navigation, from the address
//! bar or because an application opened it, and never if a web page did. After the sign-in, the user
//! is compared with the stored one. If another user signed in, the page appears. A program on the
//! user's computer can start such a navigation too, and listen at the loopback redirect URI of a
//! client with a consent. Hosts need a repeated sign-in without the page, so this risk is accepted for
//! programs on that computer.

use axum::response::Response;
use http::{HeaderMap, Uri};

use super::consent::{self, Reason};
use super::cross_site;
use super::redirect_response::RedirectAfter;
use super::request::{AuthorizationRequest, ReplyTo};
use super::response::Gateway;
use super::sign_in::{self, Approval, Transaction};
use crate::cookies::Cookie;
use crate::denial::Denial;
use crate::pages::{Back, PageError};
use crate::parameters::Parameters;
use crate::redirect::Destination;
use crate::storage::{Client, StoreError};
use crate::visitors::Visitor;

pub(super) async fn authorize(
    gateway: Gateway,
    visitor: Visitor,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let parameters = match Parameters::parse(uri.query().unwrap_or_default().as_bytes()) {
        Ok(parameters) => parameters,
        Err(error) => return PageError::from(error).answer(&gateway, &headers),
    };
    match client(&gateway, &parameters).await {
        Ok(client) => for_client(&gateway, visitor, &headers, &parameters, &client).await,
        Err(error) => error.answer(&gateway, &headers),
    }
}

async fn client(gateway: &Gateway, parameters: &Parameters) -> Result<Client, PageError> {
    let id = parameters.require("client_id")?;
    gateway
        .store
        .client(id)
        .await?
        .ok_or(PageError::UnknownClient)
}

async fn for_client(
    gateway: &Gateway,
    visitor: Visitor,
    headers: &HeaderMap,
    parameters: &Parameters,
    client: &Client,
) -> Response {
    let Some((reply_to, registered)) = ReplyTo::find(parameters, client, &gateway.own_origin)
    else {
        return PageError::UnknownRedirect.answer(gateway, headers);
    };
    let to = (reply_to.clone(), registered);
    let request = match AuthorizationRequest::check(parameters, client, to, &gateway.servers) {
        Ok(request) => request,
        Err(denial) => return refuse(gateway, headers, client, &reply_to, denial),
    };
    match remembered(gateway, headers, &request).await {
        Ok(None) => consent::ask(gateway, headers, client, &request, Reason::Asked),
        Ok(Some(user)) => {
            let transaction = Transaction::without_form(gateway.now());
            let approval = Approval::Remembered { user };
            let sign_in = (transaction, request, approval);
            sign_in::begin(
                gateway,
                visitor,
                headers,
                sign_in,
                RedirectAfter::Navigation,
            )
            .await
        }
        Err(error) => {
            let denial = sign_in::unavailable(&error);
            refuse(gateway, headers, client, &reply_to, denial)
        }
    }
}

/// Reports to the client why its request is rejected. A client without any consent gets the error only
/// if the user follows a link, unless it is a program on this computer.
fn refuse(
    gateway: &Gateway,
    headers: &HeaderMap,
    client: &Client,
    reply_to: &ReplyTo,
    denial: Denial,
) -> Response {
    let place = match Destination::of(&reply_to.redirect_uri) {
        Destination::Website(place) | Destination::Application { place, .. } if !client.used => {
            place
        }
        Destination::Website(_)
        | Destination::ThisComputer(_)
        | Destination::Application { .. } => {
            return reply_to.deny(&gateway.issuer, &denial, RedirectAfter::Navigation);
        }
    };
    let url = reply_to.denial_url(&gateway.issuer, &denial);
    PageError::Denied(denial, Back { place, url }).answer(gateway, headers)
}

/// Returns the user whose stored consent may replace the page.
async fn remembered(
    gateway: &Gateway,
    headers: &HeaderMap,
    request: &AuthorizationRequest,
) -> Result<Option<String>, StoreError> {
    if request.must_ask || !cross_site::is_started_by_browser(headers) {
        return Ok(None);
    }
    let Some(user) = gateway.cookies.read(&gateway.keys, Cookie::User, headers) else {
        return Ok(None);
    };
    let key = request.consent_key(&user);
    let consent = gateway
        .store
        .consent(key, request.scopes.clone(), gateway.now())
        .await?;
    Ok(consent.map(|_| user))
}
