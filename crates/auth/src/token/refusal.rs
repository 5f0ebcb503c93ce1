//! What the token endpoint says when it refuses, with what Entra adds.

use std::fmt;

use serde::{Deserialize, Serialize};

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

    /// What can be done about it, and by whom.
    pub(crate) fn hint(&self) -> &'static str {
        let code = self.error_codes.first().copied().or_else(|| {
            let text = self.error_description.as_deref()?.strip_prefix("AADSTS")?;
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            text[..digits].parse().ok()
        });
        match code {
            Some(65001 | 90094 | 90095) => {
                "an administrator of your organisation has to consent to this application"
            }
            Some(50105) => "an administrator has to assign you to this application",
            Some(53000..=53003) => {
                "a rule of your organisation forbids this sign-in; ask its administrator"
            }
            Some(700_016 | 700_038 | 90002 | 900_384 | 50194) => {
                "check the tenant and the client id of this server"
            }
            Some(7_000_218 | 700_025) => {
                "the redirect URI has to be registered under Mobile and desktop applications"
            }
            Some(50011) => {
                "http://localhost has to be registered as a redirect URI under Mobile and desktop applications"
            }
            Some(650_053 | 70011 | 28002) => "check the scopes of this server",
            Some(500_011 | 650_057 | 50001 | 9_010_010 | 901_002) => {
                "check the resource (App ID URI) of this server"
            }
            Some(50196) => "wait a few minutes before signing in again",
            _ => match self.error.as_str() {
                "invalid_scope" => "check the scopes of this server",
                "unauthorized_client" | "invalid_client" => "check the client id of this server",
                "temporarily_unavailable" | "server_error" => "try again in a moment",
                _ => "sign in again; if it fails again, tell who runs the server",
            },
        }
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
        assert!(refusal.hint().contains("administrator"));
        assert!(!refusal.to_string().contains('\n'));
    }

    #[test]
    fn the_hint_is_found_on_the_redirect_too() {
        let refusal = Refusal::on_redirect(
            "invalid_target",
            Some("AADSTS9010010: The resource parameter doesn't match. \u{1b}[31m"),
        );
        assert!(refusal.hint().contains("App ID URI"));
        assert!(!refusal.to_string().contains('\u{1b}'));
    }
}
