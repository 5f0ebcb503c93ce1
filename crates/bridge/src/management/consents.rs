//! Lists and revokes the consents of gateways for a client of the management API.

use std::sync::Arc;
use std::time::Duration;

use auth::{AuthorizationError, Consent, ConsentsError, SignInReason, Target};
use control::api::{ConsentList, ConsentView, NotAsked, Problem, ProblemKind, ServerState};
use futures_util::future::join_all;

use crate::bridge::Bridge;
use crate::registry::Server;
use crate::{problem, server_problem};

/// How long each server may take to list its consents.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Lists the consents of the named server's gateway, or of all servers'.
///
/// # Errors
///
/// Returns the problem of the named server. Without a name it never fails: the list names the
/// servers that could not be asked.
pub(super) async fn list(bridge: &Arc<Bridge>, name: Option<&str>) -> Result<ConsentList, Problem> {
    let Some(name) = name else {
        return Ok(list_all(bridge).await);
    };
    let server = bridge.config.server(name)?;
    let listed = bridge.identity.consents(&server.target()).await;
    let listed = listed.map_err(|error| about_consents(&server, &error))?;
    let mut list = Gathered::default();
    list.add(&server, listed);
    Ok(list.into())
}

async fn list_all(bridge: &Arc<Bridge>) -> ConsentList {
    let asking = bridge
        .config
        .registry()
        .all()
        .into_iter()
        .map(async |server| {
            let asked =
                tokio::time::timeout(TIMEOUT, bridge.identity.consents(&server.target())).await;
            (server, asked)
        });
    let mut list = Gathered::default();
    for (server, asked) in join_all(asking).await {
        let reason = match asked {
            Ok(Ok(listed)) => {
                list.add(&server, listed);
                continue;
            }
            Ok(Err(error)) => why_not_asked(&server, &error),
            Err(_) => Some((ProblemKind::Unreachable, "does not answer")),
        };
        // A server with nothing to ask for is not missing from the list.
        list.not_asked.extend(reason.map(|(kind, reason)| NotAsked {
            server: server.name.to_string(),
            reason: reason.to_owned(),
            kind,
        }));
    }
    list.into()
}

/// Consents of several servers, which may share a gateway.
#[derive(Default)]
struct Gathered {
    consents: Vec<(Consent, String)>,
    answered: u32,
    not_asked: Vec<NotAsked>,
}

impl Gathered {
    fn add(&mut self, server: &Server, listed: Vec<Consent>) {
        self.answered += 1;
        for consent in listed {
            let is_same =
                |known: &Consent| known.id == consent.id && known.endpoint == consent.endpoint;
            if !self.consents.iter().any(|(known, _)| is_same(known)) {
                self.consents.push((consent, server.name.to_string()));
            }
        }
    }
}

impl From<Gathered> for ConsentList {
    fn from(gathered: Gathered) -> Self {
        let consents = gathered.consents.into_iter();
        let consents = consents.map(|(consent, via)| ConsentView {
            id: consent.id,
            via,
            server: consent.server,
            client: consent.client_name.unwrap_or(consent.client_id),
            scopes: consent.scopes,
            granted_at: consent.granted_at,
        });
        Self {
            consents: consents.collect(),
            answered: gathered.answered,
            not_asked: gathered.not_asked,
        }
    }
}

/// Returns in a few words why a server could not be asked. Returns `None` if it has no sign-in or
/// no list of consents.
fn why_not_asked(server: &Server, error: &ConsentsError) -> Option<(ProblemKind, &'static str)> {
    let problem = from_consents(server, error);
    match (server.state(), problem.kind) {
        // A sign-in would not help.
        (ServerState::Failed { problem }, ProblemKind::SignInNeeded) if is_not_signed_in(error) => {
            words(problem.kind)
        }
        (_, ProblemKind::SignInNeeded) if is_not_signed_in(error) => {
            Some((problem.kind, "not signed in"))
        }
        (_, kind) => words(kind),
    }
}

fn words(kind: ProblemKind) -> Option<(ProblemKind, &'static str)> {
    let words = match kind {
        ProblemKind::NotOffered => return None,
        ProblemKind::SignInNeeded | ProblemKind::SignInEnded => "needs a new sign-in",
        ProblemKind::Unreachable => "cannot be reached",
        ProblemKind::Untrusted => "its certificate is not trusted",
        ProblemKind::NotMcp => "is not an MCP server",
        ProblemKind::Invalid => "gives no token",
        ProblemKind::Vault => "the keychain cannot be read",
        ProblemKind::NotFound | ProblemKind::InUse | ProblemKind::Failed => "does not work",
    };
    Some((kind, words))
}

/// Revokes a consent. The gateway ends its grants, which may include our own sign-in.
pub(super) async fn revoke(bridge: &Arc<Bridge>, name: &str, id: &str) -> Result<(), Problem> {
    let server = bridge.config.server(name)?;
    let target = server.target();
    let revoked = bridge.identity.revoke_consent(&target, id).await;
    if let Err(error) = &revoked {
        record_end(bridge, &server, error);
    }
    revoked.map_err(|error| about_consents(&server, &error))?;
    let account_of = |target: &Target| {
        bridge
            .identity
            .account_for(target)
            .map(|account| account.key)
    };
    let account = account_of(&target);
    for server in bridge.config.registry().all() {
        let target = server.target();
        let is_theirs = account.is_some() && account_of(&target) == account;
        if is_theirs && let Err(error) = bridge.identity.consents(&target).await {
            record_end(bridge, &server, &error);
        }
    }
    bridge.notifications.state_changed();
    Ok(())
}

/// Updates the state if the request for consents has shown that the sign-in has ended.
fn record_end(bridge: &Arc<Bridge>, server: &Server, error: &ConsentsError) {
    let has_ended = matches!(
        error,
        ConsentsError::Authorization(AuthorizationError::SignInNeeded { .. })
    );
    let was_signed_in = bridge.identity.account_for(&server.target()).is_some();
    if has_ended && was_signed_in && server.set_state(ServerState::SignInNeeded) {
        bridge.notifications.state_changed();
    }
}

fn about_consents(server: &Server, error: &ConsentsError) -> Problem {
    problem::about(server.name.as_str(), &from_consents(server, error))
}

fn from_consents(server: &Server, error: &ConsentsError) -> Problem {
    match is_not_signed_in(error) && is_open(server) {
        true => Problem::new(
            ProblemKind::NotOffered,
            "the server needs no sign-in, so there is no consent",
        ),
        false => server_problem::from_consents(server, error),
    }
}

fn is_not_signed_in(error: &ConsentsError) -> bool {
    matches!(
        error,
        ConsentsError::Authorization(AuthorizationError::SignInNeeded {
            reason: SignInReason::NotSignedIn,
            ..
        })
    )
}

/// Returns true if a server without an account has responded anyway, now or before the last start.
fn is_open(server: &Server) -> bool {
    let was_open = server.tools().is_some() && !server.was_signed_in();
    server.state() == ServerState::Ready || (was_open && !server.is_protected())
}
