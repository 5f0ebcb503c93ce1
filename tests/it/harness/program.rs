//! Our programs as they were built, and helpers for processes.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use rustix::process::{Pid, Signal, kill_process};

/// The command line.
pub(crate) fn postern() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // `cargo xtask test` builds everything first, with the features of the tests. Otherwise
        // this keeps the program up to date.
        if !is_prebuilt() {
            build("postern");
        }
        built_program("postern")
    })
}

/// The desktop app.
fn desktop() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if !is_prebuilt() {
            build("postern-desktop");
        }
        built_program("postern-desktop")
    })
}

/// The folder of a user's own programs, below the home folder.
pub(crate) const INSTALLED: &str = ".local/bin";

/// Installs the desktop app for the user with this home, beside the command line, and returns its
/// path.
pub(crate) fn installed_desktop(home: &Path) -> PathBuf {
    let folder = home.join(INSTALLED);
    let installed = folder.join("postern-desktop");
    if !installed.exists() {
        fs::create_dir_all(&folder).expect("a folder");
        let shim = postern().with_file_name("postern-shim");
        for program in [postern(), &shim, desktop()] {
            let place = folder.join(program.file_name().expect("a program"));
            fs::hard_link(program, &place)
                .or_else(|_| fs::copy(program, &place).map(drop))
                .expect("a program is installed");
        }
    }
    installed
}

fn build(package: &str) {
    let status = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["build", "--quiet", "-p", package])
        .stdin(Stdio::null())
        .status()
        .expect("cargo starts");
    assert!(status.success(), "cargo build -p {package} failed");
}

/// Returns a built program. Cargo places programs one folder above the tests.
fn built_program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the test program's own file");
    let folder = this.parent().and_then(Path::parent).expect("target/debug");
    let program = folder
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.is_file(), "{} is not built", program.display());
    program
}

fn is_prebuilt() -> bool {
    variable("POSTERN_TESTS_PREBUILT").is_some()
}

/// Returns true if long cases run in full: `cargo xtask test --full`.
pub(crate) fn is_full() -> bool {
    variable("POSTERN_TESTS_FULL").is_some()
}

/// Returns true if the documents that cases compare are to be updated.
pub(crate) fn updates_documents() -> bool {
    variable("POSTERN_TESTS_RENEW").is_some()
}

/// Returns the seed for random cases, if one is set.
pub(crate) fn seed() -> Option<u64> {
    let seed = variable("POSTERN_TESTS_SEED")?;
    Some(seed.parse().expect("a number in POSTERN_TESTS_SEED"))
}

/// Returns the number of random cases, if proptest's variable sets it.
pub(crate) fn cases() -> Option<u32> {
    let cases = variable("PROPTEST_CASES")?;
    Some(cases.parse().expect("a number in PROPTEST_CASES"))
}

#[expect(clippy::disallowed_methods, reason = "the settings of a test run")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The search path for programs.
#[expect(clippy::disallowed_methods, reason = "what a shell would give a host")]
pub(crate) fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// Returns the processes whose arguments contain `text`.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process| arguments(*process).contains(text))
        .collect()
}

/// Returns the arguments of a process, separated by blanks. Empty if it is gone.
pub(crate) fn arguments(process: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Returns the environment that a process was started with.
pub(crate) fn variables(process: u32) -> Vec<(String, String)> {
    let bytes = fs::read(format!("/proc/{process}/environ")).expect("a process that runs");
    let text = String::from_utf8(bytes).expect("text");
    let variables = text.split('\0').filter_map(|one| one.split_once('='));
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the user id of a process, or `None` if it is gone.
pub(crate) fn owner(process: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    let folder = fs::metadata(format!("/proc/{process}")).ok()?;
    Some(folder.uid())
}

/// Returns the open descriptors of a process, as the kernel names them.
pub(crate) fn descriptors(process: u32) -> Vec<String> {
    fs::read_dir(format!("/proc/{process}/fd"))
        .expect("a process that runs")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        .collect()
}

/// Returns how many TCP connections to `address` a process has open, in any state.
pub(crate) fn connections_to(process: u32, address: SocketAddr) -> usize {
    let sockets = sockets(process).into_iter();
    sockets.filter(|socket| socket.remote == address).count()
}

/// Returns the addresses on which a process listens.
pub(crate) fn listening(process: u32) -> Vec<SocketAddr> {
    let sockets = sockets(process).into_iter();
    sockets
        .filter(|socket| socket.is_listening)
        .map(|socket| socket.local)
        .collect()
}

/// A TCP socket of a process.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    is_listening: bool,
}

fn sockets(process: u32) -> Vec<Socket> {
    let open = descriptors(process);
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{process}/net/{table}"));
        for line in table.expect("a table of connections").lines().skip(1) {
            let columns: Vec<_> = line.split_whitespace().collect();
            if open.contains(&format!("socket:[{}]", columns[9])) {
                sockets.push(Socket {
                    local: address_of(columns[1]),
                    remote: address_of(columns[2]),
                    is_listening: columns[3] == "0A",
                });
            }
        }
    }
    sockets
}

/// Parses an address of the kernel's tables: 32-bit words in the machine's byte order.
fn address_of(column: &str) -> SocketAddr {
    let (ip, port) = column.split_once(':').expect("an address");
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).expect("digits");
        u32::from_str_radix(word, 16).expect("a word").to_ne_bytes()
    });
    let bytes = words.collect::<Vec<_>>().concat();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::from(bytes),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).expect("sixteen bytes")),
    };
    SocketAddr::new(ip, u16::from_str_radix(port, 16).expect("a port"))
}

/// Returns true once a process has released everything: it is gone, or its last thread is a zombie
/// that the parent has not reaped yet.
pub(crate) fn is_gone(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count);
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = status
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    threads == 0 || (threads == 1 && state == Some('Z'))
}

/// Kills a process, as `kill -9` does.
pub(crate) fn kill(process: u32) {
    signal(process, Signal::KILL);
}

/// Sends SIGABRT, as for a crash: the process may leave a core dump.
pub(crate) fn abort(process: u32) {
    signal(process, Signal::ABORT);
}

/// Suspends a process, as when the machine sleeps.
pub(crate) fn suspend(process: u32) {
    signal(process, Signal::STOP);
}

/// Resumes a process.
pub(crate) fn resume(process: u32) {
    signal(process, Signal::CONT);
}

fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).expect("a process id");
    let Some(process) = Pid::from_raw(process) else {
        return;
    };
    // It may have exited.
    let _ = kill_process(process, signal);
}

/// Returns the peak memory of a process, in KiB.
pub(crate) fn peak_memory(process: u32) -> u64 {
    memory_of(process, "VmHWM:")
}

/// Returns the current memory of a process, in KiB.
pub(crate) fn memory(process: u32) -> u64 {
    memory_of(process, "VmRSS:")
}

fn memory_of(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
        .expect("its memory");
    memory.trim().parse().expect("a number")
}
