//! Parses `WWW-Authenticate` (RFC 9110 §11.6.1), its Bearer parameters (RFC 6750 §3, RFC 9728
//! §5.1) and Entra's claims challenge.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use crate::text::one_line;

/// The Bearer challenge of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The URL of the protected resource metadata.
    pub(crate) resource_metadata: Option<String>,
    /// The scopes that the request needs.
    pub(crate) scopes: Vec<String>,
    /// The error code.
    pub(crate) error: Option<String>,
    /// The error description.
    description: Option<String>,
    /// The claims that Entra requires in the next token, as JSON.
    pub(crate) claims: Option<String>,
}

/// Returns the error of a `WWW-Authenticate` header: `error`, then `error_description` in
/// brackets, on one line without control characters. Returns `None` if it has neither.
#[must_use]
pub fn challenge_words(header: &str) -> Option<String> {
    let challenge = Challenge::parse(header)?;
    let said = |text: Option<String>| {
        text.map(|text| one_line(&text))
            .filter(|text| !text.is_empty())
    };
    match (said(challenge.error), said(challenge.description)) {
        (Some(error), Some(description)) => Some(format!("{error} ({description})")),
        (error, description) => error.or(description),
    }
}

impl Challenge {
    /// Parses the first Bearer challenge of a header. Several headers may be joined with commas.
    /// Skips what it cannot parse, because the challenge only helps discovery.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let mut challenge = None;
        for (scheme, name, value) in parameters(header) {
            if !scheme.eq_ignore_ascii_case("bearer") {
                continue;
            }
            challenge
                .get_or_insert_with(Self::default)
                .take(&name, value);
        }
        challenge
    }

    /// Returns true if the request had insufficient scopes (RFC 6750 §3.1).
    pub(crate) fn is_insufficient_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }

    fn take(&mut self, name: &str, value: String) {
        match name.to_ascii_lowercase().as_str() {
            "resource_metadata" => self.resource_metadata = Some(value),
            "scope" => self.scopes = value.split_whitespace().map(str::to_owned).collect(),
            "error" => self.error = Some(value),
            "error_description" => self.description = Some(value),
            "claims" => self.claims = decode(&value),
            _ => {}
        }
    }
}

fn decode(claims: &str) -> Option<String> {
    let unpadded = claims.trim_end_matches('=');
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(unpadded)
        .or_else(|_| BASE64_STANDARD.decode(claims))
        .ok()?;
    let json = serde_json::from_slice::<serde_json::Value>(&bytes).ok()?;
    json.is_object().then(|| json.to_string())
}

/// Returns all parameters with their scheme, in order. A scheme without parameters yields one
/// nameless parameter, so that a bare `Bearer` is found.
fn parameters(header: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut scheme = String::new();
    for part in split(header) {
        let (head, value) = part.split_once('=').unwrap_or((part.as_str(), ""));
        let mut words = head.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        let name = match second {
            Some(name) => {
                first.clone_into(&mut scheme);
                name
            }
            None if !part.contains('=') => {
                first.clone_into(&mut scheme);
                ""
            }
            None => first,
        };
        found.push((scheme.clone(), name.to_owned(), unquote(value.trim())));
    }
    found
}

/// Splits at commas outside quotes.
fn split(header: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for character in header.chars() {
        if character == ',' && !quoted {
            parts.push(String::new());
            continue;
        }
        if character == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = character == '\\' && quoted && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Challenge, challenge_words};

    fn parse(header: &str) -> Challenge {
        Challenge::parse(header).unwrap()
    }

    #[test]
    fn challenge_parser_accepts_real_headers() {
        let full = parse(
            r#"Bearer error="insufficient_scope", scope="mcp.read  mcp.write",resource_metadata="https://x.example/.well-known/oauth-protected-resource/a,b", error_description="say \"please\", now""#,
        );
        assert_eq!(full.error.as_deref(), Some("insufficient_scope"));
        assert_eq!(full.scopes, ["mcp.read", "mcp.write"]);
        assert_eq!(
            full.resource_metadata.as_deref(),
            Some("https://x.example/.well-known/oauth-protected-resource/a,b")
        );
        assert_eq!(parse("Bearer"), Challenge::default());
        assert_eq!(parse("bearer scope=one").scopes, ["one"]);
        let second = parse(r#"Basic realm="x", Bearer scope="two", DPoP algs="ES256""#);
        assert_eq!(second.scopes, ["two"]);
        assert_eq!(Challenge::parse(r#"Basic realm="Bearer scope=x""#), None);
        assert_eq!(Challenge::parse(""), None);
    }

    #[test]
    fn challenge_text_is_one_short_line() {
        let words = |header: &str| challenge_words(header);
        assert_eq!(
            words(r#"Bearer error="invalid_token", error_description="wrong audience""#).unwrap(),
            "invalid_token (wrong audience)"
        );
        let hostile = format!(
            "Bearer error_description=\"\u{1b}[31mone\r\n\ttwo {}\"",
            "x".repeat(1000)
        );
        let hostile = words(&hostile).unwrap();
        assert!(hostile.starts_with("[31mone two x"), "{hostile}");
        assert!(hostile.chars().count() <= 400 && !hostile.contains(char::is_control));
        assert_eq!(words("Bearer"), None);
        assert_eq!(words(r#"Bearer error="", error_description=" ""#), None);
        assert_eq!(words(r#"Basic realm="x""#), None);
    }

    #[test]
    fn claims_challenge_of_entra_is_decoded() {
        let entra = parse(
            r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#,
        );
        assert_eq!(
            entra.claims.as_deref(),
            Some(r#"{"access_token":{"nbf":{"essential":true}}}"#)
        );
        assert_eq!(parse(r#"Bearer claims="no json""#).claims, None);
    }
}
