//! The program that spawned the shim, if the system tells it.

#[cfg_attr(windows, path = "parent/windows.rs")]
#[cfg_attr(target_os = "macos", path = "parent/macos.rs")]
#[cfg_attr(not(any(windows, target_os = "macos")), path = "parent/linux.rs")]
mod system;

/// Returns the file name of the parent's executable. Returns `None` if it is unknown.
pub(crate) fn name() -> Option<String> {
    let name = system::parent()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
