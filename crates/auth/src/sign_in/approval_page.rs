//! Postern's approval page. It asks the user before the authorization server does: may this server
//! have tokens for this resource?
//!
//! It is on the callback port. Single sign-on completes the authorization server's own page
//! without a click, so only this page asks the user.
//!
//! Owns: the page's URL, and which requests may answer it.
//! Does not own: its texts (`page`), and storing the answer (`token`).
//!
//! Invariants: the URL has a secret that the answer repeats, so that no other page can answer. The
//! browser gets the URL of the authorization server only after the user allowed it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::ORIGIN;
use hyper::{Method, Request, StatusCode};
use model::Parameters;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use super::form::form;
use super::page::{Page, not_expected, refused};
use crate::approval::Approval;
use crate::random;
use crate::secret::State;
use crate::target::Target;

const PATH: &str = "/approve";

/// The approval page of one sign-in.
pub(super) struct ApprovalPage {
    approval: Approval,
    server_url: String,
    url: Url,
    key: State,
    /// The page for a browser that returns after the user allowed it.
    pub(super) next: OnceLock<Page>,
}

/// Serves the approval page.
#[derive(Clone)]
pub(super) struct Gate {
    page: Arc<ApprovalPage>,
    decisions: mpsc::Sender<Decision>,
}

/// The user's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserDecision {
    Allow,
    Deny,
}

/// The user's answer, with the browser that waits for the next page.
pub(super) struct Decision {
    pub(super) decision: UserDecision,
    pub(super) reply: oneshot::Sender<Page>,
}

/// The answers on one approval page.
pub(super) struct Decisions {
    pub(super) page: Arc<ApprovalPage>,
    pub(super) received: mpsc::Receiver<Decision>,
}

impl ApprovalPage {
    /// Creates the page for a sign-in to `target` with this callback port.
    pub(super) fn new(approval: Approval, target: &Target, port: u16) -> Self {
        let key = random::token(&mut random::fill);
        let url = format!("http://127.0.0.1:{port}{PATH}?key={key}");
        Self {
            approval,
            server_url: target.url().shown().to_owned(),
            url: Url::parse(&url).expect("the parts are constants, a number and URL-safe text"),
            key: State::new(key),
            next: OnceLock::new(),
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn approval(&self) -> &Approval {
        &self.approval
    }

    /// Returns the gate to serve, and the answers. Both are `None` without a page.
    pub(super) fn open(page: Option<Self>) -> (Option<Gate>, Option<Decisions>) {
        let Some(page) = page else {
            return (None, None);
        };
        let (decisions, received) = mpsc::channel(1);
        let page = Arc::new(page);
        let gate = Gate {
            page: Arc::clone(&page),
            decisions,
        };
        (Some(gate), Some(Decisions { page, received }))
    }
}

impl Gate {
    /// Returns true if this is the path of the page.
    pub(super) fn is_at(&self, path: &str) -> bool {
        path == PATH
    }

    /// Reads a request for the page. The caller has checked its `Host`.
    ///
    /// # Errors
    ///
    /// The page to show, if the request is not an answer of the user.
    pub(super) async fn read(&self, request: Request<Incoming>) -> Result<UserDecision, Page> {
        let query = request.uri().query().unwrap_or_default();
        if !self.has_key(query.as_bytes()) {
            return Err(not_expected());
        }
        if let Some(next) = self.page.next.get() {
            return Err(next.clone());
        }
        match *request.method() {
            Method::GET => Err(Page::Approve {
                approval: Box::new(self.page.approval.clone()),
                server_url: self.page.server_url.clone(),
            }),
            Method::POST if self.is_own(&request) => UserDecision::read(&form(request).await?),
            _ => Err(refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "Only Postern's own page may send this.",
            )),
        }
    }

    /// Passes the user's answer on. Returns the next page.
    pub(super) async fn decide(&self, decision: UserDecision) -> Page {
        let (reply, page) = oneshot::channel();
        let decision = Decision { decision, reply };
        if self.decisions.send(decision).await.is_err() {
            return not_expected();
        }
        page.await.unwrap_or_else(|_| not_expected())
    }

    fn has_key(&self, query: &[u8]) -> bool {
        let parameters = Parameters::decode(query);
        let key = parameters.first("key");
        key.is_some_and(|key| self.page.key.matches(key))
    }

    /// Returns true if this page sent the form: browsers name the page in `Origin`.
    fn is_own(&self, request: &Request<Incoming>) -> bool {
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let own = self.page.url.origin().ascii_serialization();
        let first = origins.next();
        first.is_some_and(|origin| origin.as_bytes() == own.as_bytes()) && origins.next().is_none()
    }
}

impl UserDecision {
    fn read(form: &Bytes) -> Result<Self, Page> {
        match Parameters::decode(form).first("answer") {
            Some("allow") => Ok(Self::Allow),
            Some("deny") => Ok(Self::Deny),
            Some(_) | None => Err(not_expected()),
        }
    }
}
