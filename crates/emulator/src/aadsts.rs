//! The AADSTS errors that rules can inject, and their form at each endpoint that can return them.
//!
//! Owns: the forms and the texts. Does not own: faults that the emulator detects itself (see
//! [`crate::fault`]). A test checks that both use the same form for a number.

mod table;

use http::StatusCode;

use crate::endpoint::RequestKind;
pub(crate) use table::TABLE;

/// The value of `claims` if a policy requires more of the user. It is plain JSON in an error body,
/// for the `claims` parameter of the next authorization request.
pub(crate) const POLICY_CLAIMS: &str = r#"{"access_token":{"capolids":{"essential":true,"values":["c0de5a17-0000-4000-8000-00000000ca01"]}}}"#;

/// One AADSTS error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Aadsts {
    pub(crate) number: u32,
    pub(crate) text: &'static str,
    /// The form at the authorization endpoint, or `None` if that never returns the error.
    pub(crate) authorize: Option<AuthorizeResponse>,
    /// The form at the endpoints that return JSON, or `None` if these never return the error.
    pub(crate) token: Option<TokenResponse>,
}

/// The form of an error at the authorization endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizeResponse {
    /// A page for the user. The client gets no response.
    Page,
    /// `error` in the redirect.
    Redirect(&'static str),
}

/// The form of an error at the token endpoint and at the device authorization endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenResponse {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) suberror: Option<&'static str>,
    /// `error` for the on-behalf-of grant.
    pub(crate) on_behalf_of: &'static str,
    /// Whether the response has `claims` with the requirement of the policy.
    pub(crate) claims: bool,
}

impl Aadsts {
    /// Returns the error with this number, or `None` if the table does not have it.
    pub(crate) fn numbered(number: u32) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.number == number)
    }

    /// Returns whether a request of this kind can get the error.
    pub(crate) fn occurs(&self, kind: RequestKind) -> bool {
        match kind {
            RequestKind::Authorize | RequestKind::Silent => self.authorize.is_some(),
            RequestKind::Token | RequestKind::OnBehalfOf | RequestKind::DeviceCode => {
                self.token.is_some()
            }
        }
    }

    /// Returns whether the authorization endpoint shows a page instead of redirecting to the
    /// client.
    pub(crate) fn is_page(&self) -> bool {
        self.authorize == Some(AuthorizeResponse::Page)
    }

    /// Returns the OAuth `error`. For a page, it is the one of the token endpoint.
    pub(crate) fn error(&self, kind: RequestKind) -> &'static str {
        match (kind, self.authorize, self.token) {
            (
                RequestKind::Authorize | RequestKind::Silent,
                Some(AuthorizeResponse::Redirect(error)),
                _,
            ) => error,
            (RequestKind::Silent, Some(AuthorizeResponse::Page), _) => "interaction_required",
            (RequestKind::OnBehalfOf, _, Some(token)) => token.on_behalf_of,
            (_, _, Some(token)) => token.error,
            (_, _, None) => "invalid_request",
        }
    }

    /// Returns the `suberror` of a JSON response.
    pub(crate) fn suberror(&self) -> Option<&'static str> {
        self.token?.suberror
    }

    /// Returns the `claims` of the error.
    pub(crate) fn claims(&self) -> Option<&'static str> {
        self.token?.claims.then_some(POLICY_CLAIMS)
    }

    /// Returns the HTTP status of a JSON response and of a page.
    pub(crate) fn status(&self) -> StatusCode {
        self.token
            .and_then(|token| StatusCode::from_u16(token.status).ok())
            .unwrap_or(StatusCode::BAD_REQUEST)
    }
}

const fn row(number: u32, text: &'static str) -> Aadsts {
    Aadsts {
        number,
        text,
        authorize: None,
        token: None,
    }
}

impl Aadsts {
    const fn page(mut self) -> Self {
        self.authorize = Some(AuthorizeResponse::Page);
        self
    }

    const fn redirect(mut self, error: &'static str) -> Self {
        self.authorize = Some(AuthorizeResponse::Redirect(error));
        self
    }

    const fn token(self, error: &'static str) -> Self {
        self.json(400, error)
    }

    const fn json(mut self, status: u16, error: &'static str) -> Self {
        self.token = Some(TokenResponse {
            status,
            error,
            suberror: None,
            on_behalf_of: error,
            claims: false,
        });
        self
    }

    const fn sub(mut self, suberror: &'static str) -> Self {
        if let Some(token) = &mut self.token {
            token.suberror = Some(suberror);
        }
        self
    }

    /// A policy requires more of the user. The `claims` tell the client what.
    const fn policy(mut self) -> Self {
        if let Some(token) = &mut self.token {
            token.claims = true;
            token.on_behalf_of = "interaction_required";
        }
        self
    }
}

#[cfg(test)]
mod tests;
