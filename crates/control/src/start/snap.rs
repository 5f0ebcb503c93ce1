//! The environment variables that a bridge must not inherit from a host in a snap.
//!
//! A snap sets the variables for libraries, folders and the session to its own folders. Programs that
//! the bridge starts, such as a browser, would use these too, although the bridge also serves other
//! hosts.
//!
//! Owns: which variables refer to a snap, and their values outside of it. Does not own: the user's home
//! folder, which [`crate::home`] finds.

use std::ffi::{OsStr, OsString};

use crate::home;

/// The suffix of the variables in which VS Code's snap keeps the original values.
const ORIGINAL: &str = "_VSCODE_SNAP_ORIG";

/// Returns the changes to `variables`: the new value, or `None` to remove the variable. Returns no
/// changes outside of a snap.
pub(super) fn changes(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, Option<OsString>)> {
    let variables: Vec<(String, String)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let changed = variables.iter().filter_map(|(name, value)| {
        let new = outside(name, value, &variables);
        (new.as_ref() != Some(value)).then_some((name.into(), new.map(Into::into)))
    });
    changed.collect()
}

/// Returns the value of the variable outside of a snap. Returns `None` if it is not set there.
fn outside(name: &str, value: &str, all: &[(String, String)]) -> Option<String> {
    if name == "SNAP" || name.starts_with("SNAP_") || name.ends_with(ORIGINAL) {
        return None;
    }
    let kept = format!("{name}{ORIGINAL}");
    if let Some((_, original)) = all.iter().find(|(other, _)| *other == kept) {
        return (!original.is_empty()).then(|| original.clone());
    }
    if name == "HOME" {
        let home = home::outside_of_snap(value.as_ref());
        return Some(home.to_str().unwrap_or(value).to_owned());
    }
    let rest = value.split(':').filter(|part| !leads_into_snap(part));
    let rest = rest.collect::<Vec<_>>().join(":");
    (value.is_empty() || !rest.is_empty()).then_some(rest)
}

/// Returns whether a path belongs to one snap: its files, its data, or its part of the session's
/// folder. `/snap/bin`, from which all snaps are started, does not.
fn leads_into_snap(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "snap", "bin", ..] => false,
        ["", "snap", _, ..] | ["", "var", "snap", _, ..] | ["", "var", "lib", "snapd", ..] => true,
        ["", "run", "user", _, part, ..] => part.starts_with("snap."),
        _ => home::outside_of_snap(path.as_ref()).as_os_str() != OsStr::new(path),
    }
}

#[cfg(test)]
mod tests {
    use super::changes;

    /// The environment of processes that VS Code's classic snap starts.
    #[test]
    fn variables_of_vs_code_snap_are_restored() {
        let inside = [
            ("DISPLAY", ":0"),
            ("GDK_BACKEND", "x11"),
            ("GDK_BACKEND_VSCODE_SNAP_ORIG", ""),
            (
                "GIO_MODULE_DIR",
                "/home/adele/snap/code/common/.cache/gio-modules",
            ),
            (
                "GTK_PATH",
                "/snap/code/180/usr/lib/x86_64-linux-gnu/gtk-3.0",
            ),
            ("HOME", "/home/adele"),
            ("LD_LIBRARY_PATH", "/opt/oracle/lib:/snap/code/180/usr/lib"),
            ("LOCPATH", "/snap/code/180/usr/lib/locale"),
            ("PATH", "/snap/code/180/bin:/usr/bin:/snap/bin"),
            ("SNAP", "/snap/code/180"),
            ("SNAP_NAME", "code"),
            ("SNAP_REAL_HOME", "/home/adele"),
            ("XDG_CONFIG_DIRS", "/snap/code/180/etc/xdg:/etc/xdg"),
            (
                "XDG_CONFIG_DIRS_VSCODE_SNAP_ORIG",
                "/etc/xdg/xdg-ubuntu:/etc/xdg",
            ),
            ("XDG_DATA_HOME", "/home/adele/snap/code/180/.local/share"),
            (
                "XDG_DATA_DIRS",
                "/snap/code/180/usr/share:/usr/share:/var/lib/snapd/desktop",
            ),
            ("XDG_RUNTIME_DIR", "/run/user/1000/snap.code"),
        ];
        assert_eq!(
            changed(&inside),
            [
                "-GDK_BACKEND",
                "-GDK_BACKEND_VSCODE_SNAP_ORIG",
                "-GIO_MODULE_DIR",
                "-GTK_PATH",
                "LD_LIBRARY_PATH=/opt/oracle/lib",
                "-LOCPATH",
                "PATH=/usr/bin:/snap/bin",
                "-SNAP",
                "-SNAP_NAME",
                "-SNAP_REAL_HOME",
                "XDG_CONFIG_DIRS=/etc/xdg/xdg-ubuntu:/etc/xdg",
                "-XDG_CONFIG_DIRS_VSCODE_SNAP_ORIG",
                "-XDG_DATA_HOME",
                "XDG_DATA_DIRS=/usr/share",
                "-XDG_RUNTIME_DIR",
            ]
        );
    }

    #[test]
    fn home_alone_is_restored() {
        let inside = [("HOME", "/home/adele/snap/host/7"), ("USER", "adele")];
        assert_eq!(changed(&inside), ["HOME=/home/adele"]);
    }

    #[test]
    fn variables_outside_of_snap_are_kept() {
        let outside = [
            ("HOME", "/home/adele"),
            ("PATH", "/usr/bin:/snap/bin"),
            ("XDG_RUNTIME_DIR", "/run/user/1000"),
            ("EMPTY", ""),
        ];
        assert_eq!(changed(&outside), Vec::<String>::new());
    }

    fn changed(variables: &[(&str, &str)]) -> Vec<String> {
        let changes = changes(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        let shown = changes.into_iter().map(|(name, value)| match value {
            Some(value) => format!("{}={}", name.display(), value.display()),
            None => format!("-{}", name.display()),
        });
        shown.collect()
    }
}
