//! The authorization response of a browser that cannot reach this machine, pasted by the user.
//!
//! Owns: which URLs count as a response.
//! Does not own: checking the response, which works as for any other.

use tokio::sync::mpsc;
use url::Url;

use texts::{Describe, Text, error_in_english, text};

use super::callback::CallbackRequest;
use super::page::Page;
use super::pending::AuthorizationResponse;

/// Takes the URL that a browser ended on. Clones serve the same sign-in.
#[derive(Clone)]
pub struct PastedCallback {
    redirect_uri: String,
    sender: mpsc::Sender<CallbackRequest>,
}

/// Why a URL was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastedCallbackError {
    /// It is not the redirect URI.
    NoAnswer,
    /// It belongs to another sign-in.
    Foreign,
    /// The sign-in has ended.
    Ended,
}

error_in_english!(PastedCallbackError);

impl Describe for PastedCallbackError {
    fn text(&self) -> Text {
        match self {
            Self::NoAnswer => text!(PastedAddressNotCallback),
            Self::Foreign => text!(PastedAddressOfAnotherSignIn),
            Self::Ended => text!(SignInEnded),
        }
    }
}

impl PastedCallback {
    pub(super) fn new(redirect_uri: String, sender: mpsc::Sender<CallbackRequest>) -> Self {
        Self {
            redirect_uri,
            sender,
        }
    }

    /// Submits the URL. The flow reports the outcome of the sign-in.
    ///
    /// # Errors
    ///
    /// [`PastedCallbackError`]. The sign-in continues then, unless it has ended.
    pub async fn submit(&self, address: &str) -> Result<(), PastedCallbackError> {
        let response = self.read(address).ok_or(PastedCallbackError::NoAnswer)?;
        let (request, page) = CallbackRequest::without_connection(response);
        if self.sender.send(request).await.is_err() {
            return Err(PastedCallbackError::Ended);
        }
        match page.await {
            Ok(Page::SignedIn { .. } | Page::Failed { .. }) => Ok(()),
            Ok(Page::NotExpected { .. } | Page::Approve { .. } | Page::Continue { .. }) => {
                Err(PastedCallbackError::Foreign)
            }
            Err(_) => Err(PastedCallbackError::Ended),
        }
    }

    /// Parses the response from a URL: the redirect URI with a query, under any loopback host
    /// name.
    fn read(&self, address: &str) -> Option<AuthorizationResponse> {
        let address = Url::parse(address.trim()).ok()?;
        let expected = Url::parse(&self.redirect_uri).ok()?;
        let is_loopback = address.host_str().is_some_and(model::is_loopback_host);
        let matches_redirect = is_loopback
            && address.scheme() == expected.scheme()
            && address.port() == expected.port()
            && address.path() == expected.path();
        AuthorizationResponse::parse(address.query().filter(|_| matches_redirect)?.as_bytes())
    }
}
