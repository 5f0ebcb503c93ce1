//! Errors for users, with what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// An error with a hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS, thiserror::Error)]
#[ts(export)]
pub struct Problem {
    /// The kind, which programs may branch on.
    pub kind: ProblemKind,
    /// One sentence: what failed, with which server.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The error of the authorization server, if that is the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub refusal: Option<Box<AuthErrorView>>,
}

/// The error of an authorization server, for the one who must act on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct AuthErrorView {
    /// The code to search for: `AADSTS65001`, or an OAuth error code.
    pub code: String,
    /// Who must act.
    pub actor: Actor,
    /// The authorization server's error description.
    pub words: Option<String>,
    /// The ID of the attempt in Entra's logs.
    pub correlation_id: Option<String>,
    /// The page on which an administrator consents for the application.
    pub admin_consent_url: Option<String>,
}

/// Who must act on an error of an authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum Actor {
    /// The user who signs in.
    You,
    /// An administrator of the organisation.
    Administrator,
    /// The owner of the app registration or of the server's configuration.
    Owner,
    /// No one: the error is temporary.
    Time,
}

/// The kinds of [`Problem`] that a client treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum ProblemKind {
    /// A sign-in is needed.
    SignInNeeded,
    /// The server cannot be reached.
    Unreachable,
    /// The server's certificate is not trusted.
    Untrusted,
    /// The server's response is not MCP.
    NotMcp,
    /// There is no server, account, host, consent or secret with that name.
    NotFound,
    /// The request or the configuration is invalid.
    Invalid,
    /// The keychain is locked, absent or fails.
    Vault,
    /// The sign-in was cancelled, declined or timed out.
    SignInEnded,
    /// A port or another resource is already in use.
    InUse,
    /// The server does not support this.
    NotOffered,
    /// Any other error.
    Failed,
}

impl ProblemKind {
    /// Returns the JSON-RPC error code for hosts. The codes from 1001 are outside the ranges that
    /// JSON-RPC (-32768 to -32000) and MCP (-32020 to -32099) reserve.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::SignInNeeded => 1001,
            Self::Unreachable => 1002,
            Self::Untrusted => 1003,
            Self::NotMcp => 1004,
            Self::NotFound => 1005,
            Self::Invalid => 1006,
            Self::Vault => 1007,
            Self::SignInEnded => 1008,
            Self::InUse => 1009,
            Self::NotOffered => 1010,
            Self::Failed => 1011,
        }
    }
}

impl Problem {
    /// Returns the message and the hint as one text, for hosts that show only the message.
    #[must_use]
    pub fn sentence(&self) -> String {
        let message = self.message.trim_end_matches('.');
        match self.hint.as_deref() {
            None => message.to_owned(),
            Some(hint) => format!("{message}. {}.", capitalized(hint.trim_end_matches('.'))),
        }
    }

    /// Creates a problem without a hint.
    #[must_use]
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            refusal: None,
        }
    }

    /// Parses an error text that may end in `hint: …`. Several hints, which nested errors add, are
    /// joined. Numbers of system errors are removed, because the text beside them says the same.
    #[must_use]
    pub fn from_text(kind: ProblemKind, text: &str) -> Self {
        let text = &without_error_numbers(text);
        match text.split_once("hint: ") {
            Some((message, hint)) => {
                Self::new(kind, message.trim_end_matches([' ', ';', '\n', '.']))
                    .with_hint(hint.replace("; hint: ", "; "))
            }
            None => Self::new(kind, text),
        }
    }

    /// Sets the hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(rest).collect()
}

/// Removes the numbers that `std` appends to system errors, as in ` (os error 111)`.
fn without_error_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => {
                kept.push_str(rest);
            }
            Some(_) | None => {
                kept.push_str(" (os error ");
                kept.push_str(part);
            }
        }
    }
    kept
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        match &self.refusal {
            Some(refusal) => write!(f, "\n{refusal}"),
            None => Ok(()),
        }
    }
}

/// Formats the details to quote, and the link for the administrator.
impl fmt::Display for AuthErrorView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(link) = &self.admin_consent_url {
            writeln!(f, "for the administrator: {link}")?;
        }
        write!(f, "to quote: {}", self.code)?;
        match &self.correlation_id {
            Some(id) => write!(f, ", correlation ID {id}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ts_rs::{Config, TS};

    use super::{Problem, ProblemKind};

    #[test]
    fn every_kind_is_documented() {
        let mut kinds: Vec<String> = ProblemKind::inline(&Config::new())
            .split(" | ")
            .map(str::to_owned)
            .collect();
        let documentation = include_str!("../../../../docs/errors.md");
        // The gateway's sections follow.
        let (ours, _) = documentation.split_once("\n# ").unwrap();
        let mut sections = Vec::new();
        for title in ours.lines().filter_map(|line| line.strip_prefix("## ")) {
            let (code, kind) = title.split_once(' ').unwrap();
            let kind = kind.replace('`', "\"");
            let known: ProblemKind = serde_json::from_str(&kind).unwrap();
            assert_eq!(known.code().to_string(), code, "{title}");
            sections.push(kind);
        }
        kinds.sort();
        sections.sort();
        assert_eq!(sections, kinds);
    }

    #[test]
    fn from_text_splits_off_hint_and_error_numbers() {
        let problem = Problem::from_text(
            ProblemKind::Invalid,
            "`X` is not a server name; hint: use a-z",
        );
        assert_eq!(problem.message, "`X` is not a server name");
        assert_eq!(problem.hint.as_deref(), Some("use a-z"));
        assert_eq!(
            problem.to_string(),
            "`X` is not a server name\nhint: use a-z"
        );
        let problem = Problem::from_text(ProblemKind::Invalid, "no; hint: one; hint: other");
        assert_eq!(problem.to_string(), "no\nhint: one; other");
        let refused = "a: Connection refused (os error 111), b (os error x); hint: c";
        let problem = Problem::from_text(ProblemKind::Unreachable, refused);
        assert_eq!(
            problem.to_string(),
            "a: Connection refused, b (os error x)\nhint: c"
        );
    }
}
