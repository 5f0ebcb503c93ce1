//! The answer of a browser that cannot reach this machine, brought by hand.
//!
//! Owns: what of an address is taken for an answer.
//! Does not own: whether the answer is believed, which is checked as for any other.

use tokio::sync::mpsc;
use url::Url;

use super::callback::Arrival;
use super::page::Page;
use super::pending::Answer;

/// Where the address is handed in that a browser ended on. Clones serve the same sign-in.
#[derive(Clone)]
pub struct HandIn {
    redirect_uri: String,
    arrived: mpsc::Sender<Arrival>,
}

/// Why an address is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandInError {
    /// It is not where the browser was to end.
    #[error(
        "this is not the address that the browser ends on; hint: sign in there first, then copy the whole address it shows, which begins with http://localhost or http://127.0.0.1"
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

impl HandIn {
    pub(super) fn new(redirect_uri: String, arrived: mpsc::Sender<Arrival>) -> Self {
        Self {
            redirect_uri,
            arrived,
        }
    }

    /// Takes the address. What becomes of the sign-in then, its flow says.
    ///
    /// # Errors
    ///
    /// [`HandInError`]; the sign-in goes on waiting then, unless it has ended.
    pub async fn give(&self, address: &str) -> Result<(), HandInError> {
        let answer = self.read(address).ok_or(HandInError::NoAnswer)?;
        let (arrival, page) = Arrival::without_connection(answer);
        if self.arrived.send(arrival).await.is_err() {
            return Err(HandInError::Ended);
        }
        match page.await {
            Ok(Page::SignedIn { .. } | Page::Failed { .. }) => Ok(()),
            Ok(Page::NotExpected { .. } | Page::Approve { .. } | Page::Continue { .. }) => {
                Err(HandInError::Foreign)
            }
            Err(_) => Err(HandInError::Ended),
        }
    }

    /// The answer in an address: the redirect URI, under any name of the machine that the browser
    /// took it for, with a query.
    fn read(&self, address: &str) -> Option<Answer> {
        let address = Url::parse(address.trim()).ok()?;
        let expected = Url::parse(&self.redirect_uri).ok()?;
        let is_loopback = address.host_str().is_some_and(model::is_loopback_host);
        let is_ours = is_loopback
            && address.scheme() == expected.scheme()
            && address.port() == expected.port()
            && address.path() == expected.path();
        Answer::parse(address.query().filter(|_| is_ours)?.as_bytes())
    }
}
