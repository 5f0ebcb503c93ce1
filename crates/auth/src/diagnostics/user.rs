//! Where people sign in.

use std::net::IpAddr;

use super::document::Document;
use super::{Aspect, Authority, Finding};
use crate::identity::{Program, Target};
use crate::sign_in::{Membership, Outlook, RegisteredUri, Return, Upstream, outlook};
use crate::token::source::Source;

pub(super) async fn findings(
    source: &Source,
    program: &Program,
    target: &Target,
    challenge: Option<&str>,
) -> (Vec<Finding>, Option<Authority>) {
    match outlook(source, program, target, challenge).await {
        Ok(outlook) => {
            let document = document(source, &outlook).await;
            let mut findings = vec![
                discovery(&outlook),
                registration(&outlook, document.as_ref()),
                redirect(&outlook, document.as_ref()),
            ];
            findings.extend(access(&outlook));
            findings.extend(foreign(&outlook));
            let Outlook { issuer, server, .. } = outlook;
            (findings, Some(Authority { issuer, server }))
        }
        Err(error) => (
            Vec::from_iter(Finding::of_error(&target.auth, &error)),
            None,
        ),
    }
}

fn discovery(outlook: &Outlook) -> Finding {
    let issuer = &outlook.issuer;
    let what = match outlook.upstream {
        Upstream::Entra => format!("people sign in at Entra directly, at {issuer}"),
        Upstream::Named => {
            format!("an MCP server that names its authorization server, {issuer}")
        }
        Upstream::Own => {
            format!("a gateway of MCP 2025-03-26, which is its own authorization server, {issuer}")
        }
        Upstream::Undescribed => format!(
            "a gateway of MCP 2025-03-26 that describes nothing: one signs in at /authorize, /token and /register of {issuer}"
        ),
    };
    let elsewhere = outlook.server.endpoints_elsewhere();
    let elsewhere = elsewhere
        .iter()
        .map(|(endpoint, origin)| format!("; its {endpoint} is at {origin}"));
    Finding::fine(Aspect::Discovery, what + &elsewhere.collect::<String>())
}

/// Says which resource the tokens are for, where the scopes alone say it.
fn access(outlook: &Outlook) -> Option<Finding> {
    let resource = outlook.resource.as_ref()?;
    let finding = match &outlook.approval {
        None => Finding::fine(Aspect::Access, format!("its tokens are for `{resource}`")),
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
            Finding::doubtful(Aspect::Access, what)
                .with("sign in and approve it, if you trust this server with that")
        }
    };
    Some(finding)
}

/// Names the scopes of other resources that the server asked for.
fn foreign(outlook: &Outlook) -> Option<Finding> {
    let scopes = &outlook.foreign_scopes;
    if scopes.is_empty() {
        return None;
    }
    let what = format!(
        "the server asked for scopes of other resources, which Postern does not ask for: {}",
        scopes.join(", ")
    );
    let finding = Finding::doubtful(Aspect::Access, what);
    Some(finding.with("an honest server does not ask for them: tell its administrators"))
}

/// The document that makes this program known, if one does, or what stands in the way of reading
/// it.
async fn document(source: &Source, outlook: &Outlook) -> Option<Result<Document, Finding>> {
    match &outlook.membership {
        Membership::Document(url) => Some(Document::read(source, url).await),
        Membership::Beforehand(_)
        | Membership::Registered(_)
        | Membership::ToCome
        | Membership::Nowhere => None,
    }
}

fn registration(outlook: &Outlook, document: Option<&Result<Document, Finding>>) -> Finding {
    let issuer = &outlook.issuer;
    let is_entra = outlook.upstream == Upstream::Entra;
    let (fine, broken) = (
        |what: String| Finding::fine(Aspect::Registration, what),
        |what: String| Finding::broken(Aspect::Registration, what),
    );
    match &outlook.membership {
        Membership::Beforehand(id) if is_entra => {
            fine(format!("as {id}, an app registration in Entra")).with(format!(
                "in the Entra admin center, App registrations > {id} needs Authentication > Settings > Allow public client flows, and the server's scopes under API permissions; `postern entra-setup bridge` prints all of it"
            ))
        }
        Membership::Beforehand(id) => {
            fine(format!("as {id}, which was registered beforehand at {issuer}"))
        }
        Membership::Document(url) => match document {
            Some(Ok(document)) => document.registration(url),
            Some(Err(finding)) => finding.clone(),
            None => fine(format!("by the client ID metadata document {url}")),
        },
        Membership::Registered(id) => {
            fine(format!("as {id}, which Postern registered at {issuer} earlier"))
        }
        Membership::ToCome => fine(format!(
            "Postern registers itself at {issuer} with the first sign-in"
        )),
        Membership::Nowhere if is_entra => broken(
            "none: Entra lets no program register itself, and no client id is configured".to_owned(),
        )
        .with(
            "register an application, as `postern entra-setup bridge` says, and set `auth = { kind = \"entra\", … }` under this server in config.toml",
        ),
        Membership::Nowhere => broken(format!(
            "none: {issuer} lets no program register itself, and no client id is configured"
        ))
        .with(
            "have Postern registered there, and set `auth = { kind = \"client\", client_id = … }` under this server in config.toml",
        ),
    }
}

fn redirect(outlook: &Outlook, document: Option<&Result<Document, Finding>>) -> Finding {
    let uri = &outlook.redirect.uri;
    let port = match &outlook.redirect.port {
        Return::Free(port) => format!("a port such as {port} is free on 127.0.0.1 and ::1"),
        Return::Awaited(port, server) => {
            format!("port {port} is where the sign-in to {server} is waited for")
        }
        Return::Taken(port, addresses) => {
            let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            let what = format!(
                "port {port} is taken by another program on {}, so that the browser cannot come back",
                addresses.join(" and ")
            );
            return Finding::broken(Aspect::Redirect, what).with(match uri {
                RegisteredUri::AnyPort(_) => {
                    "end that program, or change `redirect_port` of this server in config.toml; what is registered stays as it is"
                }
                RegisteredUri::ThisPort(_) => {
                    "end that program, or change `redirect_port` of this server in config.toml, and what is registered"
                }
            });
        }
        Return::None(reason) => {
            let what = format!("no port can be had on the loopback addresses: {reason}");
            return Finding::broken(Aspect::Redirect, what)
                .with("check what forbids programs to listen on 127.0.0.1");
        }
    };
    let fine = |what: String| Finding::fine(Aspect::Redirect, what);
    match (&outlook.membership, outlook.upstream) {
        (Membership::Beforehand(id), Upstream::Entra) => {
            fine(format!("`{uri}` is to be registered; {port}")).with(format!(
                "in the Entra admin center, App registrations > {id} > Authentication > Add a platform > Mobile and desktop applications > {uri}, and on no other platform"
            ))
        }
        (Membership::Nowhere, Upstream::Entra) => fine(format!(
            "`{uri}` is to be registered, under Mobile and desktop applications; {port}"
        )),
        (Membership::Document(url), _) => match document {
            Some(Ok(document)) if document.names_redirect(&uri.to_string()) => {
                fine(format!("`{uri}` is among the `redirect_uris` of {url}; {port}"))
            }
            Some(Ok(_)) => {
                let what = format!(
                    "`{uri}` is not among the `redirect_uris` of {url}, so that {} refuses to send the browser back",
                    outlook.issuer
                );
                let todo = format!("add `{uri}` to `redirect_uris` in {url}, beside what is there");
                Finding::broken(Aspect::Redirect, what).with(todo)
            }
            Some(Err(_)) | None => fine(format!(
                "`{uri}` has to be among the `redirect_uris` of {url}; {port}"
            )),
        },
        (Membership::Beforehand(_) | Membership::Nowhere, _) => fine(match uri {
            RegisteredUri::AnyPort(_) => format!(
                "`{uri}` is to be registered at {}, and any port taken for it; {port}",
                outlook.issuer
            ),
            RegisteredUri::ThisPort(_) => {
                format!("`{uri}` is to be registered at {}; {port}", outlook.issuer)
            }
        }),
        (Membership::Registered(_) | Membership::ToCome, _) => {
            fine(format!("Postern registers `{uri}` by itself; {port}"))
        }
    }
}
