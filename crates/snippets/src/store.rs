//! Snippets on disk: one folder per user, one file per snippet.
//!
//! Invariants: neither a user's id nor a snippet's name is ever part of a path; file names are
//! fingerprints ([`fingerprint`]). Files are replaced by rename, so a reader sees either the old
//! snippet or the new one in full. All functions block: do not call them on async threads.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::access::{User, fingerprint};

/// The maximum length of a snippet's name, in bytes of UTF-8.
pub(crate) const MAX_NAME_BYTES: usize = 256;
/// The maximum length of a snippet, in bytes of UTF-8.
pub(crate) const MAX_SNIPPET_BYTES: usize = 64 * 1024;
/// The maximum number of snippets per user.
const MAX_SNIPPETS: usize = 1000;

/// The content of one file. It includes the name so that a reader can tell the files apart.
#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    snippet: String,
}

/// Why a snippet was not read or written. The model that called the tool reads the message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The name is the empty string.
    #[error("the snippet's name is empty; hint: pass a name as `snippetname`")]
    NameEmpty,
    /// The name is over [`MAX_NAME_BYTES`].
    #[error(
        "the snippet's name has {0} bytes, at most {MAX_NAME_BYTES} are allowed; hint: choose a shorter name"
    )]
    NameTooLong(usize),
    /// The snippet is over [`MAX_SNIPPET_BYTES`].
    #[error(
        "the snippet has {0} bytes, at most {MAX_SNIPPET_BYTES} are allowed; hint: save it in parts"
    )]
    SnippetTooLong(usize),
    /// The user already has [`MAX_SNIPPETS`] snippets.
    #[error(
        "there are {MAX_SNIPPETS} snippets already, which is the limit; hint: save under a name that exists to replace its snippet"
    )]
    TooMany,
    /// This user saved no snippet under this name.
    #[error("there is no snippet named {0:?}; hint: save it first with save_snippet")]
    Unknown(String),
    /// The file was damaged or written by another program.
    #[error("the stored snippet {0:?} is damaged; hint: save it again with save_snippet")]
    Damaged(String),
    /// The file system failed. Only the log contains the path, which the caller must not learn.
    #[error("the snippet store failed; hint: try again; the server's log has the cause")]
    Io(#[from] io::Error),
}

/// All users' snippets under one folder.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// Creates the folder if it is missing.
    pub(crate) fn open(root: PathBuf) -> anyhow::Result<Self> {
        create_private(&root).with_context(|| {
            format!(
                "the snippets folder {} cannot be created; hint: choose another data folder or check its permissions",
                root.display()
            )
        })?;
        Ok(Self { root })
    }

    /// Returns the snippet that `user` saved under `name`.
    pub(crate) fn load(&self, user: &User, name: &str) -> Result<String, StoreError> {
        check_name(name)?;
        match fs::read(self.folder(user).join(file_name(name))) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(|record: Record| record.snippet)
                .map_err(|_| StoreError::Damaged(name.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Unknown(name.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores `snippet` under `name` for `user`, and replaces an existing one.
    pub(crate) fn save(&self, user: &User, name: &str, snippet: &str) -> Result<(), StoreError> {
        check_name(name)?;
        if snippet.len() > MAX_SNIPPET_BYTES {
            return Err(StoreError::SnippetTooLong(snippet.len()));
        }
        let folder = self.folder(user);
        create_private(&folder)?;
        let file = folder.join(file_name(name));
        if !file.exists() && fs::read_dir(&folder)?.count() >= MAX_SNIPPETS {
            return Err(StoreError::TooMany);
        }
        replace(
            &folder,
            &file,
            &Record {
                name: name.to_owned(),
                snippet: snippet.to_owned(),
            },
        )?;
        Ok(())
    }

    fn folder(&self, user: &User) -> PathBuf {
        self.root.join(user.folder())
    }
}

fn check_name(name: &str) -> Result<(), StoreError> {
    match name.len() {
        0 => Err(StoreError::NameEmpty),
        1..=MAX_NAME_BYTES => Ok(()),
        long => Err(StoreError::NameTooLong(long)),
    }
}

fn file_name(name: &str) -> String {
    format!("{}.json", fingerprint(name.as_bytes()))
}

fn replace(folder: &Path, file: &Path, record: &Record) -> io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(&serde_json::to_vec(record)?)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// On Windows, a folder inherits the access list of its parent, the user's own profile.
#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> User {
        User::Named(b"ada".to_vec())
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("snippets")).unwrap();
        (folder, store)
    }

    #[test]
    fn second_save_replaces_snippet() {
        let (_folder, store) = store();
        store.save(&ada(), "greeting", "hello").unwrap();
        store.save(&ada(), "greeting", "good day").unwrap();
        assert_eq!(store.load(&ada(), "greeting").unwrap(), "good day");
    }

    #[test]
    fn named_and_anonymous_users_are_separate() {
        let (_folder, store) = store();
        let tricky = User::Named(b"anonymous".to_vec());
        store.save(&User::Anonymous, "shared", "for all").unwrap();
        assert!(matches!(
            store.load(&ada(), "shared"),
            Err(StoreError::Unknown(_))
        ));
        assert!(matches!(
            store.load(&tricky, "shared"),
            Err(StoreError::Unknown(_))
        ));
    }

    #[test]
    fn any_name_stays_in_user_folder() {
        let (folder, store) = store();
        let names = [
            "../../etc/passwd",
            "/etc/passwd",
            "..",
            ".",
            "a/b",
            r"..\..\x",
            "C:\\x",
            "nul\0",
            "con",
        ];
        for name in names {
            store.save(&ada(), name, name).unwrap();
            assert_eq!(store.load(&ada(), name).unwrap(), name);
        }
        let inside = fs::read_dir(store.folder(&ada())).unwrap().count();
        assert_eq!(inside, names.len());
        let beside = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(beside, 1, "only the store's own folder may appear");
    }

    #[test]
    fn length_limits_are_inclusive() {
        let (_folder, store) = store();
        let longest = "n".repeat(MAX_NAME_BYTES);
        store
            .save(&ada(), &longest, &"s".repeat(MAX_SNIPPET_BYTES))
            .unwrap();
        let name = format!("{longest}n");
        assert!(matches!(
            store.save(&ada(), &name, ""),
            Err(StoreError::NameTooLong(257))
        ));
        assert!(matches!(
            store.load(&ada(), &name),
            Err(StoreError::NameTooLong(257))
        ));
        assert!(matches!(
            store.save(&ada(), "", "x"),
            Err(StoreError::NameEmpty)
        ));
        let snippet = "s".repeat(MAX_SNIPPET_BYTES + 1);
        assert!(matches!(
            store.save(&ada(), "n", &snippet),
            Err(StoreError::SnippetTooLong(65_537))
        ));
    }

    #[test]
    fn full_store_still_replaces_snippets() {
        let (_folder, store) = store();
        store.save(&ada(), "first", "1").unwrap();
        for number in 1..MAX_SNIPPETS {
            fs::write(store.folder(&ada()).join(format!("{number}.json")), "{}").unwrap();
        }
        assert!(matches!(
            store.save(&ada(), "one more", "x"),
            Err(StoreError::TooMany)
        ));
        store.save(&ada(), "first", "2").unwrap();
        assert_eq!(store.load(&ada(), "first").unwrap(), "2");
    }

    #[test]
    fn damaged_file_is_reported_and_replaceable() {
        let (_folder, store) = store();
        store.save(&ada(), "note", "1").unwrap();
        fs::write(store.folder(&ada()).join(file_name("note")), "half a rec").unwrap();
        let error = store.load(&ada(), "note").unwrap_err();
        assert!(error.to_string().contains("hint: save it again"), "{error}");
        store.save(&ada(), "note", "2").unwrap();
        assert_eq!(store.load(&ada(), "note").unwrap(), "2");
    }

    #[cfg(unix)]
    #[test]
    fn only_owner_can_read_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, store) = store();
        store.save(&ada(), "note", "1").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.root), 0o700);
        assert_eq!(mode(&store.folder(&ada())), 0o700);
        assert_eq!(mode(&store.folder(&ada()).join(file_name("note"))), 0o600);
    }
}
