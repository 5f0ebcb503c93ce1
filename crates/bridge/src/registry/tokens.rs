//! How a server reacted to the tokens it received.

use auth::{AccountKey, TokenNumber};

/// How the server reacted to the tokens of the last sign-in.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The first one.
    pub(super) first: Option<TokenNumber>,
    /// The newest that the server has accepted.
    pub(super) accepted: Option<TokenNumber>,
    /// The newest that it has rejected without having accepted it before.
    pub(super) refused: Option<Refused>,
}

/// A token that the server has rejected.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) number: TokenNumber,
    pub(super) account: AccountKey,
    /// The server's explanation.
    pub(super) words: Option<String>,
    /// Whether the request was a call for which a sign-in was made.
    pub(super) after_own_sign_in: bool,
}

impl Tokens {
    /// Returns true if the server has accepted a token of the last sign-in.
    fn is_first_accepted(&self) -> bool {
        self.first
            .is_none_or(|first| self.accepted.is_some_and(|accepted| accepted >= first))
    }

    /// Returns the rejected token that proves that another sign-in does not help.
    pub(super) fn refused_after_sign_in(&self) -> Option<&Refused> {
        self.refused.as_ref().filter(|refused| {
            let is_of_last = self.first.is_some_and(|first| first <= refused.number);
            is_of_last && (refused.after_own_sign_in || !self.is_first_accepted())
        })
    }
}
