//! macOS: libproc.

use std::path::Path;

pub(super) fn parent() -> Option<String> {
    let parent = libc::pid_t::try_from(std::os::unix::process::parent_id()).ok()?;
    let mut path = [0_u8; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    #[expect(unsafe_code, reason = "no crate wraps this call safely")]
    // SAFETY: the length given is that of the buffer.
    let length = unsafe { libc::proc_pidpath(parent, path.as_mut_ptr().cast(), path.len() as u32) };
    let path = path.get(..usize::try_from(length).ok()?)?;
    let program = Path::new(std::str::from_utf8(path).ok()?).file_name()?;
    Some(program.to_string_lossy().into_owned())
}
