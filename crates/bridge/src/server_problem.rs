//! Errors whose message or hint depends on the state and the configuration of a server.

use control::api::{Actor, AuthErrorView, Problem, ProblemKind};
use model::config::ServerAuth;
use model::{SecretName, ServerName};
use url::Url;

use texts::{Describe, Language};

use crate::problem::{kind_of_sign_in, sign_in_needed};
use crate::registry::Server;

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
                "if it wants an API key, write `headers = {{ X-Api-Key = {{ secret = \"{secret}\" }} }}` under [servers.{name}] in config.toml, with the name of its header, and store the key with `postern secrets set {secret}`"
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
                .map_or_else(|| reason.text(), |known| known.text())
                .message(Language::English);
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

/// The user must sign in with a browser: the last sign-in was by device code and is rejected.
fn browser_needed(server: &ServerName) -> Problem {
    sign_in_needed(server).with_hint(format!(
        "sign in with a browser, from Postern's tray menu or with `postern sign-in {server}` (`postern sign-in {server} --paste` for one on another machine), then try again"
    ))
}

/// Builds the view of an error response.
fn refusal_view(explanation: &auth::Explanation) -> Box<AuthErrorView> {
    Box::new(AuthErrorView {
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
