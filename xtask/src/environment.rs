//! The one module of this program that reads the environment.

use std::ffi::OsString;

/// Returns the search path for programs.
pub(crate) fn path() -> OsString {
    variable("PATH").unwrap_or_default()
}

/// Returns the search path for programs with `first` in front of it.
pub(crate) fn path_with(first: &std::path::Path) -> OsString {
    let mut path = first.as_os_str().to_owned();
    if let Some(rest) = variable("PATH") {
        path.push(if cfg!(windows) { ";" } else { ":" });
        path.push(rest);
    }
    path
}

/// Returns true if a window can be shown.
pub(crate) fn has_display() -> bool {
    cfg!(any(windows, target_os = "macos"))
        || ["WAYLAND_DISPLAY", "DISPLAY"]
            .iter()
            .any(|name| variable(name).is_some_and(|value| !value.is_empty()))
}

/// Returns the cargo that runs this program, so that its children use the same toolchain.
pub(crate) fn cargo() -> OsString {
    variable("CARGO").unwrap_or_else(|| "cargo".into())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the module that the ban names"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
