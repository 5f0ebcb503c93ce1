//! Explains an error of an authorization server to the user: what happened, what to do, who has to
//! do it, and what to say when asking for help.
//!
//! Owns: which text explains which error.
//! Does not own: the handling of an error, which depends only on `error`, `suberror` and `claims`,
//! as Microsoft requires of clients. The AADSTS numbers select texts only.

mod table;

use std::borrow::Cow;

use model::Issuer;
use texts::{Describe, Text};
use url::Url;

use crate::entra;
use crate::oauth_error::OAuthError;

/// An error in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What happened, as part of a sentence, and what to do next.
    text: Text,
    /// Who has to act.
    pub actor: Actor,
    /// The error code (RFC 6749 §4.1.2.1 and §5.2).
    pub error: String,
    /// The number of Entra's error, as in `AADSTS65001`.
    pub number: Option<u32>,
    /// The error description of the authorization server, on one line.
    pub words: Option<String>,
    /// The correlation id in Entra's logs.
    pub correlation_id: Option<String>,
    /// The page on which an administrator consents to the application.
    pub admin_consent: Option<Url>,
}

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The user who signs in.
    You,
    /// An administrator of the organisation.
    Administrator,
    /// The owner of the application or of the server's configuration.
    Owner,
    /// No action is needed: the error is temporary.
    Time,
}

impl Explanation {
    /// Returns the name for looking the error up: `AADSTS65001`, or the error code.
    #[must_use]
    pub fn code(&self) -> Cow<'_, str> {
        match self.number {
            Some(number) => format!("AADSTS{number}").into(),
            None => (&*self.error).into(),
        }
    }

    /// Explains `oauth_error` from `issuer` about the client `client_id`, if there is a client yet.
    pub(crate) fn from_error(
        oauth_error: &OAuthError,
        issuer: &Issuer,
        client_id: Option<&str>,
    ) -> Box<Self> {
        let number = oauth_error.number();
        let meaning = number.and_then(table::meaning);
        let words = oauth_error.description();
        let for_administrator = meaning.as_ref().is_some_and(|known| known.admin_consent);
        let (text, actor) = match meaning {
            Some(known) => (known.text, known.actor),
            None => table::of_code(&oauth_error.error, &oauth_error.to_string()),
        };
        Box::new(Self {
            text,
            actor,
            error: crate::text::one_line(&oauth_error.error),
            number,
            words,
            correlation_id: oauth_error.correlation_id(),
            admin_consent: client_id
                .filter(|_| for_administrator)
                .and_then(|client_id| entra::admin_consent(issuer, client_id)),
        })
    }
}

impl Describe for Explanation {
    fn text(&self) -> Text {
        self.text.clone()
    }
}
