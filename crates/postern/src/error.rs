//! The error of a command: one message, one hint, one exit code.

use std::fmt;

use control::CallError;
use control::api::{Problem, ProblemKind};
use control::start::StartError;

/// The exit codes of the process, as listed by `postern --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    Failed = 1,
    Usage = 2,
    SignInNeeded = 3,
    Unreachable = 4,
}

/// The error of a failed command.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    exit: ExitStatus,
}

impl CliError {
    /// Creates a general error. The text may end in `hint: …`.
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self::from_text(ExitStatus::Failed, &text.to_string())
    }

    /// Creates an error for invalid arguments or environment variables.
    pub(crate) fn usage(message: impl Into<String>, hint: &str) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.to_owned()),
            exit: ExitStatus::Usage,
        }
    }

    /// Creates an error for a bridge or a server that cannot be reached.
    pub(crate) fn unreachable(text: impl fmt::Display) -> Self {
        Self::from_text(ExitStatus::Unreachable, &text.to_string())
    }

    /// Creates an error for CA files that cannot be loaded. `others` names the settings besides the
    /// environment variable that list such files.
    fn certificates(reason: impl fmt::Display, others: &str) -> Self {
        Self::new(format_args!(
            "the certificates to trust cannot be loaded: {reason}; hint: check the files that POSTERN_EXTRA_CA names{others}"
        ))
    }

    pub(crate) fn exit(&self) -> ExitStatus {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn from_text(exit: ExitStatus, text: &str) -> Self {
        let problem = Problem::from_text(ProblemKind::Failed, text);
        Self {
            message: problem.message,
            hint: problem.hint,
            exit,
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        let exit = match problem.kind {
            ProblemKind::SignInNeeded | ProblemKind::SignInEnded => ExitStatus::SignInNeeded,
            ProblemKind::Unreachable | ProblemKind::Untrusted => ExitStatus::Unreachable,
            ProblemKind::NotMcp
            | ProblemKind::NotFound
            | ProblemKind::Invalid
            | ProblemKind::Vault
            | ProblemKind::InUse
            | ProblemKind::NotOffered
            | ProblemKind::Failed => ExitStatus::Failed,
        };
        Self {
            message: problem.message,
            hint: problem.hint,
            exit,
        }
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Problem(problem) => problem.into(),
            CallError::NotRunning | CallError::Hung(_) | CallError::Broken(_) => {
                Self::unreachable(error)
            }
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::unreachable(error)
    }
}

impl From<control::EndError> for CliError {
    fn from(error: control::EndError) -> Self {
        Self::unreachable(error)
    }
}

impl From<control::HomeError> for CliError {
    fn from(error: control::HomeError) -> Self {
        Self::from_text(ExitStatus::Usage, &error.to_string())
    }
}

impl From<bridge::ServeError> for CliError {
    fn from(error: bridge::ServeError) -> Self {
        match error {
            bridge::ServeError::Tls(reason) => Self::certificates(reason, ""),
            bridge::ServeError::Sockets(reason) => Self::new(reason),
        }
    }
}

impl From<bridge::OutboundConfigError> for CliError {
    fn from(error: bridge::OutboundConfigError) -> Self {
        match error {
            bridge::OutboundConfigError::Config(reason) => Self::new(reason),
            bridge::OutboundConfigError::Roots(reason) => Self::certificates(
                reason,
                ", and `extra_ca_files` under [bridge] of config.toml",
            ),
        }
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format_args!("{error:#}"))
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use control::api::{Problem, ProblemKind};

    use super::{CliError, ExitStatus};

    #[test]
    fn exit_code_follows_problem_kind_and_hint_is_on_its_own_line() {
        let problem =
            Problem::new(ProblemKind::SignInNeeded, "x needs a sign-in").with_hint("sign in");
        let error = CliError::from(problem);
        assert_eq!(error.exit(), ExitStatus::SignInNeeded);
        assert_eq!(error.to_string(), "x needs a sign-in\nhint: sign in");
        let error = CliError::from(anyhow::anyhow!("no; hint: yes").context("cannot"));
        assert_eq!(error.to_string(), "cannot: no\nhint: yes");
    }
}
