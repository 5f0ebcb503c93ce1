//! A validated authorization request (RFC 6749 §4.1.1, with PKCE and a resource).

use axum::response::Response;
use model::ServerName;
use serde::{Deserialize, Serialize};

use super::redirect_response::{RedirectAfter, redirect_to};
use super::response::Gateway;
use crate::denial::Denial;
use crate::pages::PageError;
use crate::parameters::{Parameters, append};
use crate::redirect::{self, OwnOrigin};
use crate::scope::{self, Scopes};
use crate::servers::Servers;
use crate::storage::{Client, ConsentKey};

/// The maximum length of a client's `state`, in bytes.
const MAX_STATE: usize = 4096;

/// Where the response to a request is sent. It is determined first, so that the client can get every
/// later error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReplyTo {
    /// The redirect URI of the request.
    pub(super) redirect_uri: String,
    state: Option<String>,
}

/// A request that is granted if the user consents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AuthorizationRequest {
    pub(super) reply_to: ReplyTo,
    pub(super) client: String,
    /// The registered URI that matches the redirect URI.
    pub(super) registered_redirect: String,
    /// The PKCE challenge, always S256.
    pub(super) challenge: String,
    pub(super) server: ServerName,
    pub(super) scopes: Scopes,
    /// The part of `prompt` that is sent to Entra.
    pub(super) prompt: Option<String>,
    /// Whether the user must be asked despite a stored consent.
    pub(super) must_ask: bool,
}

/// Why a sealed request does not continue.
pub(super) enum RequestError {
    /// The client is unknown, or may not get the error: shows a page.
    Page(PageError),
    /// The client gets the error.
    Denied(Denial),
}

impl ReplyTo {
    /// Finds where to send the response. Returns `None` if the client has not registered the redirect
    /// URI, or if it is at the gateway.
    pub(super) fn find<'a>(
        parameters: &Parameters,
        client: &'a Client,
        own: &OwnOrigin,
    ) -> Option<(Self, &'a str)> {
        let asked = parameters.get("redirect_uri")?;
        let registered = redirect::find(&client.redirect_uris, asked)?;
        // The port may differ from the registered one, and clients of earlier releases were not
        // checked.
        if redirect::check(asked, own).is_err() {
            return None;
        }
        let reply_to = Self {
            redirect_uri: asked.to_owned(),
            state: parameters.get("state").map(str::to_owned),
        };
        Some((reply_to, registered))
    }

    /// Sends the browser back with a code (RFC 6749 section 4.1.2).
    pub(super) fn grant(&self, issuer: &str, code: &str) -> Response {
        let url = self.url(issuer, &[("code", code)]);
        redirect_to(RedirectAfter::Navigation, &url)
    }

    /// Sends the browser back with an error (RFC 6749 section 4.1.2.1).
    pub(super) fn deny(&self, issuer: &str, denial: &Denial, after: RedirectAfter) -> Response {
        redirect_to(after, &self.denial_url(issuer, denial))
    }

    /// Returns where [`Self::deny`] sends the browser.
    pub(super) fn denial_url(&self, issuer: &str, denial: &Denial) -> String {
        let what = [
            ("error", denial.error),
            ("error_description", &*denial.description),
        ];
        self.url(issuer, &what)
    }

    fn url(&self, issuer: &str, what: &[(&str, &str)]) -> String {
        let mut parameters = what.to_vec();
        parameters.extend(self.state.iter().map(|state| ("state", state.as_str())));
        parameters.push(("iss", issuer));
        append(&self.redirect_uri, &parameters)
    }
}

impl AuthorizationRequest {
    /// Validates everything except the client and its redirect URI, which are already validated.
    pub(super) fn check(
        parameters: &Parameters,
        client: &Client,
        (reply_to, registered): (ReplyTo, &str),
        servers: &Servers,
    ) -> Result<Self, Denial> {
        check_shape(parameters)?;
        let challenge = check_challenge(parameters)?;
        let server = match parameters.get("resource") {
            Some(resource) => servers.of_resource(resource),
            None => servers.default(),
        };
        let server = server.ok_or_else(|| {
            Denial::new(
                "invalid_target",
                "The resource is not one of this gateway's servers",
            )
        })?;
        let asked = Scopes::from_words(parameters.get("scope").unwrap_or_default());
        let scopes = scope::decide(&asked, &server.scopes).map_err(|_| {
            let offered = format!("The scopes of this server are: {}", server.scopes);
            Denial::new("invalid_scope", offered)
        })?;
        let prompt = parameters.get("prompt").unwrap_or_default();
        Ok(Self {
            reply_to,
            client: client.id.clone(),
            registered_redirect: registered.to_owned(),
            challenge: challenge.to_owned(),
            server: server.name.clone(),
            scopes,
            prompt: check_prompt(prompt)?,
            must_ask: prompt.split(' ').any(|word| word == "consent"),
        })
    }

    /// Validates again what may have changed since the request was sealed: the client may be deleted,
    /// and the configuration may differ. Returns the client.
    pub(super) async fn confirm(&self, gateway: &Gateway) -> Result<Client, RequestError> {
        let client = gateway.store.client(&self.client).await;
        let client = client.map_err(|error| RequestError::Page(error.into()))?;
        let client = client.ok_or(RequestError::Page(PageError::UnknownClient))?;
        let asked = &self.reply_to.redirect_uri;
        let registered = redirect::find(&client.redirect_uris, asked);
        if registered != Some(&*self.registered_redirect) || gateway.own_origin.includes(asked) {
            return Err(RequestError::Page(PageError::UnknownRedirect));
        }
        let denied = |error, description| RequestError::Denied(Denial::new(error, description));
        let server = gateway.servers.get(self.server.as_str()).ok_or_else(|| {
            denied(
                "invalid_target",
                "The server is not one of this gateway's any more",
            )
        })?;
        match server.scopes.covers(&self.scopes) {
            true => Ok(client),
            false => Err(denied("invalid_scope", "The server has other scopes now")),
        }
    }

    /// Returns the key of a consent to this request.
    pub(super) fn consent_key(&self, user: &str) -> ConsentKey {
        ConsentKey {
            user: user.to_owned(),
            client: self.client.clone(),
            redirect: self.registered_redirect.clone(),
            server: self.server.clone(),
        }
    }
}

fn check_shape(parameters: &Parameters) -> Result<(), Denial> {
    let refuse = |error, description: &str| Err(Denial::new(error, description));
    if parameters.get("request").is_some() {
        return refuse("request_not_supported", "Request objects are not supported");
    }
    if parameters.get("request_uri").is_some() {
        return refuse(
            "request_uri_not_supported",
            "Request URIs are not supported",
        );
    }
    if parameters
        .get("state")
        .is_some_and(|state| state.len() > MAX_STATE)
    {
        return refuse("invalid_request", "The state is longer than 4096 bytes");
    }
    match parameters.get("response_type") {
        Some("code") => {}
        Some(_) => {
            return refuse(
                "unsupported_response_type",
                "The response_type has to be code",
            );
        }
        None => return refuse("invalid_request", "The response_type is missing"),
    }
    match parameters.get("response_mode") {
        None | Some("query") => Ok(()),
        Some(_) => refuse("invalid_request", "The response_mode has to be query"),
    }
}

/// Checks the PKCE challenge. PKCE is required, with S256 (OAuth 2.1 §7.5.1).
fn check_challenge(parameters: &Parameters) -> Result<&str, Denial> {
    let invalid = |description| Denial::new("invalid_request", description);
    let challenge = parameters
        .get("code_challenge")
        .ok_or_else(|| invalid("The code_challenge is missing"))?;
    if parameters.get("code_challenge_method") != Some("S256") {
        return Err(invalid("The code_challenge_method has to be S256"));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if challenge.len() == 43 && challenge.bytes().all(fits) {
        Ok(challenge)
    } else {
        Err(invalid("The code_challenge is not a SHA-256 in base64url"))
    }
}

/// Returns the part of `prompt` that is sent to Entra (OpenID Connect Core section 3.1.2.1).
fn check_prompt(prompt: &str) -> Result<Option<String>, Denial> {
    let mut prompt_for_provider = None;
    for word in prompt.split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => {
                let text = "A person has to agree and to sign in";
                return Err(Denial::new("interaction_required", text));
            }
            "login" | "select_account" => prompt_for_provider = Some(word.to_owned()),
            _ => {}
        }
    }
    Ok(prompt_for_provider)
}
