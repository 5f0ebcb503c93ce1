//! The authorization response of a browser that cannot reach this machine, pasted by the user.
//!
//! Owns: which URLs count as a response.
//! Does not own: checking the response, which works as for any other.

use tokio::sync::mpsc;
use url::Url;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PastedCallbackError {
    /// It is not the redirect URI.
    #[error(
        "this is not the address that the browser ends on; hint: sign in there first, then copy its full address, which begins with http://localhost or http://127.0.0.1"
    )]
    NoAnswer,
    /// It belongs to another sign-in.
    #[error(
        "this address belongs to another sign-in, or to one that has ended; hint: open the page of this sign-in, and copy the address that it ends on"
    )]
    Foreign,
    /// The sign-in has ended.
    #[error("the sign-in has ended; hint: start it again")]
    Ended,
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
