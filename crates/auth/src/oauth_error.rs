//! OAuth error responses, with Entra's extensions.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::text::one_line;

/// An error response (RFC 6749 §5.2) with Entra's extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct OAuthError {
    pub(crate) error: String,
    pub(crate) error_description: Option<String>,
    /// The kind of interaction that is required.
    pub(crate) suberror: Option<String>,
    /// The claims that the next sign-in must request, as JSON.
    pub(crate) claims: Option<String>,
    /// The numbers of the AADSTS codes. For texts only, never for decisions.
    #[serde(default)]
    pub(crate) error_codes: Vec<u32>,
    /// The correlation id in Entra's logs.
    correlation_id: Option<String>,
}

impl oauth2::ErrorResponse for OAuthError {}

impl OAuthError {
    /// Builds the error from the redirect parameters (RFC 6749 §4.1.2.1).
    pub(crate) fn from_redirect(error: &str, description: Option<&str>) -> Self {
        Self {
            error: one_line(error),
            error_description: description.map(one_line),
            ..Self::default()
        }
    }

    /// Returns the error description without control characters.
    pub(crate) fn description(&self) -> Option<String> {
        self.error_description.as_deref().map(one_line)
    }

    /// Returns the number of Entra's error. For texts only, never for decisions. On the redirect
    /// only the description contains it.
    pub(crate) fn number(&self) -> Option<u32> {
        self.error_codes.first().copied().or_else(|| {
            let text = self.error_description.as_deref()?.strip_prefix("AADSTS")?;
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            text[..digits].parse().ok()
        })
    }

    /// Returns the correlation id in Entra's logs: the member, or else that of the description.
    pub(crate) fn correlation_id(&self) -> Option<String> {
        let named = || {
            let (_, after) = self
                .error_description
                .as_deref()?
                .split_once("Correlation ID:")?;
            after.split_whitespace().next().map(str::to_owned)
        };
        let id = self.correlation_id.clone().or_else(named)?;
        Uuid::try_parse(&id).is_ok().then_some(id)
    }

    /// Returns true if the grant is invalid. Entra refuses valid grants too, until the user or a
    /// policy changes something.
    pub(crate) fn invalidates_grant(&self) -> bool {
        const ALIVE: [&str; 7] = [
            "basic_action",
            "additional_action",
            "message_only",
            "consent_required",
            "user_password_expired",
            "protection_policy_required",
            "device_authentication_failed",
        ];
        let suberror = self.suberror.as_deref();
        self.error == "invalid_grant" && suberror.is_none_or(|suberror| !ALIVE.contains(&suberror))
    }

    /// Returns true if the refresh token itself is refused, whatever else was requested.
    pub(crate) fn invalidates_refresh_token(&self) -> bool {
        let is_named = matches!(
            self.suberror.as_deref(),
            Some("bad_token" | "token_expired")
        );
        self.error == "invalid_grant" && is_named && self.claims.is_none()
    }

    /// Returns true if a policy denies access, so that no sign-in can change it.
    pub(crate) fn is_policy_denial(&self) -> bool {
        self.suberror.as_deref() == Some("message_only")
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.error))?;
        match self.description() {
            Some(description) => write!(f, " ({description})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OAuthError;

    #[test]
    fn oauth_error_keeps_entra_extensions() {
        let body = r#"{"error":"invalid_grant","error_description":"AADSTS65001: The user or administrator has not consented.\r\nTrace ID: 1","error_codes":[65001],"suberror":"consent_required","claims":"{\"access_token\":{}}","timestamp":"2026-08-13 10:00:00Z"}"#;
        let oauth_error: OAuthError = serde_json::from_str(body).unwrap();
        assert_eq!(oauth_error.suberror.as_deref(), Some("consent_required"));
        assert_eq!(
            oauth_error.claims.as_deref(),
            Some(r#"{"access_token":{}}"#)
        );
        assert_eq!(oauth_error.number(), Some(65001));
        assert!(!oauth_error.invalidates_grant());
        assert!(!oauth_error.to_string().contains('\n'));
    }

    #[test]
    fn redirect_error_has_number() {
        let oauth_error = OAuthError::from_redirect(
            "invalid_target",
            Some(
                "AADSTS9010010: The resource parameter doesn't match. \u{1b}[31m Trace ID: x Correlation ID: 6b1c1f5e-6f0a-4a55-9c8e-0f8b6a1c2d3e Timestamp: y",
            ),
        );
        assert_eq!(oauth_error.number(), Some(9_010_010));
        let id = oauth_error.correlation_id();
        assert_eq!(id.as_deref(), Some("6b1c1f5e-6f0a-4a55-9c8e-0f8b6a1c2d3e"));
        assert!(!oauth_error.to_string().contains('\u{1b}'));
    }
}
