//! Which program spawned the shim, as far as the system tells.

#[cfg_attr(windows, path = "parent/windows.rs")]
#[cfg_attr(target_os = "macos", path = "parent/macos.rs")]
#[cfg_attr(not(any(windows, target_os = "macos")), path = "parent/linux.rs")]
mod system;

/// The name of the parent's program.
pub(crate) fn name() -> Option<String> {
    let name = system::parent()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
