//! Errors of the bridge, as users and hosts see them.
//!
//! Does not own: errors that depend on the state of a server (`server_problem`).

use control::api::{Problem, ProblemKind};
use mcp::upstream::UpstreamError;
use mcp::{Message, RequestId};
use model::config::ServerAuth;
use model::{EndpointUrl, ServerName};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Builds the error response to a host's request. Many hosts show `message` alone, so it includes
/// the hint.
pub(crate) fn host_answer(id: Option<&RequestId>, server: &str, problem: &Problem) -> Message {
    let named = about(server, problem);
    let message = named.sentence();
    answer(id, server, &Problem { message, ..named })
}

/// Builds the error response to a request of the bridge itself.
pub(crate) fn answer(id: Option<&RequestId>, server: &str, problem: &Problem) -> Message {
    let mut data = json!({ "kind": problem.kind, "server": server, "hint": problem.hint });
    if let Some(refusal) = &problem.refusal {
        data["refusal"] = json!(refusal);
    }
    Message::error_response(id, problem.kind.code(), &problem.message, Some(data))
}

/// Names the server in the message, for readers who do not see its name beside it.
pub(crate) fn about(server: &str, problem: &Problem) -> Problem {
    let named = ["", "the sign-in to "].into_iter().find_map(|start| {
        let rest = problem.message.strip_prefix(start)?;
        let rest = rest.strip_prefix("the server")?;
        rest.starts_with([' ', '\''])
            .then(|| format!("{start}{server}{rest}"))
    });
    let message = named.unwrap_or_else(|| format!("{server}: {}", problem.message));
    Problem {
        message,
        ..problem.clone()
    }
}

/// Converts a failure of the server. Like all functions below, does not name the server.
pub(crate) fn from_failure(failure: &UpstreamError) -> Problem {
    let (kind, hint) = match failure {
        UpstreamError::Forbidden { .. } if missing_scopes(failure).is_some() => (
            ProblemKind::Failed,
            "sign in again from Postern's tray menu or with `postern sign-in`: that asks for the access that is missing",
        ),
        // Another sign-in of the same account brings the same permissions.
        UpstreamError::Unauthorized { .. } | UpstreamError::Forbidden { .. } => (
            ProblemKind::Failed,
            "ask the administrators of the server for access; if it wants a key, write it into `headers` of this server in config.toml (`postern secrets set` stores the value)",
        ),
        // Reported for requests only: the server has not processed them.
        UpstreamError::SessionGone { .. } => (
            ProblemKind::Unreachable,
            "the call was not carried out; try again",
        ),
        UpstreamError::StreamEnded => (
            ProblemKind::Unreachable,
            "the call may have completed; check before retrying",
        ),
        UpstreamError::Unreachable { sent: false, .. } => (
            ProblemKind::Unreachable,
            "check the network and the address; Postern keeps trying",
        ),
        UpstreamError::Unreachable { sent: true, .. } => (
            ProblemKind::Unreachable,
            "the call may have completed; check before retrying",
        ),
        UpstreamError::Untrusted { .. } => (
            ProblemKind::Untrusted,
            "report this to the server's operator",
        ),
        UpstreamError::NotTls => (ProblemKind::NotMcp, "check the server's URL"),
        UpstreamError::NotMcp { .. } => (
            ProblemKind::NotMcp,
            "check the server's URL; it usually ends in /mcp or /sse",
        ),
        UpstreamError::Rejected { .. } if failure.is_wrong_path() => (
            ProblemKind::NotMcp,
            "check the server's URL; it usually ends in /mcp",
        ),
        UpstreamError::Rejected { .. } => {
            (ProblemKind::Failed, "report this to the server's operator")
        }
    };
    // Some failures bring a more specific hint.
    let problem = Problem::from_text(kind, &failure.to_string());
    match problem.hint {
        Some(_) => problem,
        None => problem.with_hint(hint),
    }
}

/// Returns the challenge of a 403 `insufficient_scope` (RFC 6750 §3.1). Returns `None` for other
/// failures.
pub(crate) fn missing_scopes(failure: &UpstreamError) -> Option<&str> {
    match failure {
        UpstreamError::Forbidden { challenge, .. } => challenge
            .as_deref()
            .filter(|challenge| challenge.contains("insufficient_scope")),
        UpstreamError::Unauthorized { .. }
        | UpstreamError::SessionGone { .. }
        | UpstreamError::Unreachable { .. }
        | UpstreamError::Untrusted { .. }
        | UpstreamError::NotTls
        | UpstreamError::NotMcp { .. }
        | UpstreamError::Rejected { .. }
        | UpstreamError::StreamEnded => None,
    }
}

/// The configuration changed or removed the server.
pub(crate) fn replaced(has_successor: bool) -> Problem {
    if has_successor {
        let text = "the server's configuration was changed while this request was under way";
        Problem::new(ProblemKind::Unreachable, text)
            .with_hint("the call may have completed; check before retrying")
    } else {
        let text = "the server was removed from Postern";
        Problem::new(ProblemKind::NotFound, text)
            .with_hint("add it again with `postern servers add`, or remove it here too")
    }
}

/// Converts a JSON-RPC error of the server.
pub(crate) fn from_rpc_error(error: &RawValue) -> Problem {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let said = mcp::json::read::<Said>(error.get());
    let words = said
        .ok()
        .and_then(|said| model::excerpt(said.message.as_bytes(), &[]));
    let text = match words {
        Some(words) => format!("the server says: {words}"),
        None => "the server returned an error without a message".to_owned(),
    };
    Problem::new(ProblemKind::Failed, text)
}

/// The server has not responded, for an unknown reason.
pub(crate) fn not_in_time() -> Problem {
    let text = "the server has not answered in time";
    Problem::new(ProblemKind::Unreachable, text).with_hint("try again in a moment")
}

/// The user must sign in.
pub(crate) fn sign_in_needed(server: &ServerName) -> Problem {
    let text = "the server needs a sign-in";
    Problem::new(ProblemKind::SignInNeeded, text).with_hint(format!(
        "sign in from Postern's tray menu or with `postern sign-in {server}`, then try again"
    ))
}

/// The server rejects the tokens of the last sign-in, with its own explanation `words`. The hint
/// depends on where the configuration takes the audience and the scopes from.
pub(crate) fn refused_after_sign_in(
    name: &ServerName,
    auth: &ServerAuth,
    words: Option<&str>,
) -> Problem {
    let said = words.map_or_else(String::new, |words| format!(": {words}"));
    let text = format!("the server refuses the token of the last sign-in{said}");
    let cause = match auth {
        ServerAuth::Entra { .. } => {
            format!("check `resource`, which names the audience, and `scopes` of [servers.{name}]")
        }
        ServerAuth::Client { .. } => format!(
            "check `scopes` of [servers.{name}], and ask the administrators of the server which audience it accepts"
        ),
        ServerAuth::Discover | ServerAuth::None | ServerAuth::ClientCredentials(_) => {
            "ask the administrators of the server which audience and scopes it accepts".to_owned()
        }
    };
    Problem::new(ProblemKind::SignInNeeded, text).with_hint(format!(
        "{cause}, then sign in from Postern's tray menu or with `postern sign-in {name}`"
    ))
}

/// Adds the scopes of other resources that a server requested when it rejected a token. No sign-in
/// can grant them.
pub(crate) fn with_foreign_scopes(problem: Problem, scopes: &[String]) -> Problem {
    if scopes.is_empty() {
        return problem;
    }
    let message = format!(
        "{}; it asked for scopes of other resources, which Postern does not ask for: {}",
        problem.message,
        scopes.join(", ")
    );
    Problem { message, ..problem }.with_hint("tell the administrators of the server")
}

/// Converts the error of a sign-in to a server at `url`, which has no name yet.
pub(crate) fn from_new_sign_in(url: &EndpointUrl, error: &auth::SignInError) -> Problem {
    let text = error.to_string().replace(url.shown(), "the server");
    Problem::from_text(kind_of_sign_in(error), &text)
}

/// Returns the kind of a failed sign-in.
pub(crate) fn kind_of_sign_in(error: &auth::SignInError) -> ProblemKind {
    use auth::SignInError as Error;
    match error {
        Error::DeviceCode(ended) => kind_of_sign_in(ended),
        Error::Declined { .. } | Error::TimedOut { .. } | Error::NotApproved { .. } => {
            ProblemKind::SignInEnded
        }
        Error::ApprovalNeeded { .. } => ProblemKind::SignInNeeded,
        Error::Unreachable { .. } | Error::UnknownName { .. } | Error::Busy { .. } => {
            ProblemKind::Unreachable
        }
        Error::Untrusted { .. } => ProblemKind::Untrusted,
        Error::WrongPath { .. } | Error::NotTls { .. } => ProblemKind::NotMcp,
        Error::PortTaken { .. } | Error::PortAwaited { .. } => ProblemKind::InUse,
        Error::NoDeviceCode { .. }
        | Error::NotForPeople { .. }
        | Error::NotProtected { .. }
        | Error::NoSignIn { .. } => ProblemKind::NotOffered,
        Error::SecretMissing { .. } | Error::NoSuchServer { .. } => ProblemKind::NotFound,
        Error::NoRegistration { .. }
        | Error::Insecure { .. }
        | Error::ForeignResource { .. }
        | Error::MixUp(_) => ProblemKind::Invalid,
        Error::Vault(_) => ProblemKind::Vault,
        Error::Refused { .. }
        | Error::ClockWrong { .. }
        | Error::Malformed { .. }
        | Error::RegistrationLost { .. } => ProblemKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use control::api::{Problem, ProblemKind};
    use mcp::upstream::UpstreamError;

    use super::{about, from_failure};

    #[test]
    fn problem_names_server_once() {
        let failure = UpstreamError::Unreachable {
            reason: "no route".to_owned(),
            sent: false,
        };
        let problem = from_failure(&failure);
        assert_eq!(problem.message, "the server cannot be reached: no route");
        let named = about("snip", &problem);
        assert_eq!(named.message, "snip cannot be reached: no route");
        assert_eq!(named.hint, problem.hint);
        let refused = "the sign-in to the server was refused: no";
        let refused = about("snip", &Problem::new(ProblemKind::Failed, refused));
        assert_eq!(refused.message, "the sign-in to snip was refused: no");
        let other = Problem::new(ProblemKind::Vault, "the keychain is locked");
        assert_eq!(
            about("snip", &other).message,
            "snip: the keychain is locked"
        );
    }
}
