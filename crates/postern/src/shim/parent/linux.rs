//! Linux: `/proc`.

pub(super) fn parent() -> Option<String> {
    let parent = std::os::unix::process::parent_id();
    let of_program = std::fs::read_link(format!("/proc/{parent}/exe"))
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    // The link cannot be read if the parent is in a sandbox.
    let of_process = || std::fs::read_to_string(format!("/proc/{parent}/comm")).ok();
    of_program.or_else(of_process)
}
