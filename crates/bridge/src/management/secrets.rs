//! Secrets that the user stores for the headers of servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::api::{HeaderSecret, Problem, ProblemKind, Reply, SecretView};
use model::SecretName;

use crate::bridge_state::BridgeState;

/// Lists the stored secrets and those that servers need.
pub(super) async fn list(bridge: &BridgeState) -> Result<Reply, Problem> {
    let stored = stored(bridge).await?;
    let mut views: BTreeMap<SecretName, SecretView> = BTreeMap::new();
    let view = |name: &SecretName| SecretView {
        name: name.to_string(),
        stored: stored.contains(name),
        servers: Vec::new(),
    };
    for name in &stored {
        views.insert(name.clone(), view(name));
    }
    for server in bridge.config.registry().all() {
        for name in server.config.secrets() {
            let needed = views.entry(name.clone()).or_insert_with(|| view(name));
            needed.servers.push(server.name.to_string());
            needed.servers.dedup();
        }
    }
    Ok(Reply::Secrets(views.into_values().collect()))
}

/// Returns the names of the stored secrets.
pub(super) async fn stored(bridge: &BridgeState) -> Result<BTreeSet<SecretName>, Problem> {
    let stored = bridge.identity.secrets().await;
    let stored = stored.map_err(|error| in_vault(&error.to_string()))?;
    Ok(stored.into_iter().collect())
}

/// Stores a secret. Sessions with servers that need it use it at once.
pub(super) async fn set(
    bridge: &Arc<BridgeState>,
    name: &str,
    value: &HeaderSecret,
) -> Result<Reply, Problem> {
    let kept = bridge
        .identity
        .keep_secret(parse(name)?, value.expose())
        .await;
    kept.map_err(|error| match error {
        auth::SecretError::Unfit => Problem::from_text(ProblemKind::Invalid, &error.to_string()),
        auth::SecretError::Vault(error) => in_vault(&error.to_string()),
    })?;
    bridge.notifications.accounts_changed();
    Ok(Reply::Done)
}

/// Deletes a secret.
pub(super) async fn remove(bridge: &Arc<BridgeState>, name: &str) -> Result<Reply, Problem> {
    let name = parse(name)?;
    let forgotten = bridge.identity.forget_secret(&name).await;
    if !forgotten.map_err(|error| in_vault(&error.to_string()))? {
        let text = format!("there is no secret `{name}`");
        return Err(Problem::new(ProblemKind::NotFound, text)
            .with_hint("`postern secrets list` shows what is stored"));
    }
    bridge.notifications.accounts_changed();
    Ok(Reply::Done)
}

fn parse(name: &str) -> Result<SecretName, Problem> {
    name.parse().map_err(|error: model::SecretNameError| {
        Problem::from_text(ProblemKind::Invalid, &error.to_string())
    })
}

fn in_vault(text: &str) -> Problem {
    Problem::from_text(ProblemKind::Vault, text)
}
