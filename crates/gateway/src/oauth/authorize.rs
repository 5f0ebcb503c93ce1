//! `GET /authorize`: checks a request, and answers with the consent page.
//!
//! Nothing is kept of a request here: it waits in the form of its page, so that requests without end
//! take no place from others.
//!
//! Until client and redirect URI are known to belong together, an error is a page of our own and
//! never a redirect. From then on the client is told; but any visitor can register a website or the
//! scheme of an application, and until a user allowed it anything, a link here must not lead there
//! without a click (RFC 9700 section 4.11.2).
//!
//! A remembered consent skips the page only if the browser itself started the navigation, from
//! the address bar or because an application opened it: never when a web page sent it here. The
//! remembered user is compared after the sign-in. If another user signed in, the page appears.
//! A program on the user's computer can start such a navigation too, and listen at the loopback
//! redirect of a client that was allowed: signing in again without the page, which hosts need,
//! permits that to programs on that computer.

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

/// Tells the client why its request is not granted. One that was never allowed anything is told
/// only if the user follows a link, unless it is a program on this computer.
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

/// Returns the user whose consent may stand for the page.
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
