//! What a sign-in would do, found out without doing it.
//!
//! Invariant: no browser, no registration, nothing kept.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::config::ServerAuth;
use model::{Issuer, Resource};
use tokio::net::TcpListener;

use super::callback::{CallbackListener, Port};
use super::flow::{decide, fit_for_tokens, known_registration, wanted_port};
use super::plan::Plan;
use crate::audience::Approval;
use crate::discovery::{AuthorizationServer, Proof};
use crate::entra::Dialect;
use crate::error::SignInError;
use crate::identity::{Program, Target};
use crate::registration::Registration;
use crate::token::source::Source;

/// See the module.
pub(crate) struct Outlook {
    pub(crate) server: AuthorizationServer,
    pub(crate) issuer: Issuer,
    pub(crate) upstream: Upstream,
    pub(crate) membership: Membership,
    pub(crate) redirect: Redirect,
    /// The resource that the tokens are for, where the scopes say it.
    pub(crate) resource: Option<Resource>,
    /// What the user has to approve first.
    pub(crate) approval: Option<Approval>,
    /// What the server asked for and may not have.
    pub(crate) foreign_scopes: Vec<String>,
}

/// What kind of server it is, by who protects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Entra, without anything in between.
    Entra,
    /// It names an authorization server of MCP (RFC 9728).
    Named,
    /// It is its own authorization server, and describes itself (MCP 2025-03-26).
    Own,
    /// The same, and it describes nothing.
    Undescribed,
}

/// How this program is known to the authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// By a client id of the configuration.
    Beforehand(String),
    /// By its metadata document at this address.
    Document(String),
    /// By a registration that it made earlier.
    Registered(String),
    /// Not yet; it registers itself at the first sign-in.
    ToCome,
    /// Not at all.
    Nowhere,
}

/// Where the browser comes back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// As it is to be registered.
    pub(crate) uri: RegisteredUri,
    pub(crate) port: Return,
}

/// A redirect URI as somebody registers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegisteredUri {
    /// Good for every port.
    AnyPort(&'static str),
    /// Good for the port in it.
    ThisPort(String),
}

/// The port for that on both loopback addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// This one can be had.
    Free(u16),
    /// It is fixed, and a sign-in to this server waits on it.
    Awaited(u16, String),
    /// It is fixed, and another program has it on these addresses.
    Taken(u16, Vec<IpAddr>),
    /// None can be had.
    None(String),
}

/// See the module.
pub(crate) async fn outlook(
    source: &Source,
    program: &Program,
    target: &Target,
    challenge: Option<&str>,
) -> Result<Outlook, SignInError> {
    fit_for_tokens(target)?;
    // What cannot be read is as if it were not there, but for a secret that is wanted.
    let vault = source.ledger.load().await;
    let plan = decide(source, program, target, challenge).await;
    let plan = match (plan, vault) {
        (Err(SignInError::SecretMissing { .. }), Err(error)) => Err(error.into()),
        (plan, _) => plan,
    }?;
    let known = known_registration(source, &plan);
    let wanted = wanted_port(&plan, known.as_ref());
    Ok(Outlook {
        upstream: upstream(&plan),
        membership: membership(known, target, &plan),
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

fn upstream(plan: &Plan) -> Upstream {
    match (plan.dialect, plan.server.proof) {
        (Dialect::Entra, _) => Upstream::Entra,
        (Dialect::Mcp, _) if plan.resource.is_some() => Upstream::Named,
        (Dialect::Mcp, Proof::Assumed) => Upstream::Undescribed,
        (Dialect::Mcp, Proof::Advertised | Proof::NotAdvertised) => Upstream::Own,
    }
}

fn membership(known: Option<Registration>, target: &Target, plan: &Plan) -> Membership {
    match (&plan.client, &target.auth) {
        (Some(client), ServerAuth::Discover) => Membership::Document(client.id.clone()),
        (Some(client), _) => Membership::Beforehand(client.id.clone()),
        (None, _) => match known {
            Some(known) => Membership::Registered(known.client.id),
            None if plan.server.registration_endpoint.is_some() => Membership::ToCome,
            None => Membership::Nowhere,
        },
    }
}

async fn port(source: &Source, wanted: Port) -> Return {
    match (CallbackListener::bind(wanted).await, wanted) {
        (Ok(listener), _) => Return::Free(listener.port()),
        (Err(error), Port::Fixed(port)) if error.kind() == io::ErrorKind::AddrInUse => {
            match source.ports.holder(port) {
                Some(server) => Return::Awaited(port, server),
                None => Return::Taken(port, taken(port).await),
            }
        }
        (Err(error), _) => Return::None(error.to_string()),
    }
}

/// On which of the two addresses somebody has the port.
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

impl fmt::Display for RegisteredUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyPort(uri) => f.write_str(uri),
            Self::ThisPort(uri) => f.write_str(uri),
        }
    }
}
