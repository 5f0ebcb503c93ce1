//! Requests about host configuration files.

use std::sync::Arc;

use control::api::{HostChange, HostId, HostView, Problem, ProblemKind, Reply};
use model::ServerName;

use crate::bridge::Bridge;
use crate::hosts::{self, Host};

pub(super) fn host_of(id: HostId) -> Host {
    match id {
        HostId::ClaudeDesktop => Host::ClaudeDesktop,
    }
}

pub(super) fn plan_add(
    bridge: &Arc<Bridge>,
    id: HostId,
    name: &str,
) -> Result<hosts::Change, Problem> {
    let server = bridge.config.server(name)?;
    let entry = entry(bridge, server.name.as_str(), &server.name);
    hosts::plan_add(host_of(id), &bridge.options.places, &entry)
        .map_err(|error| host_problem(&error))
}

/// Builds the entry for a server, under the name that the host has for it.
pub(super) fn entry(bridge: &Bridge, name: &str, server: &ServerName) -> hosts::Entry {
    let mut args = vec!["connect".to_owned(), server.to_string()];
    if let Some(root) = bridge.options.home.root() {
        args.extend(["--home".to_owned(), root.display().to_string()]);
    }
    hosts::Entry {
        name: name.to_owned(),
        command: bridge.options.program.clone(),
        args,
    }
}

pub(super) fn plan_remove(
    bridge: &Arc<Bridge>,
    id: HostId,
    name: &str,
) -> Result<hosts::Change, Problem> {
    let change = hosts::plan_remove(host_of(id), &bridge.options.places, name)
        .map_err(|error| host_problem(&error))?;
    // A name that is neither in the file nor in the configuration is a mistake.
    if change.kind == hosts::Kind::Unchanged {
        bridge.config.server(name)?;
    }
    Ok(change)
}

/// Applies a change if it is the one that the user approved.
pub(super) fn apply(
    bridge: &Arc<Bridge>,
    change: &hosts::Change,
    approved: &str,
) -> Result<Reply, Problem> {
    if change.diff != approved {
        let path = change.path.clone();
        return Err(host_problem(&hosts::HostsError::ChangedMeanwhile { path }));
    }
    let applied =
        threads::blocking(|| hosts::apply(change)).map_err(|error| host_problem(&error))?;
    bridge.notifications.state_changed();
    let backup = applied.backup.map(|path| path.display().to_string());
    Ok(Reply::HostChange(HostChange {
        backup,
        ..shown(change)
    }))
}

pub(super) fn shown(change: &hosts::Change) -> HostChange {
    HostChange {
        path: change.path.display().to_string(),
        diff: change.diff.clone(),
        backup: None,
        afterwards: (!change.diff.is_empty()).then(|| change.host.afterwards().to_owned()),
    }
}

pub(super) fn host_view(bridge: &Bridge, id: HostId) -> HostView {
    let host = host_of(id);
    let path = hosts::file(host, &bridge.options.places);
    let (servers, problem) = match hosts::entries(host, &bridge.options.places) {
        Ok(entries) => (
            entries
                .into_iter()
                .filter(|entry| entry.ours)
                .map(|entry| entry.name)
                .collect(),
            None,
        ),
        Err(error) => (Vec::new(), Some(host_problem(&error))),
    };
    HostView {
        id,
        name: host.title().to_owned(),
        exists: path.exists(),
        path: path.display().to_string(),
        servers,
        problem,
    }
}

pub(super) fn host_problem(error: &hosts::HostsError) -> Problem {
    Problem::from_text(ProblemKind::Invalid, &error.to_string())
}
