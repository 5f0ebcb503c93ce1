//! The access checks of the page and its API.
//!
//! Invariants: requests must name this address as `Host`, and come from this page or from no page.
//! The API also requires the token. Both require a process of the same user, where the system tells
//! the user. Other processes can see the URL that a browser is started with, so that URL contains a
//! code for one use. The page gets the token in the URL fragment, which browsers do not send.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use control::peer::{self, Owner};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::page;
use crate::error::CliError;
use crate::random;

/// The lifetime of a one-time link. [`page::expired_link`] mentions it too.
pub(super) const LINK_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The address, token and link of one run.
#[derive(Clone, Debug)]
pub(super) struct AccessPolicy {
    address: SocketAddr,
    token: Arc<SecretString>,
    link: Arc<Mutex<Option<OneTimeLink>>>,
}

/// The code of the link, which is exchanged for the token once.
#[derive(Debug)]
struct OneTimeLink {
    code: SecretString,
    until: Instant,
}

impl AccessPolicy {
    /// Creates a policy with a new token and no link.
    pub(super) fn new(address: SocketAddr) -> Result<Self, CliError> {
        Ok(Self {
            address,
            token: Arc::new(random::secret().map_err(CliError::new)?),
            link: Arc::default(),
        })
    }

    /// Creates a link that opens the page once. It replaces the previous link.
    pub(super) fn new_link(&self) -> Result<String, CliError> {
        let code = random::secret().map_err(CliError::new)?;
        let address = format!("http://{}/enter/{}", self.address, code.expose_secret());
        *self.lock() = Some(OneTimeLink {
            code,
            until: Instant::now() + LINK_LIFETIME,
        });
        Ok(address)
    }

    /// Returns whether `code` is that of the link and the link has not expired. If so, invalidates the link.
    fn use_up(&self, code: &str) -> bool {
        let mut link = self.lock();
        let opens = link.as_ref().is_some_and(|link| {
            Instant::now() < link.until && equal(link.code.expose_secret(), code)
        });
        if opens {
            *link = None;
        }
        opens
    }

    fn lock(&self) -> MutexGuard<'_, Option<OneTimeLink>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn denial(&self, headers: &HeaderMap, peer: SocketAddr) -> Option<&'static str> {
        let one = |name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().and_then(|value| value.to_str().ok());
            (values.next().is_none()).then_some(value).flatten()
        };
        if one(header::HOST) != Some(&self.address.to_string()) {
            return Some("the Host header names another address");
        }
        let own = format!("http://{}", self.address);
        if headers.contains_key(header::ORIGIN) && one(header::ORIGIN) != Some(&own) {
            return Some("the Origin header names another site");
        }
        let site = headers
            .get("sec-fetch-site")
            .and_then(|site| site.to_str().ok());
        if matches!(site, Some("cross-site" | "same-site")) {
            return Some("a page of another site made this request");
        }
        if peer::owner(peer, self.address) == Owner::OtherUser {
            return Some("the request comes from another user");
        }
        None
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let shown = shown
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        equal(self.token.expose_secret(), shown)
    }
}

fn equal(secret: &str, shown: &str) -> bool {
    secret.as_bytes().ct_eq(shown.as_bytes()).into()
}

/// Redirects the first browser that opens the link to the page, with the token.
pub(super) async fn enter(
    State(policy): State<AccessPolicy>,
    Path(code): Path<String>,
    method: Method,
) -> Response<Body> {
    // Programs that only preview a link do not use it up.
    if method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if !policy.use_up(&code) {
        return page::expired_link();
    }
    let page = format!("/#token={}", policy.token.expose_secret());
    let headers = [
        (header::LOCATION, page.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// Middleware: rejects requests of other hosts, origins, sites and users.
pub(super) async fn check_access(
    State(policy): State<AccessPolicy>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    match policy.denial(request.headers(), peer) {
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    }
}

/// Middleware of the API: rejects requests without the token.
pub(super) async fn require_token(
    State(policy): State<AccessPolicy>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    if policy.has_token(request.headers()) {
        next.run(request).await
    } else {
        let why = "the token is missing or from an earlier run; hint: run `postern ui` again and open the link that it prints\n";
        (StatusCode::UNAUTHORIZED, why).into_response()
    }
}
