//! What a server made of the tokens that it was sent.

use auth::{AccountKey, TokenNumber};

/// What the server made of the tokens of the last sign-in.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The first one.
    pub(super) first: Option<TokenNumber>,
    /// The newest that the server has accepted.
    pub(super) accepted: Option<TokenNumber>,
    /// The newest that it has refused, unless it had accepted that one.
    pub(super) refused: Option<Refused>,
}

/// A token that the server has refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) number: TokenNumber,
    pub(super) account: AccountKey,
    /// What the server said of it.
    pub(super) words: Option<String>,
    /// Whether it came with a call for which a sign-in was made.
    pub(super) after_own_sign_in: bool,
}

impl Tokens {
    /// Whether the server has accepted a token of the last sign-in.
    fn is_first_accepted(&self) -> bool {
        self.first
            .is_none_or(|first| self.accepted.is_some_and(|accepted| accepted >= first))
    }

    /// The refusal that shows that another sign-in does not help.
    pub(super) fn refused_after_sign_in(&self) -> Option<&Refused> {
        self.refused.as_ref().filter(|refused| {
            let is_of_last = self.first.is_some_and(|first| first <= refused.number);
            is_of_last && (refused.after_own_sign_in || !self.is_first_accepted())
        })
    }
}
