//! Diagnoses the sign-in of a user.

use std::net::IpAddr;

use super::document::Document;
use super::{CheckKind, Finding, TokenIssuer};
use crate::sign_in::{
    AuthorizationSource, CallbackPort, RegisteredUri, RegistrationStatus, SignInPreview, preview,
};
use crate::target::{ClientMetadata, Target};
use crate::token::source::Source;

pub(super) async fn findings(
    source: &Source,
    client: &ClientMetadata,
    target: &Target,
    challenge: Option<&str>,
) -> (Vec<Finding>, Option<TokenIssuer>) {
    match preview(source, client, target, challenge).await {
        Ok(preview) => {
            let document = document(source, &preview).await;
            let mut findings = vec![
                discovery(&preview),
                registration(&preview, document.as_ref()),
                redirect(&preview, document.as_ref()),
            ];
            findings.extend(access(&preview));
            findings.extend(foreign(&preview));
            let SignInPreview { issuer, server, .. } = preview;
            (findings, Some(TokenIssuer { issuer, server }))
        }
        Err(error) => (
            Vec::from_iter(Finding::of_error(target.auth(), &error)),
            None,
        ),
    }
}

fn discovery(preview: &SignInPreview) -> Finding {
    let issuer = &preview.issuer;
    let what = match preview.authorization_source {
        AuthorizationSource::Entra => format!("users sign in at Entra directly, at {issuer}"),
        AuthorizationSource::Named => {
            format!("an MCP server that names its authorization server, {issuer}")
        }
        AuthorizationSource::Own => {
            format!("a gateway of MCP 2025-03-26, which is its own authorization server, {issuer}")
        }
        AuthorizationSource::Undescribed => format!(
            "a gateway of MCP 2025-03-26 that describes nothing: users sign in at /authorize, /token and /register of {issuer}"
        ),
    };
    let elsewhere = preview.server.endpoints_elsewhere();
    let elsewhere = elsewhere
        .iter()
        .map(|(endpoint, origin)| format!("; its {endpoint} is at {origin}"));
    Finding::ok(CheckKind::Discovery, what + &elsewhere.collect::<String>())
}

/// Reports the resource of the tokens, if the scopes alone determine it.
fn access(preview: &SignInPreview) -> Option<Finding> {
    let resource = preview.resource.as_ref()?;
    let finding = match &preview.approval {
        None => Finding::ok(
            CheckKind::Access,
            format!("its tokens are for `{resource}`"),
        ),
        Some(approval) => {
            let change = approval.audience.as_ref();
            let change = change.map(|change| {
                format!(
                    ", and its tokens have the audience `{}` now",
                    change.current
                )
            });
            let what = format!(
                "the server asks for tokens for `{resource}`, which you have not approved{}",
                change.unwrap_or_default()
            );
            Finding::warning(CheckKind::Access, what)
                .with("sign in and approve it, if you trust this server with that")
        }
    };
    Some(finding)
}

/// Reports the scopes of other resources that the server asked for.
fn foreign(preview: &SignInPreview) -> Option<Finding> {
    let scopes = &preview.foreign_scopes;
    if scopes.is_empty() {
        return None;
    }
    let what = format!(
        "the server asked for scopes of other resources, which Postern does not ask for: {}",
        scopes.join(", ")
    );
    let finding = Finding::warning(CheckKind::Access, what);
    Some(finding.with("an honest server does not ask for them: tell its administrators"))
}

/// Fetches the client ID metadata document, if the registration uses one.
async fn document(source: &Source, preview: &SignInPreview) -> Option<Result<Document, Finding>> {
    match &preview.registration {
        RegistrationStatus::Document(url) => Some(Document::read(source, url).await),
        RegistrationStatus::Preregistered(_)
        | RegistrationStatus::Registered(_)
        | RegistrationStatus::Pending
        | RegistrationStatus::Unavailable => None,
    }
}

fn registration(preview: &SignInPreview, document: Option<&Result<Document, Finding>>) -> Finding {
    let issuer = &preview.issuer;
    let is_entra = preview.authorization_source == AuthorizationSource::Entra;
    let (fine, broken) = (
        |what: String| Finding::ok(CheckKind::Registration, what),
        |what: String| Finding::failed(CheckKind::Registration, what),
    );
    match &preview.registration {
        RegistrationStatus::Preregistered(id) if is_entra => {
            fine(format!("as {id}, an app registration in Entra")).with(format!(
                "in the Entra admin center, App registrations > {id} needs Authentication > Settings > Allow public client flows, and the server's scopes under API permissions; `postern entra-setup bridge` prints all of it"
            ))
        }
        RegistrationStatus::Preregistered(id) => {
            fine(format!("as {id}, which is preregistered at {issuer}"))
        }
        RegistrationStatus::Document(url) => match document {
            Some(Ok(document)) => document.registration(url),
            Some(Err(finding)) => finding.clone(),
            None => fine(format!("by the client ID metadata document {url}")),
        },
        RegistrationStatus::Registered(id) => {
            fine(format!("as {id}, which Postern registered at {issuer} earlier"))
        }
        RegistrationStatus::Pending => fine(format!(
            "Postern registers itself at {issuer} with the first sign-in"
        )),
        RegistrationStatus::Unavailable if is_entra => broken(
            "none: Entra lets no application register itself, and no client id is configured".to_owned(),
        )
        .with(
            "register an application, as `postern entra-setup bridge` says, and set `auth = { kind = \"entra\", … }` under this server in config.toml",
        ),
        RegistrationStatus::Unavailable => broken(format!(
            "none: {issuer} lets no application register itself, and no client id is configured"
        ))
        .with(
            "have Postern registered there, and set `auth = { kind = \"client\", client_id = … }` under this server in config.toml",
        ),
    }
}

fn redirect(preview: &SignInPreview, document: Option<&Result<Document, Finding>>) -> Finding {
    let uri = &preview.redirect.uri;
    let port = match &preview.redirect.port {
        CallbackPort::Free(port) => format!("a port such as {port} is free on 127.0.0.1 and ::1"),
        CallbackPort::HeldBySignIn(port, server) => {
            format!("the sign-in to {server} uses port {port}")
        }
        CallbackPort::InUse(port, addresses) => {
            let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            let what = format!(
                "another program uses port {port} on {}, so the redirect would fail",
                addresses.join(" and ")
            );
            return Finding::failed(CheckKind::Redirect, what).with(match uri {
                RegisteredUri::AnyPort(_) => {
                    "end that program, or change `redirect_port` of this server in config.toml; what is registered stays as it is"
                }
                RegisteredUri::ThisPort(_) => {
                    "end that program, or change `redirect_port` of this server in config.toml, and what is registered"
                }
            });
        }
        CallbackPort::Unavailable(reason) => {
            let what = format!("no port is available on the loopback addresses: {reason}");
            return Finding::failed(CheckKind::Redirect, what)
                .with("check what prevents programs from listening on 127.0.0.1");
        }
    };
    let fine = |what: String| Finding::ok(CheckKind::Redirect, what);
    match (&preview.registration, preview.authorization_source) {
        (RegistrationStatus::Preregistered(id), AuthorizationSource::Entra) => {
            fine(format!("`{uri}` is to be registered; {port}")).with(format!(
                "in the Entra admin center, App registrations > {id} > Authentication > Add a platform > Mobile and desktop applications > {uri}, and on no other platform"
            ))
        }
        (RegistrationStatus::Unavailable, AuthorizationSource::Entra) => fine(format!(
            "`{uri}` is to be registered, under Mobile and desktop applications; {port}"
        )),
        (RegistrationStatus::Document(url), _) => match document {
            Some(Ok(document)) if document.names_redirect(&uri.to_string()) => {
                fine(format!("`{uri}` is among the `redirect_uris` of {url}; {port}"))
            }
            Some(Ok(_)) => {
                let what = format!(
                    "`{uri}` is not among the `redirect_uris` of {url}, so that {} refuses the redirect",
                    preview.issuer
                );
                let todo = format!("add `{uri}` to `redirect_uris` in {url}, beside what is there");
                Finding::failed(CheckKind::Redirect, what).with(todo)
            }
            Some(Err(_)) | None => fine(format!(
                "`{uri}` has to be among the `redirect_uris` of {url}; {port}"
            )),
        },
        (RegistrationStatus::Preregistered(_) | RegistrationStatus::Unavailable, _) => fine(match uri {
            RegisteredUri::AnyPort(_) => format!(
                "`{uri}` is to be registered at {}, and any port taken for it; {port}",
                preview.issuer
            ),
            RegisteredUri::ThisPort(_) => {
                format!("`{uri}` is to be registered at {}; {port}", preview.issuer)
            }
        }),
        (RegistrationStatus::Registered(_) | RegistrationStatus::Pending, _) => {
            fine(format!("Postern registers `{uri}` by itself; {port}"))
        }
    }
}
