//! Diagnoses the client credentials grant.

use std::path::Path;

use model::config::{ClientCredential, ClientCredentials};

use super::{CheckKind, Finding, TokenIssuer};
use crate::client_credentials::discover_issuer;
use crate::target::Target;
use crate::token::source::Source;

pub(super) async fn findings(
    source: &Source,
    target: &Target,
    config: &ClientCredentials,
) -> (Vec<Finding>, Option<TokenIssuer>) {
    let registration = registration(source, config).await;
    match discover_issuer(source, target, config).await {
        Ok((issuer, found)) => {
            let what = format!("Postern signs in as itself (client credentials) at {issuer}");
            let discovery = Finding::ok(CheckKind::Discovery, what);
            let server = found.authorization_server;
            (
                vec![discovery, registration],
                Some(TokenIssuer { issuer, server }),
            )
        }
        Err(error) => {
            let discovery = Finding::of_error(target.auth(), &error);
            (discovery.into_iter().chain([registration]).collect(), None)
        }
    }
}

async fn registration(source: &Source, config: &ClientCredentials) -> Finding {
    let id = &config.client_id;
    let fine = |by: &str| {
        let what = format!("as {id}, which is preregistered and authenticates with {by}");
        Finding::ok(CheckKind::Registration, what)
    };
    let missing = |what: String| {
        let what = format!("as {id}, but it cannot authenticate: {what}");
        Finding::failed(CheckKind::Registration, what)
    };
    match &config.proof {
        ClientCredential::Secret(name) => match source.store.load().await {
            Ok(()) if source.store.secret(name).is_some() => fine(&format!("the secret `{name}`")),
            Ok(()) => missing(format!("the secret `{name}` is not stored"))
                .with(format!("store it with `postern secrets set {name}`")),
            Err(error) => missing(error.to_string()),
        },
        ClientCredential::Certificate { cert, key } => match unreadable([cert, key]).await {
            None => fine(&format!("the certificate {}", cert.display())),
            Some(reason) => {
                missing(reason).with("check `certificate` of this server in config.toml")
            }
        },
        ClientCredential::TokenFile(path) => match unreadable([path]).await {
            None => fine(&format!("the federated token in {}", path.display())),
            Some(reason) => missing(reason).with(
                "check `federated_token_file` of this server in config.toml, and what writes it",
            ),
        },
    }
}

async fn unreadable(files: impl IntoIterator<Item = impl AsRef<Path>>) -> Option<String> {
    for file in files {
        let file = file.as_ref();
        if let Err(error) = tokio::fs::File::open(file).await {
            return Some(format!("{} cannot be read: {error}", file.display()));
        }
    }
    None
}
