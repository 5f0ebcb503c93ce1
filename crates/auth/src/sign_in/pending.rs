//! A sign-in that waits for its answer.

use std::collections::BTreeMap;

use url::form_urlencoded;

use crate::discovery::IssuerRule;
use crate::secret::{Code, Nonce, State, Verifier};
use crate::token::Refusal;

/// What waits for one answer. It has no `Clone`, and finishing consumes it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) state: State,
    pub(super) verifier: Verifier,
    pub(super) nonce: Option<Nonce>,
    pub(super) issuer: IssuerRule,
    pub(super) issuer_required: bool,
}

/// What the browser brought: parameters, each at most once.
pub(crate) struct Answer(BTreeMap<String, String>);

/// A code, and what it takes to redeem it.
#[derive(Debug)]
pub(crate) struct Redeemable {
    pub(crate) code: Code,
    pub(crate) verifier: Verifier,
    pub(crate) nonce: Option<Nonce>,
}

/// Why an answer brings no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerError {
    /// It belongs to another sign-in, or to none.
    Foreign,
    /// It does not name its issuer though the server promises to (RFC 9207).
    IssuerMissing,
    /// It comes from another server than the one that was asked.
    IssuerDiffers,
    /// The server refused.
    Refused(Box<Refusal>),
    /// It carries neither a code nor an error.
    Empty,
}

impl Answer {
    /// Reads a query or a form; `None` if a parameter comes twice, which a real answer never
    /// does (RFC 6749 section 3.1).
    pub(crate) fn parse(form: &[u8]) -> Option<Self> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(form) {
            if parameters
                .insert(name.into_owned(), value.into_owned())
                .is_some()
            {
                return None;
            }
        }
        Some(Self(parameters))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Pending {
    /// Whether the answer belongs to this sign-in.
    pub(crate) fn recognises(&self, answer: &Answer) -> bool {
        answer
            .parameter("state")
            .is_some_and(|state| self.state.matches(state))
    }

    /// Takes the answer, once. The issuer is checked before anything else in it is believed,
    /// errors too.
    pub(crate) fn finish(self, answer: &Answer) -> Result<Redeemable, AnswerError> {
        if !self.recognises(answer) {
            return Err(AnswerError::Foreign);
        }
        match answer.parameter("iss") {
            Some(issuer) if !self.issuer.admits(issuer) => return Err(AnswerError::IssuerDiffers),
            None if self.issuer_required => return Err(AnswerError::IssuerMissing),
            Some(_) | None => {}
        }
        if let Some(error) = answer.parameter("error") {
            let description = answer.parameter("error_description");
            let refusal = Refusal::on_redirect(error, description);
            return Err(AnswerError::Refused(Box::new(refusal)));
        }
        let code = answer.parameter("code").filter(|code| !code.is_empty());
        Ok(Redeemable {
            code: Code::new(code.ok_or(AnswerError::Empty)?),
            verifier: self.verifier,
            nonce: self.nonce,
        })
    }
}
