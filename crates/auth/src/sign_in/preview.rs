//! Previews a sign-in without starting it.
//!
//! Invariant: it opens no browser, registers no client and stores nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::config::ServerAuth;
use model::{Issuer, Resource};
use tokio::net::TcpListener;

use super::callback::{CallbackListener, Port};
use super::flow::{known_registration, make_plan, require_tls, wanted_port};
use super::plan::{Plan, RegisteredUri};
use crate::approval::Approval;
use crate::discovery::{AuthorizationServer, PkceSupport};
use crate::entra::AuthProfile;
use crate::error::SignInError;
use crate::registration::Registration;
use crate::target::{ClientMetadata, Target};
use crate::token::source::Source;

/// What a sign-in would do.
pub(crate) struct SignInPreview {
    pub(crate) server: AuthorizationServer,
    pub(crate) issuer: Issuer,
    pub(crate) authorization_source: AuthorizationSource,
    pub(crate) registration: RegistrationStatus,
    pub(crate) redirect: Redirect,
    /// The resource of the tokens, if the scopes determine it.
    pub(crate) resource: Option<Resource>,
    /// What the user must approve first.
    pub(crate) approval: Option<Approval>,
    /// The scopes of other resources that the server asked for.
    pub(crate) foreign_scopes: Vec<String>,
}

/// Where the authorization server was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizationSource {
    /// Entra directly.
    Entra,
    /// The server names an authorization server (RFC 9728).
    Named,
    /// The server is its own authorization server, with metadata (MCP 2025-03-26).
    Own,
    /// The server is its own authorization server, without metadata.
    Undescribed,
}

/// The client registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegistrationStatus {
    /// A client id of the configuration.
    Preregistered(String),
    /// The client ID metadata document at this URL.
    Document(String),
    /// A stored dynamic registration.
    Registered(String),
    /// None yet. The first sign-in registers.
    Pending,
    /// None is possible.
    Unavailable,
}

/// The redirect URI and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// The URI to register.
    pub(crate) uri: RegisteredUri,
    pub(crate) port: CallbackPort,
}

/// The callback port on both loopback addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallbackPort {
    /// This port is available.
    Free(u16),
    /// The port is fixed, and the sign-in to this server uses it.
    HeldBySignIn(u16, String),
    /// The port is fixed, and another program uses it on these addresses.
    InUse(u16, Vec<IpAddr>),
    /// No port is available.
    Unavailable(String),
}

/// Previews a sign-in to `target`.
pub(crate) async fn preview(
    source: &Source,
    client: &ClientMetadata,
    target: &Target,
    challenge: Option<&str>,
) -> Result<SignInPreview, SignInError> {
    require_tls(target)?;
    // An unreadable vault counts as empty, unless a secret is needed.
    let vault = source.store.load().await;
    let plan = make_plan(source, client, target, challenge).await;
    let plan = match (plan, vault) {
        (Err(SignInError::SecretMissing { .. }), Err(error)) => Err(error.into()),
        (plan, _) => plan,
    }?;
    let known = known_registration(source, &plan);
    let wanted = wanted_port(&plan, known.as_ref());
    Ok(SignInPreview {
        authorization_source: authorization_source(&plan),
        registration: registration(known, target, &plan),
        redirect: Redirect {
            uri: plan.registered_redirect_uri(),
            port: port(source, wanted).await,
        },
        resource: plan.entra_resource,
        approval: plan.approval,
        foreign_scopes: source.foreign_scopes.of(target),
        issuer: plan.issuer,
        server: plan.server,
    })
}

fn authorization_source(plan: &Plan) -> AuthorizationSource {
    match (plan.profile, plan.server.pkce) {
        (AuthProfile::Entra, _) => AuthorizationSource::Entra,
        (AuthProfile::Mcp, _) if plan.resource.is_some() => AuthorizationSource::Named,
        (AuthProfile::Mcp, PkceSupport::Assumed) => AuthorizationSource::Undescribed,
        (AuthProfile::Mcp, PkceSupport::Advertised | PkceSupport::NotAdvertised) => {
            AuthorizationSource::Own
        }
    }
}

fn registration(known: Option<Registration>, target: &Target, plan: &Plan) -> RegistrationStatus {
    match (&plan.client, target.auth()) {
        (Some(client), ServerAuth::Discover) => RegistrationStatus::Document(client.id.clone()),
        (Some(client), _) => RegistrationStatus::Preregistered(client.id.clone()),
        (None, _) => match known {
            Some(known) => RegistrationStatus::Registered(known.client.id),
            None if plan.server.registration_endpoint.is_some() => RegistrationStatus::Pending,
            None => RegistrationStatus::Unavailable,
        },
    }
}

async fn port(source: &Source, wanted: Port) -> CallbackPort {
    match (CallbackListener::bind(wanted).await, wanted) {
        (Ok(listener), _) => CallbackPort::Free(listener.port()),
        (Err(error), Port::Fixed(port)) if error.kind() == io::ErrorKind::AddrInUse => {
            match source.ports.holder(port) {
                Some(server) => CallbackPort::HeldBySignIn(port, server),
                None => CallbackPort::InUse(port, taken(port).await),
            }
        }
        (Err(error), _) => CallbackPort::Unavailable(error.to_string()),
    }
}

/// Returns on which of the two addresses the port is in use.
async fn taken(port: u16) -> Vec<IpAddr> {
    let mut taken = Vec::new();
    for address in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let bound = TcpListener::bind((address, port)).await;
        if bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            taken.push(address);
        }
    }
    taken
}
