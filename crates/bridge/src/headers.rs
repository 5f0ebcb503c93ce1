//! The headers that a user gave a server, with the values of the secrets among them.
//!
//! Does not own: which names may be given (`model`), and where secrets lie (`auth`).

use auth::Identity;
use control::api::{Problem, ProblemKind};
use http::{HeaderName, HeaderValue};
use model::SecretName;
use model::config::HeaderSource;

use crate::registry::Server;

/// What to send to the server with every request, if it is the same for as long as the configuration
/// stands: none of it is a stored secret.
pub(crate) fn constant(server: &Server) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let headers = server.config.headers.iter();
    headers
        .filter_map(|(name, source)| match source {
            // The configuration holds none that cannot be sent.
            HeaderSource::Plain(text) => {
                let name = name.as_str().parse().ok()?;
                Some(Some((name, HeaderValue::from_str(text).ok()?)))
            }
            HeaderSource::Keychain { .. } => Some(None),
        })
        .collect()
}

/// What to send to the server with every request. Nothing, rather than some of it.
pub(crate) async fn resolve(
    identity: &Identity,
    server: &Server,
) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let mut headers = Vec::new();
    for (name, source) in server.config.headers.iter() {
        let value = match source {
            HeaderSource::Plain(text) => HeaderValue::from_str(text).ok(),
            HeaderSource::Keychain { keychain } => {
                let stored = identity
                    .secret(keychain)
                    .await
                    .map_err(|error| Problem::from_text(ProblemKind::Vault, &error.to_string()))?;
                Some(stored.ok_or_else(|| missing(name.as_str(), keychain))?)
            }
        };
        // The configuration holds none that cannot be sent.
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
