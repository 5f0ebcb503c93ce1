//! An authorization request (RFC 6749 section 4.1.1, with PKCE and a resource), checked.

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

/// How long a client's `state` may be, in bytes.
const MAX_STATE: usize = 4096;

/// Where the answer to a request goes: known before anything else is, so that every further
/// error can be told to the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReplyTo {
    /// The redirect URI as asked for.
    pub(super) redirect_uri: String,
    state: Option<String>,
}

/// A request that may be granted if the user agrees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AuthorizationRequest {
    pub(super) reply_to: ReplyTo,
    pub(super) client: String,
    /// The registered URI that the asked one stands for.
    pub(super) registered_redirect: String,
    /// The PKCE challenge, always S256.
    pub(super) challenge: String,
    pub(super) server: ServerName,
    pub(super) scopes: Scopes,
    /// What of `prompt` is meant for Entra.
    pub(super) prompt: Option<String>,
    /// Whether the user has to be asked even if they agreed before.
    pub(super) must_ask: bool,
}

/// Why a request that was sealed does not go on.
pub(super) enum RequestError {
    /// There is no client to tell, or none that may be told.
    Page(PageError),
    /// The client is told.
    Denied(Denial),
}

impl ReplyTo {
    /// Finds out where to answer; `None` if it is nowhere the client registered, or at the gateway.
    pub(super) fn find<'a>(
        parameters: &Parameters,
        client: &'a Client,
        own: &OwnOrigin,
    ) -> Option<(Self, &'a str)> {
        let asked = parameters.get("redirect_uri")?;
        let registered = redirect::find(&client.redirect_uris, asked)?;
        // The port may be another one than was registered, and clients of before were not checked.
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
    /// Checks everything but the client and its redirect, which were checked before.
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

    /// Checks again what may have changed since the request was sealed: its client may be gone, and the
    /// configuration another one. Returns the client.
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

/// PKCE is required, and S256 only (OAuth 2.1 section 7.5.1).
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
    let mut upstream = None;
    for word in prompt.split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => {
                let text = "A person has to agree and to sign in";
                return Err(Denial::new("interaction_required", text));
            }
            "login" | "select_account" => upstream = Some(word.to_owned()),
            _ => {}
        }
    }
    Ok(upstream)
}
