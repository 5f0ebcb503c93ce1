//! Reads and writes host files. A crash leaves either the old file or the new one.
//!
//! Backups are next to the file as `NAME.postern-backup-N`; a higher number is newer. Their mode is
//! 0600 whatever the file's mode is, because host files contain secrets. The newest [`MAX_BACKUPS`]
//! are kept, and no two with the same content. Symbolic links and other files that do not have
//! exactly such a name are neither read nor deleted.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::hosts::{Change, Host, HostsError, Kind};

/// The maximum of links to follow before they count as a cycle.
const MAX_LINKS: usize = 40;

/// How many backups of a file are kept.
const MAX_BACKUPS: usize = 3;

/// A host's file as it is now.
pub(super) struct HostFile {
    /// The host that reads it.
    pub(super) host: Host,
    /// The path that the host uses.
    pub(super) path: PathBuf,
    /// The path after following links.
    pub(super) target: PathBuf,
    /// `None` if the file does not exist.
    pub(super) text: Option<String>,
}

impl HostFile {
    pub(super) fn read(host: Host, path: PathBuf) -> Result<Self, HostsError> {
        let read = |source| HostsError::Read {
            path: path.clone(),
            source,
        };
        let target = behind_links(&path).map_err(read)?;
        let text = match fs::read(&target) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes);
                Some(text.map_err(|_| HostsError::NotUtf8 { path: path.clone() })?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(read(error)),
        };
        Ok(Self {
            host,
            path,
            target,
            text,
        })
    }

    /// Returns the content of the backups, newest first. Skips unreadable ones.
    pub(super) fn backups(&self) -> Vec<String> {
        backups(&self.target)
            .iter()
            .filter_map(|(_, path)| fs::read_to_string(path).ok())
            .collect()
    }
}

/// The result of [`apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The backup of the old file. `None` if there was no file, or nothing changed.
    pub backup: Option<PathBuf>,
}

/// Applies the change: writes a backup, then replaces the file and keeps its mode.
///
/// # Errors
/// Returns [`HostsError::ChangedMeanwhile`] if the file changed since it was planned, and other
/// errors if it cannot be read or written. The file is then unchanged.
pub fn apply(change: &Change) -> Result<Applied, HostsError> {
    let now = HostFile::read(change.host, change.path.clone())?;
    if now.text != change.before || now.target != change.target {
        return Err(HostsError::ChangedMeanwhile {
            path: change.path.clone(),
        });
    }
    if change.kind == Kind::Unchanged {
        return Ok(Applied { backup: None });
    }
    let mode = mode(&now)?;
    let backup = change
        .before
        .as_ref()
        .map(|before| back_up(&change.target, before))
        .transpose()?;
    let written = match &change.after {
        Some(after) => replace(&change.target, after, mode),
        None => fs::remove_file(&change.target),
    };
    written.map_err(|source| HostsError::Write {
        path: change.target.clone(),
        source,
    })?;
    Ok(Applied { backup })
}

/// Returns the permissions of an existing file. A new file is private.
fn mode(file: &HostFile) -> Result<Option<fs::Permissions>, HostsError> {
    if file.text.is_none() {
        return Ok(None);
    }
    let read = |source| HostsError::Read {
        path: file.path.clone(),
        source,
    };
    let permissions = fs::metadata(&file.target).map_err(read)?.permissions();
    if permissions.readonly() {
        return Err(HostsError::ReadOnly {
            path: file.path.clone(),
        });
    }
    Ok(Some(permissions))
}

fn replace(target: &Path, text: &str, mode: Option<fs::Permissions>) -> io::Result<()> {
    let draft = files::Draft::new(target, text.as_bytes())?;
    if let Some(mode) = mode {
        draft.set_permissions(mode)?;
    }
    draft.replace()?;
    files::sync_folder(target.parent().unwrap_or(Path::new(".")))
}

/// Writes a new backup, then deletes surplus ones.
fn back_up(target: &Path, text: &str) -> Result<PathBuf, HostsError> {
    let older = backups(target);
    let newest = older.first().map_or(0, |(number, _)| *number);
    let path = write_backup(target, newest, text)?;
    let (same, other): (Vec<_>, Vec<_>) =
        older.into_iter().partition(|(_, path)| holds(path, text));
    let surplus = other.into_iter().skip(MAX_BACKUPS - 1);
    for (_, path) in same.into_iter().chain(surplus) {
        if let Err(error) = fs::remove_file(&path) {
            tracing::debug!(%error, path = %path.display(), "an older backup stays");
        }
    }
    Ok(path)
}

/// Writes a backup with the first free number above `newest`. Leaves no partial backup if that
/// fails.
fn write_backup(target: &Path, newest: u64, text: &str) -> Result<PathBuf, HostsError> {
    let mut number = newest;
    let (path, mut file) = loop {
        // Only a file that was named by hand has the highest number.
        number = number.checked_add(1).ok_or_else(|| HostsError::Write {
            path: backup_path(target, number),
            source: io::Error::other("no backup can have a higher number; hint: rename this file"),
        })?;
        let path = backup_path(target, number);
        let mut options = files::private_options();
        match options.write(true).create_new(true).open(&path) {
            Ok(file) => break (path, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(HostsError::Write { path, source }),
        }
    };
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|source| {
        drop(file);
        let _ = fs::remove_file(&path);
        let path = path.clone();
        HostsError::Write { path, source }
    })?;
    Ok(path)
}

fn holds(path: &Path, text: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())
}

fn backup_path(target: &Path, number: u64) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(format!("{BACKUP}{number}"));
    path.into()
}

const BACKUP: &str = ".postern-backup-";

/// Lists the backups of the file with their numbers, newest first.
fn backups(target: &Path) -> Vec<(u64, PathBuf)> {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return Vec::new();
    };
    let prefix = format!("{}{BACKUP}", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let regular = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut found: Vec<_> = regular
        .filter_map(|entry| Some((backup_number(&entry.file_name(), &prefix)?, entry.path())))
        .collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found
}

/// Returns the number in the name of a backup. Returns `None` if it is not written as we write it.
fn backup_number(name: &OsStr, prefix: &str) -> Option<u64> {
    let written = name.to_str()?.strip_prefix(prefix)?;
    let number: u64 = written.parse().ok()?;
    (number.to_string() == written).then_some(number)
}

fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let to = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(to);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("its links go in a circle"))
}
