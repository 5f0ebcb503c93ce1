//! Files and folders that only their owner can access.
//!
//! On Unix the mode ensures that. On Windows a file has the access list of its folder, and the
//! user's profile is closed to other users.

use std::fs::{self, DirBuilder, Metadata, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};

/// Returns options that give a new file mode 0600. An existing file keeps its mode.
#[must_use]
pub fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    close_new(&mut options);
    options
}

#[cfg(unix)]
fn close_new(options: &mut OpenOptions) {
    options.mode(0o600);
}

#[cfg(not(unix))]
fn close_new(_options: &mut OpenOptions) {}

/// Creates a folder and its missing parents, each with mode 0700. An existing folder keeps its mode.
///
/// # Errors
/// If there is no such folder and it cannot be created.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    builder.mode(0o700);
    builder.recursive(true).create(folder)
}

/// Creates a folder as [`create_private_folder`] does, and closes an existing one to other users.
///
/// # Errors
/// If the folder cannot be created or closed.
pub fn make_folder_private(folder: &Path) -> io::Result<()> {
    create_private_folder(folder)?;
    if is_private(&fs::metadata(folder)?) {
        return Ok(());
    }
    close(folder)
}

#[cfg(unix)]
fn close(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// Is not called: all folders count as private.
#[cfg(not(unix))]
fn close(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns whether only the owner has access.
#[cfg(unix)]
#[must_use]
pub fn is_private(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o077 == 0
}

/// Returns true: the user's profile ensures that only the owner has access.
#[cfg(not(unix))]
#[must_use]
pub fn is_private(_metadata: &Metadata) -> bool {
    true
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn new_file_and_folders_are_private() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("one/two");
        create_private_folder(&folder).unwrap();
        let file = folder.join("file");
        let options = || private_options().write(true).create_new(true).open(&file);
        options().unwrap();
        assert_eq!(options().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        assert_eq!(mode(&root.path().join("one")), 0o700);
    }

    #[test]
    fn open_folder_stays_open_unless_it_is_made_private() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        create_private_folder(&folder).unwrap();
        assert_eq!(mode(&folder), 0o755);
        make_folder_private(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
    }
}
