//! New content of a file, in a temporary file next to it until it takes its place.

use std::fs::{self, DirEntry, File, Permissions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// The prefix of temporary files.
const PREFIX: &str = ".writing-";

/// The age at which a temporary file is abandoned.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// New content of a file. It is deleted if it does not take the file's place.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// Writes `content` to a temporary file in the folder of `path`, of mode 0600 from the start.
    /// Creates the folder if it does not exist.
    ///
    /// # Errors
    /// If the folder or the file cannot be written. The error does not name the temporary file,
    /// whose name differs with each attempt.
    pub fn new(path: &Path, content: &[u8]) -> io::Result<Self> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder);
        let mut file = file.map_err(|error| io::Error::from(error.kind()))?;
        file.as_file_mut().write_all(content)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Gives the file other permissions than mode 0600.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.file.as_file().set_permissions(permissions)
    }

    /// Takes the place of the file, if there is one. Returns the file.
    ///
    /// # Errors
    /// If the content cannot be stored. The old file is then unchanged.
    pub fn replace(self) -> io::Result<File> {
        self.file.as_file().sync_all()?;
        let file = self.file.persist(&self.path);
        file.map_err(|failed| failed.error)
    }

    /// Takes the name of the file. Returns the file.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is a file, and others if the content cannot be
    /// stored.
    pub fn create(self) -> io::Result<File> {
        self.file.as_file().sync_all()?;
        let file = self.file.persist_noclobber(&self.path);
        file.map_err(|failed| failed.error)
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().unwrap_or(Path::new(""));
    if folder.as_os_str().is_empty() {
        return Path::new(".");
    }
    folder
}

/// Makes the names in a folder survive a power failure.
///
/// # Errors
/// If the folder cannot be opened or stored.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Does nothing. Windows has no such call, and its renames are journalled.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Deletes temporary files of processes that ended while they wrote to `folder`. Uses the clock of
/// the file system, which is that of the file `latest`. Newer ones may belong to a process that is
/// writing now. Ignores errors, because the next call tries again.
pub fn remove_abandoned(folder: &Path, latest: &File) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_abandoned(&entry, latest) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_abandoned(entry: &DirEntry, latest: &File) -> bool {
    let age = || {
        let written = entry.metadata()?.modified()?;
        let now = latest.metadata()?.modified()?;
        io::Result::Ok(now.duration_since(written).unwrap_or_default())
    };
    entry.file_name().to_string_lossy().starts_with(PREFIX)
        && age().is_ok_and(|age| age > ABANDONED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn file_and_folder_are_created_and_content_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        for content in ["first", "second"] {
            crate::replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(names(path.parent().unwrap()), ["file"]);
        }
        sync_folder(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn existing_file_is_not_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let create = |content: &str| {
            let created = Draft::new(&path, content.as_bytes()).unwrap().create();
            created.map(drop).map_err(|error| error.kind())
        };
        assert_eq!(create("first"), Ok(()));
        assert_eq!(create("second"), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn draft_that_is_not_used_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        drop(Draft::new(&folder.path().join("file"), b"new").unwrap());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn error_does_not_name_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = crate::replace(&path.join("below"), b"new").unwrap_err();
        assert!(!error.to_string().contains(PREFIX), "{error}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = crate::replace(&path, b"new").unwrap_err();
        assert!(!error.to_string().contains(PREFIX), "{error}");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn file_is_private_unless_it_gets_other_permissions() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        crate::replace(&path, b"new").unwrap();
        assert_eq!(mode(), 0o600);
        let draft = Draft::new(&path, b"newer").unwrap();
        draft
            .set_permissions(Permissions::from_mode(0o640))
            .unwrap();
        draft.replace().unwrap();
        assert_eq!(mode(), 0o640);
    }
}
