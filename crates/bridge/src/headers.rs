//! Headers that the user configured for a server, with the values of their secrets.
//!
//! Does not own: which names are allowed (`model`), and where secrets are stored (`auth`).

use auth::Identity;
use control::api::{Problem, ProblemKind};
use http::{HeaderName, HeaderValue};
use model::SecretName;
use model::config::{HeaderSource, SecretRef};

use crate::registry::Server;

/// Returns the headers of every request if they are constant for this configuration. Returns `None`
/// if one of them is a stored secret.
pub(crate) fn constant(server: &Server) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let headers = server.config.headers.iter();
    headers
        .filter_map(|(name, source)| match source {
            // The configuration holds only valid headers.
            HeaderSource::Plain(text) => {
                let name = name.as_str().parse().ok()?;
                Some(Some((name, HeaderValue::from_str(text).ok()?)))
            }
            HeaderSource::Secret(_) => Some(None),
        })
        .collect()
}

/// Returns the headers of every request.
///
/// # Errors
/// Returns a problem if a secret is missing or the vault cannot be read. A partial set is never
/// returned.
pub(crate) async fn resolve(
    identity: &Identity,
    server: &Server,
) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let mut headers = Vec::new();
    for (name, source) in server.config.headers.iter() {
        let value = match source {
            HeaderSource::Plain(text) => HeaderValue::from_str(text).ok(),
            HeaderSource::Secret(SecretRef { secret }) => {
                let stored = identity
                    .secret(secret)
                    .await
                    .map_err(|error| Problem::from_text(ProblemKind::Vault, &error.to_string()))?;
                Some(stored.ok_or_else(|| missing(name.as_str(), secret))?)
            }
        };
        // The configuration holds only valid headers.
        if let (Ok(name), Some(value)) = (name.as_str().parse(), value) {
            headers.push((name, value));
        }
    }
    Ok(headers)
}

fn missing(header: &str, secret: &SecretName) -> Problem {
    let text = format!("the server needs the secret `{secret}` for its header {header}");
    Problem::new(ProblemKind::NotFound, text).with_hint(format!(
        "store it with `postern secrets set {secret}`, then try again"
    ))
}
