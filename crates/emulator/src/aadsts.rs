//! The AADSTS errors that can be switched on: what each looks like at every endpoint that may
//! answer with it.
//!
//! Owns: the shapes and the texts. Does not own: faults that the emulator finds by itself (see
//! [`crate::fault`]); a test holds that both give a number the same shape.

mod table;

use http::StatusCode;

use crate::endpoint::RequestKind;
pub(crate) use table::TABLE;

/// What a client reads in `claims` when a policy wants more of the person: plain JSON in an error
/// body, for the `claims` parameter of the next authorization.
pub(crate) const POLICY_CLAIMS: &str = r#"{"access_token":{"capolids":{"essential":true,"values":["c0de5a17-0000-4000-8000-00000000ca01"]}}}"#;

/// One error of Entra.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Aadsts {
    pub(crate) number: u32,
    pub(crate) text: &'static str,
    /// How the authorization endpoint answers with it, if it does.
    pub(crate) authorize: Option<AuthorizeResponse>,
    /// How the endpoints that answer with JSON do.
    pub(crate) token: Option<TokenResponse>,
}

/// An answer of the authorization endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizeResponse {
    /// A page for the person; the client learns nothing.
    Page,
    /// `error` on the redirect.
    Redirect(&'static str),
}

/// An answer of the token endpoint, or of the device authorization endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenResponse {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) suberror: Option<&'static str>,
    /// `error` where the grant is on-behalf-of.
    pub(crate) on_behalf_of: &'static str,
    /// Whether `claims` says what is wanted of the person.
    pub(crate) claims: bool,
}

impl Aadsts {
    /// The row of a number.
    pub(crate) fn numbered(number: u32) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.number == number)
    }

    /// Whether this error is ever met there.
    pub(crate) fn occurs(&self, kind: RequestKind) -> bool {
        match kind {
            RequestKind::Authorize | RequestKind::Silent => self.authorize.is_some(),
            RequestKind::Token | RequestKind::OnBehalfOf | RequestKind::DeviceCode => {
                self.token.is_some()
            }
        }
    }

    /// Whether the authorization endpoint shows it to the person instead of telling the client.
    pub(crate) fn is_page(&self) -> bool {
        self.authorize == Some(AuthorizeResponse::Page)
    }

    /// The OAuth `error`; for a page, the one that the token endpoint gives.
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

    /// The `suberror` of an answer in JSON.
    pub(crate) fn suberror(&self) -> Option<&'static str> {
        self.token?.suberror
    }

    /// The `claims` that go with the error.
    pub(crate) fn claims(&self) -> Option<&'static str> {
        self.token?.claims.then_some(POLICY_CLAIMS)
    }

    /// The HTTP status of an answer in JSON, and of a page.
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

    /// A policy wants more of the person: the client is told what, by `claims`.
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
