//! What the token endpoint says when it refuses, with what Entra adds.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The body of a refusal (RFC 6749 section 5.2) and Entra's additions to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    pub(crate) error_description: Option<String>,
    /// What kind of interaction is needed.
    pub(crate) suberror: Option<String>,
    /// The claims that the next sign-in must ask for, as JSON.
    pub(crate) claims: Option<String>,
    /// The numbers of the AADSTS codes: for help, never to branch on.
    #[serde(default)]
    pub(crate) error_codes: Vec<u32>,
    /// What Entra's logs know the attempt by.
    correlation_id: Option<String>,
}

impl oauth2::ErrorResponse for Refusal {}

impl Refusal {
    /// Of an answer on the redirect, which has no more than these two.
    pub(crate) fn on_redirect(error: &str, description: Option<&str>) -> Self {
        Self {
            error: plain(error),
            error_description: description.map(plain),
            ..Self::default()
        }
    }

    /// The words of the server, without anything that could steer a terminal.
    pub(crate) fn description(&self) -> Option<String> {
        self.error_description.as_deref().map(plain)
    }

    /// The number of Entra's error, for words and never to branch on. On the redirect it stands
    /// in the description alone.
    pub(crate) fn number(&self) -> Option<u32> {
        self.error_codes.first().copied().or_else(|| {
            let text = self.error_description.as_deref()?.strip_prefix("AADSTS")?;
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            text[..digits].parse().ok()
        })
    }

    /// What Entra's logs know the attempt by: the member, or else the word of the description.
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

    /// Whether a refused grant is one that is dead. Entra refuses live ones too, until somebody
    /// has done something or a rule lets it pass.
    pub(crate) fn is_of_a_dead_grant(&self) -> bool {
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

    /// Whether it is the refresh token itself that is refused, whatever else was asked for.
    pub(crate) fn is_of_the_refresh_token(&self) -> bool {
        let is_named = matches!(
            self.suberror.as_deref(),
            Some("bad_token" | "token_expired")
        );
        self.error == "invalid_grant" && is_named && self.claims.is_none()
    }

    /// Whether no sign-in can change it: a rule forbids it here and now.
    pub(crate) fn is_a_rule(&self) -> bool {
        self.suberror.as_deref() == Some("message_only")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.error))?;
        match self.description() {
            Some(description) => write!(f, " ({description})"),
            None => Ok(()),
        }
    }
}

/// Foreign words on one line of at most 400 characters.
pub(crate) fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>();
    line.join(" ").chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn keeps_what_entra_adds() {
        let body = r#"{"error":"invalid_grant","error_description":"AADSTS65001: The user or administrator has not consented.\r\nTrace ID: 1","error_codes":[65001],"suberror":"consent_required","claims":"{\"access_token\":{}}","timestamp":"2026-08-13 10:00:00Z"}"#;
        let refusal: Refusal = serde_json::from_str(body).unwrap();
        assert_eq!(refusal.suberror.as_deref(), Some("consent_required"));
        assert_eq!(refusal.claims.as_deref(), Some(r#"{"access_token":{}}"#));
        assert_eq!(refusal.number(), Some(65001));
        assert!(!refusal.is_of_a_dead_grant());
        assert!(!refusal.to_string().contains('\n'));
    }

    #[test]
    fn the_number_is_found_on_the_redirect_too() {
        let refusal = Refusal::on_redirect(
            "invalid_target",
            Some(
                "AADSTS9010010: The resource parameter doesn't match. \u{1b}[31m Trace ID: x Correlation ID: 6b1c1f5e-6f0a-4a55-9c8e-0f8b6a1c2d3e Timestamp: y",
            ),
        );
        assert_eq!(refusal.number(), Some(9_010_010));
        let id = refusal.correlation_id();
        assert_eq!(id.as_deref(), Some("6b1c1f5e-6f0a-4a55-9c8e-0f8b6a1c2d3e"));
        assert!(!refusal.to_string().contains('\u{1b}'));
    }
}
