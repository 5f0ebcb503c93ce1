//! The configuration files of hosts: reads their entries, and adds or removes our own.
//!
//! Owns: the file of each host, edits that keep all other bytes, backups, and exact undo. Does not
//! own: which server gets an entry, and the path of the installed program. The caller passes both,
//! and the environment ([`Places`]).
//!
//! A change is planned ([`plan_add`], [`plan_remove`]), can be shown ([`Change::diff`]), and is
//! then applied by [`apply`], which fails if the file has changed since.
//!
//! Entries that start `mcp-remote` can be imported ([`ForeignEntries`]).
//!
//! A new host needs: a variant of [`Host`], its file in `places.rs`, its name in [`UnknownHost`], a
//! variant of `HostId` in the management API with its row in `management/hosts.rs`, and the help of
//! `postern hosts add` (`crates/postern`, `cli.rs`).
//!
//! Invariant: an entry is ours if its command is `postern` and its first argument `connect`. Other
//! entries are never changed or removed, except those that the user imports.

mod disk;
mod document;
mod edit;
mod layout;
mod masked;
mod mcp_remote;
mod places;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use similar::TextDiff;

pub use disk::{Applied, apply};
pub use edit::Listed;
pub(crate) use mcp_remote::{Client, LaunchEntry, Settings, is_authorization};
pub use places::{Os, Places, file};

use crate::hosts::disk::HostFile;
use crate::hosts::document::{ContentError, ContentProblem};
use crate::hosts::edit::{Edited, Server};

/// A host whose configuration file we can edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Claude Desktop. Its file supports only stdio.
    ClaudeDesktop,
}

impl Host {
    /// All hosts.
    pub const ALL: &[Self] = &[Self::ClaudeDesktop];

    /// Returns the display name.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
        }
    }

    /// Returns what the user has to do before a change takes effect.
    #[must_use]
    pub fn afterwards(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => {
                "Quit Claude Desktop and open it again: it reads this file only when it starts."
            }
        }
    }

    fn id(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "claude-desktop",
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// An unknown host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no host named {0:?}; hint: the hosts are: claude-desktop")]
pub struct UnknownHost(String);

impl FromStr for Host {
    type Err = UnknownHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|host| host.id() == text)
            .ok_or_else(|| UnknownHost(text.to_owned()))
    }
}

/// An entry for a host's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key of the entry, which the host shows.
    pub name: String,
    /// The absolute, stable path of the installed `postern`.
    pub command: PathBuf,
    /// Its arguments; the first is `connect`.
    pub args: Vec<String>,
}

/// A planned change of a host's file.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The host that reads the file.
    pub host: Host,
    /// The path that the host uses.
    pub path: PathBuf,
    /// The old content. `None` if the file does not exist.
    pub before: Option<String>,
    /// The new content. `None` to delete the file.
    pub after: Option<String>,
    /// The change as a unified diff, empty if nothing changes. The diff of an import is masked.
    pub diff: String,
    /// What the change does.
    pub kind: Kind,
    /// The path after following links, which is written.
    target: PathBuf,
}

/// What a [`Change`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Creates the file.
    Created,
    /// Adds the entry to the file.
    Added,
    /// Updates our entry, or imports entries.
    Updated,
    /// Removes the entry.
    Removed,
    /// Deletes the file, which only contained our entry.
    Deleted,
    /// Changes nothing: the file is already as requested.
    Unchanged,
}

/// Omits the content: a host's file may contain keys of other servers.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("path", &self.path)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Errors of reading or changing a host's file, which is then unchanged.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The file exists and cannot be read.
    #[error("{} cannot be read: {source}; hint: check who may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not UTF-8.
    #[error("{} is not UTF-8 text; hint: open it in an editor and save it as UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The content does not allow the change.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// The error.
        problem: ContentProblem,
    },
    /// The requested entry would not work, or we would not recognise it.
    #[error("`{command}` cannot be written into a host's file: {reason}")]
    Entry {
        /// The command of the entry.
        command: String,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// The file changed between planning and applying.
    #[error("{} was changed by another program in the meantime; hint: look at the change again", path.display())]
    ChangedMeanwhile {
        /// The file.
        path: PathBuf,
    },
    /// The file is read-only, so its owner does not want changes.
    #[error("{} is read-only; hint: change it where it is managed, or make it writable", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("{} cannot be written: {source}; hint: check who may write there and the free space", path.display())]
    Write {
        /// The file or its backup.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl HostsError {
    fn content(path: &Path, content_error: ContentError) -> Self {
        let ContentError {
            line,
            column,
            problem,
        } = content_error;
        Self::Content {
            path: path.to_owned(),
            line,
            column,
            problem,
        }
    }
}

/// Plans adding `entry` to the host's file. Updates command and arguments of an existing entry of
/// ours and keeps its other properties.
///
/// # Errors
/// Fails if the file cannot be read or parsed, if an entry of that name is not ours, and if the
/// command is not the absolute path of an installed `postern`.
pub fn plan_add(host: Host, places: &Places, entry: &Entry) -> Result<Change, HostsError> {
    let server = checked(places.os, entry)?;
    let file = HostFile::read(host, file(host, places))?;
    let edited = edit::add(file.text.as_deref(), &server)
        .map_err(|content_error| HostsError::content(&file.path, content_error))?;
    Ok(match (edited, file.text.is_some()) {
        (Edited::Added(after), true) => file.change(Some(after), Kind::Added),
        (Edited::Added(after), false) => file.change(Some(after), Kind::Created),
        (Edited::Updated(after), _) => file.change(Some(after), Kind::Updated),
        (Edited::Unchanged, _) => file.unchanged(),
    })
}

/// Plans removing the entry `name` from the host's file.
///
/// If nothing else has changed since the entry was added, restores the old file byte for byte from
/// the backups, or deletes it if there was none.
///
/// # Errors
/// Fails if the file cannot be read or parsed, and if the entry is not ours.
pub fn plan_remove(host: Host, places: &Places, name: &str) -> Result<Change, HostsError> {
    let file = HostFile::read(host, file(host, places))?;
    let Some(text) = file.text.as_deref() else {
        return Ok(file.unchanged());
    };
    let earlier = file.backups();
    let after = edit::undo(text, name, &earlier)
        .map_err(|content_error| HostsError::content(&file.path, content_error))?;
    Ok(match after {
        edit::Undone::NotThere => file.unchanged(),
        edit::Undone::Left(after) => file.change(Some(after), Kind::Removed),
        edit::Undone::NothingLeft => file.change(None, Kind::Deleted),
    })
}

/// Returns the entries of the host's file, in its order. Returns none if there is no file.
///
/// # Errors
/// Fails if the file cannot be read or parsed.
pub fn entries(host: Host, places: &Places) -> Result<Vec<Listed>, HostsError> {
    let file = HostFile::read(host, file(host, places))?;
    let text = file.text.as_deref().unwrap_or_default();
    edit::list(text).map_err(|content_error| HostsError::content(&file.path, content_error))
}

/// A host's file with its entries that start other programs.
pub(crate) struct ForeignEntries {
    os: Os,
    file: HostFile,
    /// In the order of the file.
    pub(crate) entries: Vec<LaunchEntry>,
}

impl ForeignEntries {
    /// # Errors
    /// Fails if the file cannot be read or parsed.
    pub(crate) fn read(host: Host, places: &Places) -> Result<Self, HostsError> {
        let file = HostFile::read(host, file(host, places))?;
        let started = edit::launch_entries(file.text.as_deref().unwrap_or_default());
        let entries =
            started.map_err(|content_error| HostsError::content(&file.path, content_error))?;
        Ok(Self {
            os: places.os,
            file,
            entries,
        })
    }

    /// Plans making the entries of these names ours.
    ///
    /// # Errors
    /// Fails if a key occurs twice, and if the command is not the absolute path of an installed
    /// `postern`.
    pub(crate) fn plan(self, ours: &[Entry]) -> Result<Change, HostsError> {
        let servers: Vec<Server> = ours
            .iter()
            .map(|entry| checked(self.os, entry))
            .collect::<Result<_, _>>()?;
        let (Some(before), false) = (self.file.text.as_deref(), servers.is_empty()) else {
            return Ok(self.file.unchanged());
        };
        let taken: Vec<&str> = ours.iter().map(|entry| entry.name.as_str()).collect();
        let edited = edit::take_over(before, &servers).and_then(|after| {
            let shown = [before, &after].map(|text| masked::masked(text, &taken));
            let [before, shown] = shown;
            Ok((after, before?, shown?))
        });
        let (after, shown_before, shown_after) =
            edited.map_err(|content_error| HostsError::content(&self.file.path, content_error))?;
        let diff = diff(&self.file.path, Some(&shown_before), Some(&shown_after));
        Ok(Change {
            diff,
            ..self.file.change(Some(after), Kind::Updated)
        })
    }
}

impl HostFile {
    fn unchanged(self) -> Change {
        let text = self.text.clone();
        self.change(text, Kind::Unchanged)
    }

    fn change(self, after: Option<String>, kind: Kind) -> Change {
        let diff = diff(&self.path, self.text.as_deref(), after.as_deref());
        Change {
            host: self.host,
            path: self.path,
            before: self.text,
            after,
            diff,
            kind,
            target: self.target,
        }
    }
}

fn diff(path: &Path, before: Option<&str>, after: Option<&str>) -> String {
    let path = path.display().to_string();
    TextDiff::from_lines(before.unwrap_or_default(), after.unwrap_or_default())
        .unified_diff()
        .header(&path, &path)
        .to_string()
}

/// Checks that we will recognise the entry again and that its command is permanent.
fn checked(os: Os, entry: &Entry) -> Result<Server, HostsError> {
    let refuse = |reason| {
        let command = entry.command.display().to_string();
        Err(HostsError::Entry { command, reason })
    };
    let Some(command) = entry.command.to_str() else {
        return refuse("the path is not Unicode; hint: install Postern into another folder");
    };
    let server = Server {
        name: entry.name.clone(),
        command: command.to_owned(),
        args: entry.args.clone(),
    };
    if !os.is_absolute(command) {
        return refuse("the path is not absolute; hint: give the full path of the program");
    }
    if command
        .split(['/', '\\'])
        .any(|part| part.starts_with(".mount_"))
    {
        return refuse(
            "the path is inside a mounted AppImage and disappears when that ends; hint: install Postern first",
        );
    }
    if !server.is_ours() {
        return refuse("an entry of ours is `postern connect …`; hint: give the path of `postern`");
    }
    Ok(server)
}
