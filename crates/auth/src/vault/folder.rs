//! The folder of a vault: its permissions, and atomic writes of files.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use files::Draft;

use super::VaultError;
use super::record::RecordName;

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
        files::make_folder_private(&self.0).map_err(|error| VaultError::io(&self.0, &error))
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
        let written = Draft::new(&path, bytes).and_then(|draft| {
            let file = draft.replace()?;
            files::sync_folder(&self.0)?;
            files::remove_abandoned(&self.0, &file);
            Ok(())
        });
        written.map_err(|error| VaultError::io(&path, &error))
    }

    /// Like [`write`](Self::write), but fails if the file exists.
    pub(super) fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        self.make()?;
        let path = self.0.join(name);
        let written = Draft::new(&path, bytes)
            .and_then(Draft::create)
            .and_then(|_| files::sync_folder(&self.0));
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
