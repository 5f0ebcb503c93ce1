//! The errors of Entra, by what the caller does next.

use std::fmt;

use oauth2::{ErrorResponse, RequestTokenError};
use serde::{Deserialize, Serialize};

use super::http::HttpError;

/// Why Entra did not fulfil a request.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum IdentityProviderError {
    /// Try again later.
    #[error("the identity provider is not available: {0}")]
    Unavailable(String),
    /// The user has to sign in again.
    #[error("the identity provider refused: {0}")]
    Rejected(EntraError),
    /// There is no refresh token: the user has to sign in again.
    #[error("the sign-in at the identity provider has ended")]
    Over,
    /// The user's tenant is not allowed to sign in.
    #[error("users of this tenant may not sign in; hint: see allowed_tenants")]
    ForeignTenant,
    /// The operator of the gateway has to correct its registration.
    #[error("the identity provider refused the gateway itself: {0}; hint: check [entra]")]
    Misconfigured(String),
    /// The response is not trustworthy.
    #[error("the identity provider's response is invalid: {0}")]
    Untrusted(&'static str),
}

/// Why an id token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdTokenError {
    Malformed,
    Signature,
    Issuer,
    KeyIssuer,
    Audience,
    Tenant,
    Expired,
    Early,
    Nonce,
}

impl IdTokenError {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "the id token is malformed",
            Self::Signature => "the id token's signature does not verify",
            Self::Issuer => "the id token is from another issuer",
            Self::KeyIssuer => "the id token's key belongs to another issuer",
            Self::Audience => "the id token is for another application",
            Self::Tenant => "the tenant may not sign in here",
            Self::Expired => "the id token has expired, or the clocks differ",
            Self::Early => "the id token is from the future, or the clocks differ",
            Self::Nonce => "the id token belongs to another sign-in",
        }
    }
}

/// An error of Entra, reduced to what is safe to log. Its description may contain personal data.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct EntraError {
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) suberror: Option<String>,
    #[serde(default)]
    pub(crate) error_codes: Vec<u32>,
    #[serde(default)]
    pub(crate) correlation_id: Option<String>,
    /// A claims challenge, which the user has to answer.
    #[serde(default)]
    pub(crate) claims: Option<String>,
}

impl ErrorResponse for EntraError {}

impl fmt::Display for EntraError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if let Some(suberror) = &self.suberror {
            write!(f, " ({suberror})")?;
        }
        for code in &self.error_codes {
            write!(f, " AADSTS{code}")?;
        }
        if let Some(id) = &self.correlation_id {
            write!(f, ", correlation {id}")?;
        }
        if self.claims.is_some() {
            f.write_str(", with a claims challenge")?;
        }
        Ok(())
    }
}

impl From<RequestTokenError<HttpError, EntraError>> for IdentityProviderError {
    fn from(error: RequestTokenError<HttpError, EntraError>) -> Self {
        match error {
            RequestTokenError::ServerResponse(error) => Self::of(error),
            RequestTokenError::Request(error) => error.into(),
            // The body that could not be parsed may contain tokens, so it is not stored.
            RequestTokenError::Parse(..) => Self::Untrusted("it is not a token response"),
            RequestTokenError::Other(_) => Self::Untrusted("it is empty or not JSON"),
        }
    }
}

impl IdentityProviderError {
    fn of(error: EntraError) -> Self {
        match error.error.as_str() {
            "invalid_grant"
            | "interaction_required"
            | "login_required"
            | "consent_required"
            | "access_denied" => Self::Rejected(error),
            "temporarily_unavailable" | "server_error" => Self::Unavailable(error.to_string()),
            _ => Self::Misconfigured(error.to_string()),
        }
    }
}

impl From<HttpError> for IdentityProviderError {
    fn from(error: HttpError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<IdTokenError> for IdentityProviderError {
    fn from(error: IdTokenError) -> Self {
        match error {
            IdTokenError::Tenant => Self::ForeignTenant,
            other => Self::Untrusted(other.reason()),
        }
    }
}

/// Returns the error that a client gets for an error in the callback: a code of RFC 6749 section 4.1.2.1
/// or OpenID Connect, and a text of the gateway. Of the provider's text it keeps the `AADSTS` number.
pub(crate) fn relayed(error: &str, description: Option<&str>) -> (&'static str, String) {
    let code = match error {
        "access_denied" => "access_denied",
        "login_required" => "login_required",
        "interaction_required" => "interaction_required",
        "consent_required" => "consent_required",
        "temporarily_unavailable" => "temporarily_unavailable",
        _ => "server_error",
    };
    let number = description.and_then(aadsts);
    let text = "The identity provider did not complete the sign-in";
    (
        code,
        number.map_or_else(
            || text.to_owned(),
            |number| format!("{text} (AADSTS{number})"),
        ),
    )
}

fn aadsts(description: &str) -> Option<&str> {
    let rest = description.split_once("AADSTS")?.1;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (1..=9).contains(&digits).then(|| &rest[..digits])
}

#[cfg(test)]
mod tests {
    use super::relayed;

    #[test]
    fn d20_t23_relayed_error_contains_only_code_and_number() {
        let long = "AADSTS65004: User 'ada@contoso.example' declined. Trace ID: 1 <script>";
        let text = "The identity provider did not complete the sign-in";
        for (error, description, code, told) in [
            (
                "access_denied",
                Some(long),
                "access_denied",
                format!("{text} (AADSTS65004)"),
            ),
            ("access_denied", None, "access_denied", text.to_owned()),
            (
                "invalid_target",
                Some("AADSTS9010010: x"),
                "server_error",
                format!("{text} (AADSTS9010010)"),
            ),
            (
                "<script>",
                Some("AADSTS<script>"),
                "server_error",
                text.to_owned(),
            ),
            (
                "login_required",
                Some("x"),
                "login_required",
                text.to_owned(),
            ),
        ] {
            assert_eq!(relayed(error, description), (code, told));
        }
    }
}
