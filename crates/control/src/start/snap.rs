//! What a bridge does not take over from a host in a snap.
//!
//! A snap points the libraries, the folders and the session of its program into itself. What a
//! bridge opens, as a browser, would look there too, and the host is not the only one the bridge
//! serves.
//!
//! Owns: which variables lead into a snap, and what stands in their place. Does not own: where the
//! person's own folder is; that is [`crate::home`]'s.

use std::ffi::{OsStr, OsString};

use crate::home;

/// What VS Code's snap puts behind the name of a variable under which it keeps what stood there.
const ORIGINAL: &str = "_VSCODE_SNAP_ORIG";

/// What to change of `variables`: the new value, or none to take the variable away. Nothing where
/// no snap is involved.
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

/// The variable as it is outside of a snap; none if there is no such thing there.
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

/// Whether a path is of one snap: what it brings along, what it keeps, or its part of the
/// session's folder. `/snap/bin`, where all of them are started, is not.
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

    /// What VS Code's classic snap gives what it starts.
    #[test]
    fn what_vs_code_in_a_snap_passes_on_is_as_outside_of_it() {
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
    fn of_a_host_that_drops_the_rest_the_home_still_tells() {
        let inside = [("HOME", "/home/adele/snap/host/7"), ("USER", "adele")];
        assert_eq!(changed(&inside), ["HOME=/home/adele"]);
    }

    #[test]
    fn outside_of_a_snap_everything_stays() {
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
