//! Windows: the list of all processes, which is the only source for the parent.

#![expect(unsafe_code, reason = "no crate wraps these calls safely")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};

pub(super) fn parent() -> Option<String> {
    let processes = processes().ok()?;
    let find = |id| processes.iter().find(|process| process.id == id);
    let parent = find(find(std::process::id())?.parent)?;
    Some(parent.program.clone())
}

struct Process {
    id: u32,
    parent: u32,
    program: String,
}

fn processes() -> io::Result<Vec<Process>> {
    // SAFETY: no pointers.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is new and has no other owner.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = PROCESSENTRY32W {
        dwSize: size_of::<PROCESSENTRY32W>() as u32,
        ..PROCESSENTRY32W::default()
    };
    let mut processes = Vec::new();
    // SAFETY: the handle is open, and the entry has the size that it says.
    let mut found = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while found != 0 {
        let name = entry.szExeFile.split(|unit| *unit == 0).next();
        processes.push(Process {
            id: entry.th32ProcessID,
            parent: entry.th32ParentProcessID,
            program: String::from_utf16_lossy(name.unwrap_or_default()),
        });
        // SAFETY: as above.
        found = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use super::processes;

    #[test]
    fn process_list_contains_this_process() {
        let this = std::env::current_exe().unwrap();
        let all = processes().unwrap();
        let found = all
            .iter()
            .find(|process| process.id == std::process::id())
            .unwrap();
        assert_eq!(found.program, this.file_name().unwrap().to_str().unwrap());
    }
}
