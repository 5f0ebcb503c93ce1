//! The folder of a vault: who may enter it, and files that are there whole or not at all.

use std::fs::{self, DirBuilder, DirEntry, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::VaultError;
use super::record::RecordName;

/// What the names of files begin with that are not whole yet.
const WRITING: &str = ".writing-";

/// How old such a file is when nobody writes it any more.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// The folder of a vault.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder, for its user alone.
    pub(super) fn make(&self) -> Result<(), VaultError> {
        make_private(&self.0).map_err(|error| VaultError::io(&self.0, &error))
    }

    /// The records in it; none if it does not exist.
    pub(super) fn records(&self) -> Result<Vec<(RecordName, PathBuf)>, VaultError> {
        let failed = |error: io::Error| VaultError::io(&self.0, &error);
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut records = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().and_then(RecordName::from_file_name) {
                records.push((name, entry.path()));
            }
        }
        Ok(records)
    }

    pub(super) fn has_records(&self) -> Result<bool, VaultError> {
        Ok(!self.records()?.is_empty())
    }

    /// Puts `bytes` where the file `name` is or will be, in one step that a crash cannot halve.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        self.make()?;
        let path = self.0.join(name);
        replace(&self.0, &path, bytes).map_err(|error| VaultError::io(&path, &error))
    }

    /// The same where nothing may be yet: what is there stays, and is an error.
    pub(super) fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        self.make()?;
        let path = self.0.join(name);
        let written = written(&self.0, bytes)
            .and_then(|file| file.persist_noclobber(&path).map_err(|failed| failed.error))
            .and_then(|_| sync_folder(&self.0));
        written.map_err(|error| VaultError::io(&path, &error))
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), VaultError> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(VaultError::io(&path, &error)),
        }
    }

    /// The text of the file `name`, made with `fresh` if there is none.
    pub(super) fn text_or(
        &self,
        name: &str,
        fresh: impl FnOnce() -> Result<String, VaultError>,
    ) -> Result<String, VaultError> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = fresh()?;
                self.write(name, text.as_bytes())?;
                Ok(text)
            }
            Err(error) => Err(VaultError::io(&path, &error)),
        }
    }
}

fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = written(folder, bytes)?.persist(path);
    let file = file.map_err(|failed| failed.error)?;
    sync_folder(folder)?;
    clear(folder, &file);
    Ok(())
}

/// A file with another name that has all of `bytes`, of mode 0600 from the start.
fn written(folder: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(WRITING).tempfile_in(folder);
    // Its own words name the file, which has another name with each try.
    let mut file = file.map_err(|error| io::Error::from(error.kind()))?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Removes what processes left that ended while they wrote, by the file system's own clock. What
/// is younger may be another process's, which writes just now.
fn clear(folder: &Path, latest: &File) {
    let age = |entry: &DirEntry| {
        let written = entry.metadata()?.modified()?;
        let now = latest.metadata()?.modified()?;
        io::Result::Ok(now.duration_since(written).unwrap_or_default())
    };
    let is_left = |entry: &DirEntry| {
        entry.file_name().to_string_lossy().starts_with(WRITING)
            && age(entry).is_ok_and(|age| age > ABANDONED)
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_left(&entry) {
            // The next one to write tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    if !private(&fs::metadata(folder)?) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    // The user's profile is closed to others on Windows.
    DirBuilder::new().recursive(true).create(folder)
}

/// Whether nobody but the owner can do anything with it.
#[cfg(unix)]
pub(super) fn private(metadata: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 == 0
}

/// Whether nobody but the owner can do anything with it: left to the user's profile.
#[cfg(not(unix))]
pub(super) fn private(_metadata: &Metadata) -> bool {
    true
}
