//! Persistent files that only their owner can read.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;

/// Returns the content of `file`, or `None` if it does not exist.
pub(crate) fn read(file: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes `bytes` to the file `name` in `folder` atomically.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let file = folder.join(name);
    files::replace(&file, bytes)
        .with_context(|| format!("the emulator cannot write {}", file.display()))
}
