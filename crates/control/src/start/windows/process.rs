//! Starting a process in ways that the standard library does not support: with one inherited handle
//! only, outside of the job if that allows it, and with children outside of a store app's container.

#![expect(
    unsafe_code,
    reason = "the standard library does not provide these calls"
)]

use std::ffi::{OsStr, c_void};
use std::fs::File;
use std::io::{self, PipeWriter};
use std::marker::PhantomData;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::process::Command;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, HANDLE_FLAG_INHERIT, SetHandleInformation, WAIT_OBJECT_0,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NO_WINDOW, CreateProcessW, DeleteProcThreadAttributeList,
    EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, INFINITE, InitializeProcThreadAttributeList,
    PROC_THREAD_ATTRIBUTE_DESKTOP_APP_POLICY, PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
    PROCESS_INFORMATION, STARTF_USESTDHANDLES, STARTUPINFOEXW, STARTUPINFOW,
    UpdateProcThreadAttribute, WaitForSingleObject,
};
use windows_sys::Win32::System::WindowsProgramming::PROCESS_CREATION_DESKTOP_APP_BREAKAWAY_ENABLE_PROCESS_TREE;

/// The stream of a process that is connected to a pipe. The others are connected to the null device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// A running process.
pub(super) struct Process(OwnedHandle);

impl Process {
    /// Starts the command's program with its arguments, and ignores its other settings. The process
    /// has an invisible console.
    pub(super) fn start(command: &Command, stream: Stream, end: PipeWriter) -> io::Result<Self> {
        let null = File::options().read(true).write(true).open("NUL")?;
        let inherited = [inheritable(&null)?, inheritable(&end)?];
        let [nowhere, here] = inherited;
        let attributes = Attributes::new(&inherited)?;
        let mut startup = STARTUPINFOEXW {
            StartupInfo: STARTUPINFOW {
                cb: size_of::<STARTUPINFOEXW>() as u32,
                dwFlags: STARTF_USESTDHANDLES,
                hStdInput: nowhere,
                hStdOutput: if stream == Stream::Stdout {
                    here
                } else {
                    nowhere
                },
                hStdError: if stream == Stream::Stderr {
                    here
                } else {
                    nowhere
                },
                ..STARTUPINFOW::default()
            },
            lpAttributeList: attributes.list(),
        };
        let line = command_line(command)?;
        match create(&line, &mut startup, CREATE_BREAKAWAY_FROM_JOB) {
            // Hosts put their children into a job that ends with them. Not every job allows breakaway.
            Err(error) if error.raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed()) => {
                create(&line, &mut startup, 0)
            }
            created => created,
        }
    }

    /// Waits for its end and returns its exit code.
    pub(super) fn wait(self) -> io::Result<u32> {
        let process = self.0.as_raw_handle();
        let mut code = 0;
        // SAFETY: the handle is open, and `code` outlives the calls.
        let ended = unsafe {
            WaitForSingleObject(process, INFINITE) == WAIT_OBJECT_0
                && GetExitCodeProcess(process, &raw mut code) != 0
        };
        if ended {
            Ok(code)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

fn create(line: &[u16], startup: &mut STARTUPINFOEXW, flags: u32) -> io::Result<Process> {
    // The system may write into the line.
    let mut line = line.to_vec();
    let mut process = PROCESS_INFORMATION::default();
    // SAFETY: every pointer outlives the call, the line ends with a zero, and the flag says that
    // attributes follow the startup information.
    let created = unsafe {
        CreateProcessW(
            null(),
            line.as_mut_ptr(),
            null(),
            null(),
            1,
            flags | CREATE_NO_WINDOW | EXTENDED_STARTUPINFO_PRESENT,
            null(),
            null(),
            (&raw const *startup).cast(),
            &raw mut process,
        )
    };
    if created == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both handles are new and have no other owner.
    unsafe {
        drop(OwnedHandle::from_raw_handle(process.hThread));
        Ok(Process(OwnedHandle::from_raw_handle(process.hProcess)))
    }
}

fn inheritable(handle: &impl AsRawHandle) -> io::Result<RawHandle> {
    let handle = handle.as_raw_handle();
    // SAFETY: the handle is open, and only a flag of it is set.
    match unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(handle),
    }
}

/// The attributes of a new process: the inherited handles, and that its children are outside of a store
/// app's container.
struct Attributes<'a> {
    list: Vec<usize>,
    values: PhantomData<&'a ()>,
}

const OUTSIDE: &u32 = &PROCESS_CREATION_DESKTOP_APP_BREAKAWAY_ENABLE_PROCESS_TREE;

impl<'a> Attributes<'a> {
    fn new(inherited: &'a [RawHandle]) -> io::Result<Self> {
        let mut bytes = 0;
        // SAFETY: without a list, the call only returns its size.
        unsafe { InitializeProcThreadAttributeList(null_mut(), 2, 0, &raw mut bytes) };
        let mut list = vec![0_usize; bytes.div_ceil(size_of::<usize>())];
        let room = list.as_mut_ptr().cast();
        // SAFETY: the list has the size that the system requires.
        if unsafe { InitializeProcThreadAttributeList(room, 2, 0, &raw mut bytes) } == 0 {
            return Err(io::Error::last_os_error());
        }
        let mut attributes = Self {
            list,
            values: PhantomData,
        };
        attributes.set(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, inherited)?;
        // Systems that do not know this attribute have no such containers.
        let _ = attributes.set(PROC_THREAD_ATTRIBUTE_DESKTOP_APP_POLICY, OUTSIDE);
        Ok(attributes)
    }

    fn set<T: ?Sized>(&mut self, attribute: u32, value: &'a T) -> io::Result<()> {
        let list = self.list.as_mut_ptr().cast();
        let (size, value) = (size_of_val(value), (&raw const *value).cast::<c_void>());
        // SAFETY: the list is initialised, and the value lives as long as the list.
        let set = unsafe {
            UpdateProcThreadAttribute(list, 0, attribute as usize, value, size, null_mut(), null())
        };
        match set {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    fn list(&self) -> *mut c_void {
        self.list.as_ptr().cast_mut().cast()
    }
}

impl Drop for Attributes<'_> {
    fn drop(&mut self) {
        // SAFETY: the list is initialised.
        unsafe { DeleteProcThreadAttributeList(self.list()) };
    }
}

fn command_line(command: &Command) -> io::Result<Vec<u16>> {
    let mut line = Vec::new();
    for word in std::iter::once(command.get_program()).chain(command.get_args()) {
        add_quoted(&mut line, word);
        line.push(u16::from(b' '));
    }
    if line.contains(&0) {
        let text = "an argument contains a zero byte";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    line.push(0);
    Ok(line)
}

/// Appends an argument, quoted if necessary. Backslashes are doubled only before a quote.
fn add_quoted(line: &mut Vec<u16>, word: &OsStr) {
    const QUOTE: u16 = b'"' as u16;
    const BACKSLASH: u16 = b'\\' as u16;
    let needs_quotes = |unit| unit == QUOTE || unit == u16::from(b' ') || unit == u16::from(b'\t');
    if !word.is_empty() && !word.encode_wide().any(needs_quotes) {
        return line.extend(word.encode_wide());
    }
    let mut backslashes = 0;
    line.push(QUOTE);
    for unit in word.encode_wide() {
        match unit {
            BACKSLASH => backslashes += 1,
            QUOTE => {
                line.extend(std::iter::repeat_n(BACKSLASH, backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        line.push(unit);
    }
    line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
    line.push(QUOTE);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::{Process, Stream, command_line};

    #[test]
    fn arguments_are_quoted() {
        let mut command = Command::new(r"C:\a b\p.exe");
        command.args(["--a", r"C:\x y\", r#"say "hi\""#, ""]);
        let line = String::from_utf16(&command_line(&command).unwrap()).unwrap();
        let expected = r#""C:\a b\p.exe" --a "C:\x y\\" "say \"hi\\\"" "" "#;
        assert_eq!(line, format!("{expected}\0"));
        assert!(command_line(Command::new("p").arg("a\0b")).is_err());
    }

    #[test]
    fn only_selected_stream_is_captured_and_exit_code_is_returned() {
        let (mut words, end) = std::io::pipe().unwrap();
        let mut command = Command::new("cmd.exe");
        command.args(["/c", "echo heard& echo lost>&2& exit 7"]);
        let process = Process::start(&command, Stream::Stdout, end).unwrap();
        let mut heard = String::new();
        words.read_to_string(&mut heard).unwrap();
        assert_eq!(heard.trim(), "heard");
        assert_eq!(process.wait().unwrap(), 7);
    }
}
