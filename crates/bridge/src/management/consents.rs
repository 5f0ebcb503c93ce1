//! What gateways granted to Postern, listed and revoked for a client of the management API.

use std::sync::Arc;

use auth::{AuthorizationError, ConsentsError, Target};
use control::api::{ConsentView, Problem, ServerState};

use crate::hub::Hub;
use crate::problem;
use crate::registry::Server;

pub(super) async fn list(hub: &Arc<Hub>, name: Option<&str>) -> Result<Vec<ConsentView>, Problem> {
    let servers = match name {
        Some(name) => vec![hub.server(name)?],
        None => hub.registry.all(),
    };
    let mut views: Vec<ConsentView> = Vec::new();
    for server in servers {
        let listed = match hub.identity.consents(&server.target()).await {
            Ok(listed) => listed,
            // Asked about all, those that cannot be asked are left out.
            Err(_) if name.is_none() => continue,
            Err(error) => return Err(about_consents(&server, &error)),
        };
        for consent in listed {
            if views.iter().any(|view| view.id == consent.id) {
                continue;
            }
            views.push(ConsentView {
                id: consent.id,
                via: server.name.to_string(),
                server: consent.server,
                client: consent.client_name.unwrap_or(consent.client_id),
                scopes: consent.scopes,
                granted_at: consent.granted_at,
            });
        }
    }
    Ok(views)
}

/// Takes a consent back. The gateway ends what it carried, and that may be our own sign-in.
pub(super) async fn revoke(hub: &Arc<Hub>, name: &str, id: &str) -> Result<(), Problem> {
    let server = hub.server(name)?;
    let target = server.target();
    let revoked = hub.identity.revoke_consent(&target, id).await;
    if let Err(error) = &revoked {
        note_end(hub, &server, error);
    }
    revoked.map_err(|error| about_consents(&server, &error))?;
    let account_of = |target: &Target| hub.identity.account_for(target).map(|account| account.key);
    let account = account_of(&target);
    for server in hub.registry.all() {
        let target = server.target();
        let is_theirs = account.is_some() && account_of(&target) == account;
        if is_theirs && let Err(error) = hub.identity.consents(&target).await {
            note_end(hub, &server, &error);
        }
    }
    hub.changed();
    Ok(())
}

/// Shows that a sign-in has ended, if that is what the question for consents brought to light.
fn note_end(hub: &Arc<Hub>, server: &Server, error: &ConsentsError) {
    let has_ended = matches!(
        error,
        ConsentsError::Authorization(AuthorizationError::SignInNeeded { .. })
    );
    let was_signed_in = hub.identity.account_for(&server.target()).is_some();
    if has_ended && was_signed_in && server.set_state(ServerState::SignInNeeded) {
        hub.changed();
    }
}

fn about_consents(server: &Server, error: &ConsentsError) -> Problem {
    problem::about(server.name.as_str(), &problem::of_consents(server, error))
}
