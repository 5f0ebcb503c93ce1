//! The path of this executable, which stays valid after an update.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Returns the path that the caller used, if it is absolute and leads to this executable, or if it
/// is a bare name that `search_path` resolves to it. A symbolic link in a `bin` folder is kept
/// unresolved, because an update may change its target. Otherwise returns the path that the system
/// reports.
pub(crate) fn stable_path(
    argv0: Option<&OsStr>,
    mut search_path: impl Iterator<Item = PathBuf>,
) -> io::Result<PathBuf> {
    let found = std::env::current_exe()?;
    let is_this_program = |path: &Path| path.is_absolute() && same_file(path, &found);
    let named = argv0.map(Path::new);
    let stable = match named {
        Some(path) if is_this_program(path) => Some(path.to_owned()),
        Some(name) if name.components().count() == 1 => {
            search_path.find_map(|dir| Some(dir.join(name)).filter(|path| is_this_program(path)))
        }
        Some(_) | None => None,
    };
    Ok(stable.unwrap_or(found))
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::stable_path;

    #[test]
    fn symlink_is_kept_and_path_of_other_program_is_ignored() {
        let this = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("postern");
        std::os::unix::fs::symlink(&this, &link).unwrap();
        let none = std::iter::empty;
        assert_eq!(stable_path(Some(link.as_os_str()), none()).unwrap(), link);
        let path = [folder.path().to_owned()];
        assert_eq!(
            stable_path(Some("postern".as_ref()), path.into_iter()).unwrap(),
            link
        );
        assert_eq!(stable_path(Some("/bin/sh".as_ref()), none()).unwrap(), this);
        assert_eq!(
            stable_path(Some("./postern".as_ref()), none()).unwrap(),
            this
        );
        assert_eq!(stable_path(None, none()).unwrap(), this);
    }
}
