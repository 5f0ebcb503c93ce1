//! The users and processes at the ends of a pipe. Users are SIDs in text form.

#![expect(unsafe_code, reason = "tokio's pipes do not provide these calls")]

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;

use tokio::net::windows::named_pipe::{NamedPipeClient, NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo,
    SDDL_REVISION_1, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, OWNER_SECURITY_INFORMATION, PSID, SECURITY_ATTRIBUTES, TOKEN_QUERY,
    TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Pipes::{GetNamedPipeClientProcessId, GetNamedPipeServerProcessId};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION,
};

/// Returns the user of this process.
pub(crate) fn user() -> io::Result<String> {
    // SAFETY: the pseudo handle of this process is always valid and need not be closed.
    user_of_process(unsafe { BorrowedHandle::borrow_raw(GetCurrentProcess()) })
}

/// Returns the user of another process, or an error if the process may not be queried.
pub(crate) fn user_of(pid: u32) -> io::Result<String> {
    // SAFETY: no pointers.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is new and has no other owner.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };
    user_of_process(process.as_handle())
}

/// Returns the ID of the process at the client's end.
pub(super) fn client_process(pipe: &NamedPipeServer) -> io::Result<u32> {
    let mut pid = 0;
    // SAFETY: the handle is open as long as the pipe is, and `pid` outlives the call.
    succeeded(unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut pid) })?;
    Ok(pid)
}

/// Returns the ID of the process at the server's end.
pub(super) fn server_process(pipe: &NamedPipeClient) -> io::Result<u32> {
    let mut pid = 0;
    // SAFETY: the handle is open as long as the pipe is, and `pid` outlives the call.
    succeeded(unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut pid) })?;
    Ok(pid)
}

/// Returns the user who created the pipe. A user cannot create pipes in another user's name.
pub(super) fn owner(pipe: &NamedPipeClient) -> io::Result<String> {
    let mut owner: PSID = null_mut();
    let mut descriptor = Local(null_mut());
    // SAFETY: the handle is open as long as the pipe is. Unused outputs may be null.
    let failed = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor.0,
        )
    };
    if failed != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(failed.cast_signed()));
    }
    // SAFETY: the owner lies in the descriptor, which lives until the end of this function.
    unsafe { text_of(owner) }
}

/// Creates an instance of a pipe that `user` owns and no other user may open.
pub(super) fn create(
    options: &ServerOptions,
    name: &str,
    user: &str,
) -> io::Result<NamedPipeServer> {
    let text = wide(&format!("O:{user}D:P(A;;GA;;;{user})"));
    let mut descriptor = Local(null_mut());
    // SAFETY: the text ends with a zero and outlives the call.
    succeeded(unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor.0,
            null_mut(),
        )
    })?;
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    // SAFETY: the attributes and what they point to live until the end of this function.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}

fn user_of_process(process: BorrowedHandle<'_>) -> io::Result<String> {
    let mut token = null_mut();
    // SAFETY: the handle is open, and `token` outlives the call.
    succeeded(unsafe { OpenProcessToken(process.as_raw_handle(), TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: the handle is new and has no other owner.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    // A `TOKEN_USER` and the longest SID, 68 bytes, aligned.
    let mut answer = [0_u64; 16];
    let mut length = 0;
    // SAFETY: the length given is that of the buffer.
    succeeded(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            answer.as_mut_ptr().cast(),
            size_of_val(&answer) as u32,
            &raw mut length,
        )
    })?;
    // SAFETY: the system has filled in a `TOKEN_USER` whose SID lies behind it in the buffer.
    unsafe { text_of((*answer.as_ptr().cast::<TOKEN_USER>()).User.Sid) }
}

/// # Safety
/// `sid` points to a SID.
unsafe fn text_of(sid: PSID) -> io::Result<String> {
    let mut text = null_mut();
    // SAFETY: guaranteed by the caller.
    succeeded(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    let _freed = Local(text.cast());
    let mut length = 0;
    // SAFETY: the text ends with a zero, and lives until the end of this function.
    let letters = unsafe {
        while *text.add(length) != 0 {
            length += 1;
        }
        std::slice::from_raw_parts(text, length)
    };
    Ok(String::from_utf16_lossy(letters))
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

fn succeeded(outcome: i32) -> io::Result<()> {
    match outcome {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Memory that the system allocated for this process.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: it is freed only here, and null is allowed.
        unsafe { LocalFree(self.0) };
    }
}
