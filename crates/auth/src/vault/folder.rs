//! The folder of a vault: its permissions, and atomic writes of files.

use std::fs::{self, DirBuilder, DirEntry, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::VaultError;
use super::record::RecordName;

/// The prefix of temporary files.
const WRITING: &str = ".writing-";

/// The age at which a temporary file is abandoned.
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

    /// Creates the folder, accessible for its user only.
    pub(super) fn make(&self) -> Result<(), VaultError> {
        make_private(&self.0).map_err(|error| VaultError::io(&self.0, &error))
    }

    /// Returns the records in it. Empty if it does not exist.
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

    /// Writes the file `name` atomically, even if the process crashes.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        self.make()?;
        let path = self.0.join(name);
        replace(&self.0, &path, bytes).map_err(|error| VaultError::io(&path, &error))
    }

    /// Like [`write`](Self::write), but fails if the file exists.
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

    /// Returns the text of the file `name`. Creates it with `fresh` if it does not exist.
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

/// Writes `bytes` to a temporary file, of mode 0600 from the start.
fn written(folder: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(WRITING).tempfile_in(folder);
    // The original error names the temporary file, whose name differs with each attempt.
    let mut file = file.map_err(|error| io::Error::from(error.kind()))?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Deletes temporary files of processes that ended while they wrote. Uses the clock of the file
/// system. Newer ones may belong to a process that is writing now.
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
            // The next write tries again.
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
    // On Windows the user's profile is closed to other users.
    DirBuilder::new().recursive(true).create(folder)
}

/// Returns true if only the owner has access.
#[cfg(unix)]
pub(super) fn private(metadata: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 == 0
}

/// Returns true if only the owner has access. The user's profile ensures that.
#[cfg(not(unix))]
pub(super) fn private(_metadata: &Metadata) -> bool {
    true
}
