//! The configuration files of host programs: what stands there, and adding or removing our entry.
//!
//! Owns: where each host keeps its file, edits that keep every byte they need not touch, backups,
//! and undoing exactly what was added. Does not own: which server gets an entry, and which path
//! the installed program has; both are told by the caller, as is the environment ([`Places`]).
//!
//! A change is planned first ([`plan_add`], [`plan_remove`]), can be shown ([`Change::diff`]), and
//! is then made by [`apply`], which refuses when the file is no longer the one that was planned on.
//!
//! Entries that start `mcp-remote` can become ours ([`ForeignEntries`]).
//!
//! Invariant: an entry is ours if its command is `postern` and its first argument `connect`; other
//! entries are never changed or removed, but for those that a person gives over to us.

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

/// A host program whose configuration file we can edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Claude Desktop, whose file speaks stdio only.
    ClaudeDesktop,
}

impl Host {
    /// All of them.
    pub const ALL: &[Self] = &[Self::ClaudeDesktop];

    /// The name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
        }
    }

    /// What a person has to do before a change of the file takes effect.
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

/// A name that no host has.
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

/// What is to stand in a host's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key of the entry, which the host shows.
    pub name: String,
    /// The absolute, stable path of the installed `postern`.
    pub command: PathBuf,
    /// Its arguments; the first is `connect`.
    pub args: Vec<String>,
}

/// A change of a host's file, planned and not yet made.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The file, as the host names it.
    pub path: PathBuf,
    /// What stands in it; `None` if it is not there.
    pub before: Option<String>,
    /// What is to stand in it; `None` to delete it.
    pub after: Option<String>,
    /// The change as a unified diff; empty if there is nothing to change. Where entries of others
    /// become ours, without what may be a secret.
    pub diff: String,
    /// What the change does.
    pub kind: Kind,
    /// The file behind the links, the one that is really written.
    target: PathBuf,
}

/// What a [`Change`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Makes the file.
    Created,
    /// Adds the entry to the file.
    Added,
    /// Changes the entry, which is there and ours, or becomes so.
    Updated,
    /// Takes the entry out of the file.
    Removed,
    /// Deletes the file, in which nothing but our entry stood.
    Deleted,
    /// Nothing: the file is as asked for already.
    Unchanged,
}

/// Without the contents: a host's file may hold keys of other servers.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("path", &self.path)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Why a host's file was not read or changed. It is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The file is there and cannot be read.
    #[error("{} cannot be read: {source}; hint: check who may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not text in UTF-8.
    #[error("{} is not UTF-8 text; hint: open it in an editor and save it as UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The file's content does not allow the change.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        problem: ContentProblem,
    },
    /// The entry asked for is not one that we could recognise or that would work.
    #[error("`{command}` cannot be written into a host's file: {reason}")]
    Entry {
        /// The command of the entry.
        command: String,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// Somebody changed the file between planning and applying.
    #[error("{} was changed by another program in the meantime; hint: look at the change again", path.display())]
    ChangedMeanwhile {
        /// The file.
        path: PathBuf,
    },
    /// The file is marked read-only, so its owner does not want it changed.
    #[error("{} is read-only; hint: change it where it is managed, or make it writable", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The disk did not take the change.
    #[error("{} cannot be written: {source}; hint: check who may write there and the free space", path.display())]
    Write {
        /// The file or its backup.
        path: PathBuf,
        /// Why.
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

/// What adding `entry` to the host's file would change. An entry of ours with the same name gets
/// the new command and arguments and keeps what else stands in it.
///
/// # Errors
/// When the file cannot be read or parsed, when an entry of that name is not ours, and when the
/// entry's command is no absolute path of an installed `postern`.
pub fn plan_add(host: Host, places: &Places, entry: &Entry) -> Result<Change, HostsError> {
    let server = checked(places.os, entry)?;
    let file = HostFile::read(file(host, places))?;
    let edited = edit::add(file.text.as_deref(), &server)
        .map_err(|content_error| HostsError::content(&file.path, content_error))?;
    Ok(match (edited, file.text.is_some()) {
        (Edited::Added(after), true) => file.change(Some(after), Kind::Added),
        (Edited::Added(after), false) => file.change(Some(after), Kind::Created),
        (Edited::Updated(after), _) => file.change(Some(after), Kind::Updated),
        (Edited::Unchanged, _) => file.unchanged(),
    })
}

/// What taking the entry `name` out of the host's file would change.
///
/// If nothing else was changed since the entry was added, the file becomes what it was before, to
/// the byte, or is deleted if there was none; the backups beside it remember.
///
/// # Errors
/// When the file cannot be read or parsed, and when the entry is not ours.
pub fn plan_remove(host: Host, places: &Places, name: &str) -> Result<Change, HostsError> {
    let file = HostFile::read(file(host, places))?;
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

/// The entries in the host's file, in its order; none if there is no file.
///
/// # Errors
/// When the file cannot be read or parsed.
pub fn entries(host: Host, places: &Places) -> Result<Vec<Listed>, HostsError> {
    let file = HostFile::read(file(host, places))?;
    let text = file.text.as_deref().unwrap_or_default();
    edit::list(text).map_err(|content_error| HostsError::content(&file.path, content_error))
}

/// A host's file, and its entries that start other programs than ours.
pub(crate) struct ForeignEntries {
    os: Os,
    file: HostFile,
    /// In the file's order.
    pub(crate) entries: Vec<LaunchEntry>,
}

impl ForeignEntries {
    /// # Errors
    /// When the file cannot be read or parsed.
    pub(crate) fn read(host: Host, places: &Places) -> Result<Self, HostsError> {
        let file = HostFile::read(file(host, places))?;
        let started = edit::launch_entries(file.text.as_deref().unwrap_or_default());
        let entries =
            started.map_err(|content_error| HostsError::content(&file.path, content_error))?;
        Ok(Self {
            os: places.os,
            file,
            entries,
        })
    }

    /// What it would change if the entries of these names were ours.
    ///
    /// # Errors
    /// When one is there twice, and when the command is no absolute path of an installed `postern`.
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

/// The entry as text, if it is one that we will recognise again and that outlives this process.
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
            "the path is inside a mounted AppImage and is gone when that ends; hint: install Postern first",
        );
    }
    if !server.is_ours() {
        return refuse("an entry of ours is `postern connect …`; hint: give the path of `postern`");
    }
    Ok(server)
}
