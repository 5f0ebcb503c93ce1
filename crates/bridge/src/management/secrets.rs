//! Secrets that the user stores for the headers of servers.

use std::collections::{BTreeMap, BTreeSet};

use auth::Identity;
use control::api::{HeaderSecret, Problem, ProblemKind, Reply, SecretView};
use model::SecretName;

use crate::notifications::Notifications;
use crate::registry::Registry;

/// Lists the stored secrets and those that servers need.
pub(super) async fn list(identity: &Identity, registry: &Registry) -> Result<Reply, Problem> {
    let stored = stored(identity).await?;
    let mut views: BTreeMap<SecretName, SecretView> = BTreeMap::new();
    let view = |name: &SecretName| SecretView {
        name: name.to_string(),
        stored: stored.contains(name),
        servers: Vec::new(),
    };
    for name in &stored {
        views.insert(name.clone(), view(name));
    }
    for server in registry.all() {
        for name in server.config.secrets() {
            let needed = views.entry(name.clone()).or_insert_with(|| view(name));
            needed.servers.push(server.name.to_string());
            needed.servers.dedup();
        }
    }
    Ok(Reply::Secrets(views.into_values().collect()))
}

/// Returns the names of the stored secrets.
pub(super) async fn stored(identity: &Identity) -> Result<BTreeSet<SecretName>, Problem> {
    let stored = identity.secrets().await;
    let stored = stored.map_err(|error| in_vault(&error.to_string()))?;
    Ok(stored.into_iter().collect())
}

/// Stores a secret. Sessions with servers that need it use it at once.
pub(super) async fn set(
    identity: &Identity,
    notifications: &Notifications,
    name: &str,
    value: &HeaderSecret,
) -> Result<Reply, Problem> {
    let kept = identity.keep_secret(parse(name)?, value.expose()).await;
    kept.map_err(|error| match error {
        auth::SecretError::Unfit => Problem::from_text(ProblemKind::Invalid, &error.to_string()),
        auth::SecretError::Vault(error) => in_vault(&error.to_string()),
    })?;
    notifications.accounts_changed();
    Ok(Reply::Done)
}

/// Deletes a secret.
pub(super) async fn remove(
    identity: &Identity,
    notifications: &Notifications,
    name: &str,
) -> Result<Reply, Problem> {
    let name = parse(name)?;
    let forgotten = identity.forget_secret(&name).await;
    if !forgotten.map_err(|error| in_vault(&error.to_string()))? {
        let text = format!("there is no secret `{name}`");
        return Err(Problem::new(ProblemKind::NotFound, text)
            .with_hint("`postern secrets list` shows what is stored"));
    }
    notifications.accounts_changed();
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
