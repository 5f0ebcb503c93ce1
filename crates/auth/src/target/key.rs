//! The key of a target: which configurations share a grant, or a token of client credentials.
//!
//! Invariants: records of the vault contain the keys of servers with a user's sign-in. If their text
//! changed, users would have to sign in again. The URL in a key may contain a secret, so a key is
//! not printed.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use model::config::{ClientCredential, ClientCredentials, ServerAuth, TokenIssuer};
use model::{EndpointUrl, Issuer, Resource};

use crate::digest;

/// Identifies the grant of a target. Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetKey(Arc<str>);

impl TargetKey {
    /// Returns the key of the target with this configuration.
    pub(super) fn new(url: &EndpointUrl, auth: &ServerAuth) -> Self {
        let text = match auth {
            ServerAuth::None => format!("none {url}"),
            ServerAuth::ClientCredentials(config) => {
                format!("client-credentials {url} {}", digest_of(config))
            }
            ServerAuth::Discover => format!("discover {url}"),
            ServerAuth::Client {
                client_id,
                client_secret: _,
                issuer,
                scopes,
                redirect_port: _,
            } => client(url, client_id, scopes, issuer.as_ref()),
            ServerAuth::Entra {
                authority,
                client_id,
                resource,
                scopes,
                redirect_port: _,
            } => entra(authority, client_id, resource, scopes),
        };
        Self(text.into())
    }

    /// Returns the key with the text from a record.
    pub(crate) fn from_record(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text for a record.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetKey").finish_non_exhaustive()
    }
}

/// A grant does not depend on the client's secret, which may be replaced.
fn client(url: &EndpointUrl, id: &str, scopes: &[String], issuer: Option<&Issuer>) -> String {
    let at = issuer.map(|issuer| format!(" at {issuer}"));
    let (at, scopes) = (at.unwrap_or_default(), scopes.join(" "));
    format!("client {url} {id} {scopes}{at}")
}

/// Entra's tokens are for a resource, whatever the server's URL.
fn entra(authority: &Issuer, id: &str, resource: &Resource, scopes: &[String]) -> String {
    let scopes = scopes.join(" ");
    format!("entra {authority} {id} {resource} {scopes}")
}

/// Returns a digest of all fields. The configuration names the credential and does not contain it,
/// so the digest stays the same if the credential is replaced in its place.
fn digest_of(config: &ClientCredentials) -> String {
    let ClientCredentials {
        client_id,
        proof,
        issuer,
        scopes,
    } = config;
    let mut parts = vec![client_id.as_bytes()];
    match proof {
        ClientCredential::Secret(name) => parts.extend([b"secret", name.as_str().as_bytes()]),
        ClientCredential::Certificate { cert, key } => {
            parts.extend([b"certificate", bytes(cert), bytes(key)]);
        }
        ClientCredential::TokenFile(path) => parts.extend([b"token-file", bytes(path)]),
    }
    match issuer {
        TokenIssuer::Discovered { resource: None } => parts.push(b"discovered"),
        TokenIssuer::Discovered {
            resource: Some(resource),
        } => parts.extend([b"discovered-for", resource.as_str().as_bytes()]),
        TokenIssuer::Entra {
            authority,
            resource,
        } => parts.extend([
            b"entra",
            authority.as_str().as_bytes(),
            resource.as_str().as_bytes(),
        ]),
    }
    parts.extend(scopes.iter().map(String::as_bytes));
    digest::of_parts(&parts)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::config::ServerAuth;

    use super::TargetKey;

    fn key(url: &str, auth: &str) -> TargetKey {
        let auth: ServerAuth = serde_json::from_str(auth).unwrap();
        TargetKey::new(&url.parse().unwrap(), &auth)
    }

    fn client_credentials(fields: &str) -> TargetKey {
        let auth = format!(r#"{{"kind":"client-credentials",{fields}}}"#);
        key("https://mcp.example/mcp", &auth)
    }

    #[test]
    fn key_of_client_credentials_depends_on_every_field() {
        let secret = r#""client_secret":{"secret":"s"}"#;
        let all = [
            format!(r#""client_id":"a",{secret}"#),
            format!(r#""client_id":"b",{secret}"#),
            r#""client_id":"a","client_secret":{"secret":"other"}"#.to_owned(),
            r#""client_id":"a","federated_token_file":"s""#.to_owned(),
            r#""client_id":"a","certificate":{"cert":"s","key":"k"}"#.to_owned(),
            r#""client_id":"a","certificate":{"cert":"k","key":"s"}"#.to_owned(),
            format!(r#""client_id":"a",{secret},"resource":"api://r""#),
            format!(r#""client_id":"a",{secret},"resource":"api://r","authority":"https://i""#),
            format!(r#""client_id":"a",{secret},"scopes":["x"]"#),
            format!(r#""client_id":"a",{secret},"scopes":["x","y"]"#),
            format!(r#""client_id":"a",{secret},"scopes":["x y"]"#),
        ];
        let keys: BTreeSet<_> = all.iter().map(|one| client_credentials(one)).collect();
        assert_eq!(keys.len(), all.len());
        assert!(keys.contains(&client_credentials(&all[0])));
    }

    #[test]
    fn key_of_client_credentials_is_digest() {
        let key = client_credentials(r#""client_id":"a","client_secret":{"secret":"crm"}"#);
        let digest = key
            .as_str()
            .strip_prefix("client-credentials https://mcp.example/mcp ");
        assert_eq!(digest.map(str::len), Some(43));
    }

    #[test]
    fn key_is_not_printed() {
        let key = key(
            "https://mcp.example/mcp?code=squirrel",
            r#"{"kind":"discover"}"#,
        );
        assert_eq!(format!("{key:?}"), "TargetKey { .. }");
    }

    #[test]
    fn key_of_client_ignores_its_secret() {
        let url = "https://mcp.example/mcp";
        let public = key(url, r#"{"kind":"client","client_id":"a"}"#);
        let secret = r#"{"kind":"client","client_id":"a","client_secret":{"secret":"s"}}"#;
        assert_eq!(public, key(url, secret));
    }
}
