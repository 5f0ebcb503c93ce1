//! What the refusal of an authorization server means to a person: what happened, who has to act,
//! and what to say when asking for help.
//!
//! Owns: the words. Does not own: what is done about a refusal, which hangs on `error`,
//! `suberror` and `claims` alone, as Microsoft asks of clients; the AADSTS numbers are for words.

mod table;

use std::borrow::Cow;
use std::fmt;

use model::Issuer;
use url::Url;

use crate::entra;
use crate::token::Refusal;

/// A refusal, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What happened, as part of a sentence.
    pub what: Cow<'static, str>,
    /// What to do next.
    pub todo: &'static str,
    /// Who has to do it.
    pub actor: Actor,
    /// The error code (RFC 6749 sections 4.1.2.1 and 5.2).
    pub error: String,
    /// The number of Entra's error, as in `AADSTS65001`.
    pub number: Option<u32>,
    /// The authorization server's own words, on one line.
    pub words: Option<String>,
    /// What Entra's logs know the attempt by.
    pub correlation_id: Option<String>,
    /// Where an administrator grants the application what it asks for.
    pub admin_consent: Option<Url>,
}

/// Who has to act on a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The person who signs in.
    You,
    /// An administrator of the organisation.
    Administrator,
    /// Whoever registered the application or configured the server.
    Owner,
    /// Nobody: it passes.
    Time,
}

impl Explanation {
    /// The name to look the error up by: `AADSTS65001`, or the error code.
    #[must_use]
    pub fn code(&self) -> Cow<'_, str> {
        match self.number {
            Some(number) => format!("AADSTS{number}").into(),
            None => (&*self.error).into(),
        }
    }

    /// What `refusal` means to somebody who signs in with `client_id` at `issuer`.
    pub(crate) fn of(refusal: &Refusal, issuer: &Issuer, client_id: &str) -> Box<Self> {
        let number = refusal.number();
        let meaning = number.and_then(table::meaning);
        let words = refusal.description();
        let (what, todo, actor) = match &meaning {
            Some(known) => (known.what.into(), known.todo, known.actor),
            None => {
                let (todo, actor) = table::of_error(&refusal.error);
                (refusal.to_string().into(), todo, actor)
            }
        };
        let for_administrator = meaning.is_some_and(|known| known.admin_consent);
        Box::new(Self {
            what,
            todo,
            actor,
            error: crate::token::plain(&refusal.error),
            number,
            words,
            correlation_id: refusal.correlation_id(),
            admin_consent: for_administrator
                .then(|| entra::admin_consent(issuer, client_id))
                .flatten(),
        })
    }
}

/// `what; hint: todo`, as part of a sentence.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; hint: {}", self.what, self.todo)
    }
}
