//! Errors of the bridge, as users and hosts see them.

use control::api::{Actor, Problem, ProblemKind, RefusalView};
use mcp::up::Failure;
use mcp::{Message, RequestId};
use model::config::ServerAuth;
use model::{EndpointUrl, SecretName, ServerName};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use url::Url;

use crate::registry::Server;

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
pub(crate) fn from_failure(failure: &Failure) -> Problem {
    let (kind, hint) = match failure {
        Failure::Forbidden { .. } if missing_scopes(failure).is_some() => (
            ProblemKind::Failed,
            "sign in again from Postern's tray menu or with `postern sign-in`: that asks for the access that is missing",
        ),
        // Another sign-in of the same account brings the same permissions.
        Failure::Unauthorized { .. } | Failure::Forbidden { .. } => (
            ProblemKind::Failed,
            "ask the administrators of the server for access; if it wants a key, write it into `headers` of this server in config.toml (`postern secrets set` stores the value)",
        ),
        // Reported for requests only: the server has not processed them.
        Failure::SessionGone { .. } => (
            ProblemKind::Unreachable,
            "the call was not carried out; try again",
        ),
        Failure::StreamEnded => (
            ProblemKind::Unreachable,
            "the call may have completed; check before retrying",
        ),
        Failure::Unreachable { sent: false, .. } => (
            ProblemKind::Unreachable,
            "check the network and the address; Postern keeps trying",
        ),
        Failure::Unreachable { sent: true, .. } => (
            ProblemKind::Unreachable,
            "the call may have completed; check before retrying",
        ),
        Failure::Untrusted { .. } => (
            ProblemKind::Untrusted,
            "report this to the server's operator",
        ),
        Failure::NotTls => (ProblemKind::NotMcp, "check the server's URL"),
        Failure::NotMcp { .. } => (
            ProblemKind::NotMcp,
            "check the server's URL; it usually ends in /mcp or /sse",
        ),
        Failure::Rejected { .. } if failure.is_wrong_path() => (
            ProblemKind::NotMcp,
            "check the server's URL; it usually ends in /mcp",
        ),
        Failure::Rejected { .. } => (ProblemKind::Failed, "report this to the server's operator"),
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
pub(crate) fn missing_scopes(failure: &Failure) -> Option<&str> {
    match failure {
        Failure::Forbidden { challenge, .. } => challenge
            .as_deref()
            .filter(|challenge| challenge.contains("insufficient_scope")),
        Failure::Unauthorized { .. }
        | Failure::SessionGone { .. }
        | Failure::Unreachable { .. }
        | Failure::Untrusted { .. }
        | Failure::NotTls
        | Failure::NotMcp { .. }
        | Failure::Rejected { .. }
        | Failure::StreamEnded => None,
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
pub(crate) fn refused_after_sign_in(server: &Server, words: Option<&str>) -> Problem {
    let name = &server.name;
    let said = words.map_or_else(String::new, |words| format!(": {words}"));
    let text = format!("the server refuses the token of the last sign-in{said}");
    let cause = match server.config.auth {
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

/// The user must sign in with a browser: the last sign-in was by device code and is rejected.
fn browser_needed(server: &ServerName) -> Problem {
    sign_in_needed(server).with_hint(format!(
        "sign in with a browser, from Postern's tray menu or with `postern sign-in {server}` (`postern sign-in {server} --paste` for one on another machine), then try again"
    ))
}

/// The server answers 401 to every request.
pub(crate) fn unauthorized(server: &Server) -> Problem {
    let words = server.refusal_words();
    if server.names_no_sign_in() {
        return no_sign_in(server, Some(401), words.as_deref());
    }
    match server.config.auth {
        ServerAuth::None => {}
        ServerAuth::ClientCredentials(_) => {
            let text = "the server refuses the token of this client";
            return Problem::new(ProblemKind::Failed, text).with_hint(
                "check the scopes and the resource of this server, and ask its operator to grant the client access",
            );
        }
        ServerAuth::Discover | ServerAuth::Client { .. } | ServerAuth::Entra { .. } => {
            return sign_in_needed(&server.name);
        }
    }
    let secrets = server.config.headers.secrets();
    let stored: String = secrets
        .map(|secret| format!(", store the value again with `postern secrets set {secret}`"))
        .collect();
    let said = words.map_or_else(String::new, |words| format!(" ({words})"));
    let text = format!(
        "the server answers 401{said}, and its configuration says that it needs no sign-in"
    );
    Problem::new(ProblemKind::Failed, text).with_hint(format!(
        "check its headers{stored}, or take `auth` out of [servers.{}]",
        server.name
    ))
}

/// The server rejects requests with `status` and `words`, and offers no way to sign in: it may want
/// a header.
fn no_sign_in(server: &Server, status: Option<u16>, words: Option<&str>) -> Problem {
    let answers = status.map_or_else(String::new, |status| format!("answers {status} and "));
    let said = words.map_or_else(String::new, |words| format!(": {words}"));
    let text = format!("the server {answers}names no way to sign in{said}");
    let name = &server.name;
    let secrets: Vec<_> = server.config.headers.secrets().collect();
    let hint = match (server.header_names().is_empty(), secrets.first()) {
        (_, Some(secret)) => format!(
            "check `headers` under [servers.{name}] in config.toml, or store the value again with `postern secrets set {secret}`"
        ),
        (false, None) => format!(
            "check `headers` under [servers.{name}] in config.toml; `postern secrets set` stores a value that is secret"
        ),
        (true, None) => {
            let secret = format!("{name}-key");
            let secret = match secret.parse::<SecretName>() {
                Ok(secret) => secret.to_string(),
                Err(_) => "api-key".to_owned(),
            };
            format!(
                "if it wants an API key, write `headers = {{ X-Api-Key = {{ keychain = \"{secret}\" }} }}` under [servers.{name}] in config.toml, with the name of its header, and store the key with `postern secrets set {secret}`"
            )
        }
    };
    let hint = match server.ephemeral {
        true => format!("add it with `postern servers add NAME URL` first; then {hint}"),
        false => hint,
    };
    Problem::new(ProblemKind::NotOffered, text).with_hint(hint)
}

/// Converts an authorization error of `auth`.
pub(crate) fn from_authorization(server: &Server, error: &auth::AuthorizationError) -> Problem {
    use auth::AuthorizationError as Error;
    let mut problem = match error {
        Error::SignInNeeded {
            reason,
            explanation,
            ..
        } => {
            let why = explanation
                .as_ref()
                .map_or_else(|| reason.to_string(), |known| known.what.to_string());
            let by_browser = *reason == auth::SignInReason::DeviceCodeRefused;
            let mut problem = match by_browser {
                true => browser_needed(&server.name),
                false => sign_in_needed(&server.name),
            };
            problem.message = format!("the server needs a sign-in: {why}");
            problem
        }
        Error::Unreachable {
            issuer,
            reason,
            retry_after,
            ..
        } => {
            // The issuer may start with the server's URL and must be shown in full.
            let named = Error::Unreachable {
                server: "the server".to_owned(),
                issuer: issuer.clone(),
                reason: reason.clone(),
                retry_after: *retry_after,
            };
            Problem::from_text(ProblemKind::Unreachable, &named.to_string())
        }
        Error::Vault(_) => without_url(server, ProblemKind::Vault, error),
        Error::NotGranted { .. } | Error::Misconfigured { .. } | Error::ForeignAudience { .. } => {
            without_url(server, ProblemKind::Invalid, error)
        }
        Error::Forbidden { .. } => without_url(server, ProblemKind::Failed, error),
    };
    problem.refusal = error.explanation().map(refusal_view);
    problem
}

/// Builds the view of an error response.
fn refusal_view(explanation: &auth::Explanation) -> Box<RefusalView> {
    Box::new(RefusalView {
        code: explanation.code().into_owned(),
        actor: match explanation.actor {
            auth::Actor::You => Actor::You,
            auth::Actor::Administrator => Actor::Administrator,
            auth::Actor::Owner => Actor::Owner,
            auth::Actor::Time => Actor::Time,
        },
        words: explanation.words.clone(),
        correlation_id: explanation.correlation_id.clone(),
        admin_consent_url: explanation.admin_consent.as_ref().map(Url::to_string),
    })
}

/// Replaces the URL of the server in an error of `auth`: its name tells the user more.
fn without_url(server: &Server, kind: ProblemKind, error: &impl std::fmt::Display) -> Problem {
    let text = error.to_string();
    Problem::from_text(kind, &text.replace(server.config.url.shown(), "the server"))
}

/// Converts the error of a sign-in.
pub(crate) fn from_sign_in(server: &Server, error: &auth::SignInError) -> Problem {
    match error {
        auth::SignInError::DeviceCode(ended) => return from_device_code(server, ended),
        auth::SignInError::NoSignIn { status, words, .. } => {
            let seen = server.refusal_words().filter(|_| *status != Some(403));
            return no_sign_in(server, *status, seen.as_deref().or(words.as_deref()));
        }
        _ => {}
    }
    let mut problem = without_url(server, kind_of_sign_in(error), error);
    problem.refusal = error.explanation().map(refusal_view);
    match matches!(error, auth::SignInError::NoDeviceCode { .. }) {
        true => problem.with_hint(ways_with_a_browser(server)),
        false => problem,
    }
}

/// Converts the error of a sign-in to a server at `url`, which has no name yet.
pub(crate) fn from_new_sign_in(url: &EndpointUrl, error: &auth::SignInError) -> Problem {
    let text = error.to_string().replace(url.shown(), "the server");
    Problem::from_text(kind_of_sign_in(error), &text)
}

fn kind_of_sign_in(error: &auth::SignInError) -> ProblemKind {
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

/// Converts the error of a device code sign-in. The hint names the alternatives.
fn from_device_code(server: &Server, ended: &auth::SignInError) -> Problem {
    let problem = from_sign_in(server, ended);
    let hint = problem.hint.as_deref().unwrap_or("sign in again");
    let hint = format!("{hint}, or {}", ways_with_a_browser(server));
    problem.with_hint(hint)
}

/// Names the commands that sign in without a device code.
fn ways_with_a_browser(server: &Server) -> String {
    let name = &server.name;
    format!(
        "sign in with a browser: `postern sign-in {name}`, or `postern sign-in {name} --paste` for one on another machine"
    )
}

/// Converts an error of listing or revoking consents.
pub(crate) fn from_consents(server: &Server, error: &auth::ConsentsError) -> Problem {
    use auth::ConsentsError as Error;
    match error {
        Error::Authorization(error) => from_authorization(server, error),
        Error::NotOffered { .. } => without_url(server, ProblemKind::NotOffered, error),
        Error::Unreachable { .. } => without_url(server, ProblemKind::Unreachable, error),
        Error::Unknown { .. } => without_url(server, ProblemKind::NotFound, error),
        Error::Malformed { .. } => without_url(server, ProblemKind::Failed, error),
    }
}

#[cfg(test)]
mod tests {
    use control::api::{Problem, ProblemKind};
    use mcp::up::Failure;

    use super::{about, from_failure};

    #[test]
    fn about_names_server_once() {
        let failure = Failure::Unreachable {
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
