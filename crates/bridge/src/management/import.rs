//! Imports `mcp-remote` entries of a host's file.
//!
//! Owns: which server an entry becomes, its name and its secrets, and applying everything or
//! nothing. Does not own: reading the entries and editing the host's file (`hosts`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use control::api::{
    HeaderSecret, HostId, HostImport, ImportedServer, Problem, ProblemKind, Reply, SkippedEntry,
};
use model::config::{
    BridgeConfig, ClientCredential, ClientCredentials, HeaderSource, SecretRef, ServerAuth,
    ServerConfig, TokenIssuer,
};
use model::{EndpointUrl, SecretName, ServerName};

use super::hosts::{entry, host_of, host_problem};
use super::secrets;
use crate::bridge::Bridge;
use crate::config_file;
use crate::hosts::{self, ForeignEntries, LaunchEntry, Settings, is_authorization};

/// The planned import.
struct Plan {
    shown: HostImport,
    servers: Vec<(ServerName, ServerConfig)>,
    secrets: Vec<(SecretName, HeaderSecret)>,
    change: hosts::Change,
}

pub(super) async fn preview(
    bridge: &Arc<Bridge>,
    host: HostId,
    wanted: &[String],
) -> Result<Reply, Problem> {
    let Plan { shown, .. } = plan(bridge, host, wanted).await?;
    Ok(Reply::HostImport(shown))
}

/// Applies what was approved, or nothing.
pub(super) async fn make(
    bridge: &Arc<Bridge>,
    host: HostId,
    wanted: &[String],
    approved: &HostImport,
    allow_http: bool,
) -> Result<Reply, Problem> {
    let plan = plan(bridge, host, wanted).await?;
    if plan.shown != *approved {
        let path = plan.change.path;
        return Err(host_problem(&hosts::HostsError::ChangedMeanwhile { path }));
    }
    if let Some(exposed) = plan.shown.servers.iter().find(|server| server.exposed)
        && !allow_http
    {
        let text = format!("{} is neither https nor on this machine", exposed.url);
        return Err(Problem::new(ProblemKind::Invalid, text)
            .with_hint("import the other entries by name, or approve it"));
    }
    let applied = write(bridge, &plan).await?;
    bridge.notifications.state_changed();
    Ok(Reply::HostImport(HostImport {
        backup: applied.backup.map(|path| path.display().to_string()),
        ..plan.shown
    }))
}

/// Writes the host's entry last, so that it works as before until then.
async fn write(bridge: &Arc<Bridge>, plan: &Plan) -> Result<hosts::Applied, Problem> {
    let mut kept = Vec::new();
    for (name, value) in &plan.secrets {
        if let Err(problem) = secrets::set(
            &bridge.identity,
            &bridge.notifications,
            name.as_str(),
            value,
        )
        .await
        {
            roll_back(bridge, &[], &kept).await;
            return Err(problem);
        }
        kept.push(name.clone());
    }
    let added = bridge.config.edit(|path| {
        let mut servers = plan.servers.iter();
        servers.try_for_each(|(name, config)| config_file::put(path, name, config))
    });
    let done = added.and_then(|()| {
        threads::blocking(|| hosts::apply(&plan.change)).map_err(|error| host_problem(&error))
    });
    if done.is_err() {
        roll_back(bridge, &plan.servers, &kept).await;
    }
    done
}

async fn roll_back(
    bridge: &Arc<Bridge>,
    servers: &[(ServerName, ServerConfig)],
    kept: &[SecretName],
) {
    let removed = bridge.config.edit(|path| {
        let mut servers = servers.iter();
        servers.try_for_each(|(name, _)| config_file::remove(path, name))
    });
    if let Err(problem) = removed {
        tracing::warn!(%problem, "servers that were not imported stay in the configuration");
    }
    for name in kept {
        if let Err(problem) =
            secrets::remove(&bridge.identity, &bridge.notifications, name.as_str()).await
        {
            tracing::warn!(%problem, secret = %name, "an unused secret stays");
        }
    }
}

async fn plan(bridge: &Arc<Bridge>, id: HostId, wanted: &[String]) -> Result<Plan, Problem> {
    if let Some(problem) = bridge.config.problem() {
        return Err(problem);
    }
    let host = host_of(id);
    let places = &bridge.options.places;
    let others = ForeignEntries::read(host, places).map_err(|error| host_problem(&error))?;
    let read = |path: &Path| fs::read_to_string(path);
    let readable = |entry: &LaunchEntry| Some((entry.name.clone(), entry.settings(&read)?));
    let mut found: Vec<_> = others.entries.iter().filter_map(readable).collect();
    for name in wanted {
        if found.iter().all(|(found, _)| found != name) {
            let text = format!("{} has no entry `{name}` for `mcp-remote`", host.title());
            return Err(Problem::new(ProblemKind::NotFound, text)
                .with_hint("use its name in the file, or name none for all"));
        }
    }
    found.retain(|(name, _)| wanted.is_empty() || wanted.contains(name));
    let has_secrets = |(_, settings): &(_, Result<Settings, _>)| {
        settings.as_ref().is_ok_and(Settings::has_secrets)
    };
    let stored = match found.iter().any(has_secrets) {
        true => secrets::stored(&bridge.identity).await?,
        false => BTreeSet::new(),
    };
    let mut planned = Planned::new(bridge, stored);
    let mut taken = Vec::new();
    for (name, settings) in found {
        match settings.and_then(|settings| planned.add(&name, settings)) {
            Ok(server) => taken.push(entry(bridge, &name, &server)),
            Err(reason) => planned.left.push(SkippedEntry {
                entry: name,
                reason,
            }),
        }
    }
    let change = others.plan(&taken).map_err(|error| host_problem(&error))?;
    Ok(planned.into_plan(bridge, host, change))
}

/// The servers that the entries become, planned one by one.
struct Planned {
    known: Vec<(ServerName, ServerConfig)>,
    secret_names: BTreeSet<SecretName>,
    shown: Vec<ImportedServer>,
    left: Vec<SkippedEntry>,
    servers: Vec<(ServerName, ServerConfig)>,
    secrets: Vec<(SecretName, HeaderSecret)>,
}

impl Planned {
    fn new(bridge: &Bridge, mut secret_names: BTreeSet<SecretName>) -> Self {
        let servers = bridge.config.registry().all().into_iter();
        let known: Vec<_> = servers
            .filter(|server| !server.ephemeral)
            .map(|server| (server.name.clone(), server.config.clone()))
            .collect();
        secret_names.extend(
            known
                .iter()
                .flat_map(|(_, config)| config.secrets().cloned()),
        );
        Self {
            known,
            secret_names,
            shown: Vec::new(),
            left: Vec::new(),
            servers: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Returns the name of the server that the entry becomes, or why it cannot be imported.
    fn add(&mut self, entry: &str, settings: Settings) -> Result<ServerName, String> {
        let name = free(&plain(entry), |name: &ServerName| {
            self.known.iter().all(|(known, _)| known != name)
        })?;
        let mut keeping = Keeping {
            server: &name,
            taken: &self.secret_names,
            kept: Vec::new(),
        };
        let (config, warnings) = server(settings, &mut keeping)?;
        let kept = keeping.kept;
        let single = BridgeConfig {
            servers: [(name.clone(), config.clone())].into(),
            ..BridgeConfig::default()
        };
        single.check().map_err(|wrong| wrong.reason)?;
        let same = self.known.iter().find(|(_, known)| *known == config);
        let there = same.map(|(name, _)| name.clone());
        let is_new = there.is_none();
        let name = there.unwrap_or(name);
        self.shown.push(ImportedServer {
            entry: entry.to_owned(),
            name: name.to_string(),
            url: config.url.shown().to_owned(),
            exposed: config.url.is_exposed(),
            config: if is_new {
                toml(&name, &config)
            } else {
                String::new()
            },
            secrets: kept.iter().map(|(name, _)| name.to_string()).collect(),
            remarks: warnings,
        });
        if is_new {
            self.secret_names
                .extend(kept.iter().map(|(name, _)| name.clone()));
            self.secrets.extend(kept);
            self.known.push((name.clone(), config.clone()));
            self.servers.push((name.clone(), config));
        }
        Ok(name)
    }

    fn into_plan(self, bridge: &Bridge, host: hosts::Host, change: hosts::Change) -> Plan {
        let shown = HostImport {
            path: change.path.display().to_string(),
            diff: change.diff.clone(),
            config_path: bridge.config.path().display().to_string(),
            servers: self.shown,
            left: self.left,
            backup: None,
            afterwards: (!change.diff.is_empty()).then(|| host.afterwards().to_owned()),
        };
        Plan {
            shown,
            servers: self.servers,
            secrets: self.secrets,
            change,
        }
    }
}

/// The secrets of one server.
struct Keeping<'a> {
    server: &'a ServerName,
    taken: &'a BTreeSet<SecretName>,
    kept: Vec<(SecretName, HeaderSecret)>,
}

impl Keeping<'_> {
    fn keep(&mut self, what: &str, value: HeaderSecret) -> Result<SecretName, String> {
        let name = free(
            &plain(&format!("{}-{what}", self.server)),
            |name: &SecretName| {
                !self.taken.contains(name) && self.kept.iter().all(|(kept, _)| kept != name)
            },
        )?;
        self.kept.push((name.clone(), value));
        Ok(name)
    }
}

/// Builds the configuration of the server.
fn server(
    settings: Settings,
    keeping: &mut Keeping<'_>,
) -> Result<(ServerConfig, Vec<String>), String> {
    let Settings {
        url,
        transport,
        headers,
        client,
        warnings,
    } = settings;
    let mut auth = match client {
        Some(client) => client_auth(client, keeping)?,
        None => ServerAuth::Discover,
    };
    if headers.keys().any(is_authorization) {
        auth = ServerAuth::None;
    }
    let headers = headers.into_iter().map(|(name, value)| {
        let secret = keeping.keep(name.as_str(), value)?;
        Ok((name, HeaderSource::Secret(SecretRef { secret })))
    });
    let config = ServerConfig {
        allow_http: url.is_exposed(),
        transport,
        auth,
        headers: headers.collect::<Result<_, String>>()?,
        ..ServerConfig::at(url)
    };
    Ok((config, warnings))
}

fn client_auth(client: hosts::Client, keeping: &mut Keeping<'_>) -> Result<ServerAuth, String> {
    let hosts::Client {
        id: client_id,
        secret,
        scopes,
        uses_client_credentials,
    } = client;
    let secret = secret
        .map(|secret| keeping.keep("client", secret))
        .transpose()?;
    Ok(match (uses_client_credentials, secret) {
        (true, Some(secret)) => ServerAuth::ClientCredentials(ClientCredentials {
            client_id,
            proof: ClientCredential::Secret(secret),
            issuer: TokenIssuer::Discovered { resource: None },
            scopes,
        }),
        (_, secret) => ServerAuth::Client {
            client_id,
            client_secret: secret.map(|secret| SecretRef { secret }),
            issuer: None,
            scopes,
            redirect_port: 0,
        },
    })
}

/// Converts text to a name. Characters that do not fit become `-`.
fn plain(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars().map(|character| character.to_ascii_lowercase()) {
        match character {
            'a'..='z' | '0'..='9' => name.push(character),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.truncate(MAX_PLAIN_NAME);
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        "server".to_owned()
    } else {
        name.to_owned()
    }
}

/// Leaves room for a number.
const MAX_PLAIN_NAME: usize = 59;

/// Returns the name if it is free, or else the first free one with a number.
fn free<N: std::str::FromStr>(name: &str, is_free: impl Fn(&N) -> bool) -> Result<N, String> {
    let numbered = (2..=999).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .filter_map(|name| name.parse().ok())
        .find(is_free)
        .ok_or_else(|| "no name is free for it".to_owned())
}

/// Returns the TOML that is added to the configuration. Replaces a query, which may be a secret, by
/// `…`.
fn toml(name: &ServerName, config: &ServerConfig) -> String {
    let mut config = config.clone();
    if config.url.shown() != config.url.as_str() {
        let shown = format!("{}?…", config.url.shown());
        config.url = EndpointUrl::allowing_http(&shown).unwrap_or(config.url);
    }
    let servers = BTreeMap::from([(name, config)]);
    toml::to_string(&BTreeMap::from([("servers", servers)])).unwrap_or_default()
}
