//! The client ID metadata document, whose URL is the client id at authorization servers that
//! support it (draft-ietf-oauth-client-id-metadata-document).
//!
//! Owns: the required members, and the findings about them.
//! Does not own: the document, which the user publishes.

use ::http::StatusCode;
use serde::Deserialize;
use url::Url;

use super::{CheckKind, Finding};
use crate::http::{NetworkZone, fetch};
use crate::text::one_line;
use crate::token::source::Source;

/// The only client authentication method of this application there.
const PUBLIC: &str = "none";

/// The members of the document that are checked.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    client_id: Option<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    token_endpoint_auth_method: Option<String>,
}

impl Document {
    /// Fetches the document at `url`, which the user's configuration names. Returns a finding as
    /// the error.
    pub(super) async fn read(source: &Source, url: &str) -> Result<Self, Finding> {
        let request = source.clients.client_for(NetworkZone::Local).get(url);
        let response = fetch(request).await.map_err(|error| {
            let what = format!("the client ID metadata document {url} cannot be read from here: {error}");
            Finding::warning(CheckKind::Registration, what).with(
                "make sure that the authorization server can read it, or change `client_metadata_url` under [bridge] of config.toml",
            )
        })?;
        // Authorization servers do not follow redirects either.
        if response.status != StatusCode::OK {
            let what = format!(
                "the client ID metadata document {url} is not there: it answers {}",
                response.status
            );
            return Err(Finding::failed(CheckKind::Registration, what).with(
                "publish it at that address itself, without a redirect, or change `client_metadata_url` under [bridge] of config.toml",
            ));
        }
        serde_json::from_slice(&response.body.0).map_err(|error| {
            let error = one_line(&error.to_string());
            let what = format!("{url} is no client ID metadata document: {error}");
            Finding::failed(CheckKind::Registration, what).with(format!(
                "publish a JSON object there with `client_id`, `redirect_uris` and `\"token_endpoint_auth_method\": \"{PUBLIC}\"`"
            ))
        })
    }

    /// Checks that it registers this application as `url`.
    pub(super) fn registration(&self, url: &str) -> Finding {
        let members = [
            ("client_id", &self.client_id, url),
            (
                "token_endpoint_auth_method",
                &self.token_endpoint_auth_method,
                PUBLIC,
            ),
        ];
        let wrong = members
            .iter()
            .filter(|(_, found, wanted)| found.as_deref() != Some(wanted));
        let (mut what, mut todo) = (Vec::new(), Vec::new());
        for (name, found, wanted) in wrong {
            what.push(match found {
                Some(found) => format!("names `{}` as its `{name}`", one_line(found)),
                None => format!("has no `{name}`"),
            });
            todo.push(format!("`\"{name}\": \"{wanted}\"`"));
        }
        if what.is_empty() {
            let what = format!("by the client ID metadata document {url}");
            return Finding::ok(CheckKind::Registration, what);
        }
        let what = format!(
            "the client ID metadata document {url} {}",
            what.join(" and ")
        );
        let todo = format!("write {} into {url}", todo.join(" and "));
        Finding::failed(CheckKind::Registration, what).with(todo)
    }

    /// Returns true if `uri` is one of its redirect URIs. Ignores the port: authorization servers
    /// accept any port of a loopback address (RFC 8252 §7.3).
    pub(super) fn names_redirect(&self, uri: &str) -> bool {
        let parts = |text: &str| {
            let uri = Url::parse(text).ok()?;
            let host = uri.host_str()?.to_owned();
            let rest = (uri.path().to_owned(), uri.query().map(str::to_owned));
            Some((uri.scheme().to_owned(), host, rest)).filter(|_| uri.fragment().is_none())
        };
        let wanted = parts(uri);
        let is_it = |named: &String| wanted.is_some() && parts(named) == wanted;
        self.redirect_uris.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests;
