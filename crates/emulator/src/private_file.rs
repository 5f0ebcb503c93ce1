//! Persistent files that only their owner can read.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;

use crate::random;

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
    let hint = || format!("the emulator cannot write {}", file.display());
    fs::create_dir_all(folder).with_context(hint)?;
    let draft = folder.join(format!(".{name}.{}", random::token::<9>()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&draft).with_context(hint)?;
    out.write_all(bytes)
        .and_then(|()| out.sync_all())
        .and_then(|()| fs::rename(&draft, &file))
        .with_context(hint)
}
