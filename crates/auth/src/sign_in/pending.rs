//! A sign-in that waits for its authorization response.

use model::{Parameters, UniqueParameters};

use crate::discovery::IssuerRule;
use crate::oauth_error::OAuthError;
use crate::secret::{Code, Nonce, State, Verifier};

/// Checks one response. It has no `Clone`, and finishing consumes it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) state: State,
    pub(super) verifier: Verifier,
    pub(super) nonce: Option<Nonce>,
    pub(super) issuer: IssuerRule,
    pub(super) issuer_required: bool,
}

/// The authorization response: parameters, each at most once.
pub(crate) struct AuthorizationResponse(UniqueParameters);

/// A code, with what its exchange needs.
#[derive(Debug)]
pub(crate) struct CodeGrant {
    pub(crate) code: Code,
    pub(crate) verifier: Verifier,
    pub(crate) nonce: Option<Nonce>,
}

/// Why a response has no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizationResponseError {
    /// It belongs to another sign-in or to none.
    Foreign,
    /// It has no `iss`, which the server promises to send (RFC 9207).
    IssuerMissing,
    /// Its `iss` is another authorization server.
    IssuerDiffers,
    /// It is an error response.
    Refused(Box<OAuthError>),
    /// It has neither a code nor an error.
    Empty,
}

impl AuthorizationResponse {
    /// Parses a query or a form. Returns `None` if a parameter is duplicated (RFC 6749 §3.1).
    pub(crate) fn parse(form: &[u8]) -> Option<Self> {
        Parameters::decode(form).unique().map(Self).ok()
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.0.given(name)
    }
}

impl Pending {
    /// Returns true if the response belongs to this sign-in.
    pub(crate) fn recognises(&self, response: &AuthorizationResponse) -> bool {
        response
            .parameter("state")
            .is_some_and(|state| self.state.matches(state))
    }

    /// Checks the response, once. Checks the issuer before it uses any other parameter, including
    /// errors.
    pub(crate) fn finish(
        self,
        response: &AuthorizationResponse,
    ) -> Result<CodeGrant, AuthorizationResponseError> {
        if !self.recognises(response) {
            return Err(AuthorizationResponseError::Foreign);
        }
        match response.parameter("iss") {
            Some(issuer) if !self.issuer.admits(issuer) => {
                return Err(AuthorizationResponseError::IssuerDiffers);
            }
            None if self.issuer_required => return Err(AuthorizationResponseError::IssuerMissing),
            Some(_) | None => {}
        }
        if let Some(error) = response.parameter("error") {
            let description = response.parameter("error_description");
            let oauth_error = OAuthError::from_redirect(error, description);
            return Err(AuthorizationResponseError::Refused(Box::new(oauth_error)));
        }
        let code = response.parameter("code").filter(|code| !code.is_empty());
        Ok(CodeGrant {
            code: Code::new(code.ok_or(AuthorizationResponseError::Empty)?),
            verifier: self.verifier,
            nonce: self.nonce,
        })
    }
}
