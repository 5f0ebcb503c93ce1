//! The detached bridge: starting, replacing, and staying stopped.

use std::net::SocketAddr;
use std::process::Stdio;

use control::socket::SocketKind;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::fake_bridge::FakeBridge;
use crate::host::{Host, TIMEOUT, set_host_environment};
use crate::installation::Installation;
use crate::shim::INITIALIZE;

async fn pid(installation: &Installation) -> u32 {
    installation.client().await.unwrap().welcome().pid
}

/// Returns whether the line is the bridge's error for an unknown server.
fn is_unknown_server(line: &str) -> bool {
    let answer: Value = serde_json::from_str(line).unwrap();
    answer["error"]["code"] == 1005
}

#[tokio::test]
async fn bridge_started_by_shim_survives_host() {
    let installation = Installation::new();
    let mut host = Host::spawn(installation.folder(), "unknown");
    host.send(INITIALIZE).await;
    assert!(is_unknown_server(&host.receive().await.unwrap()));
    let before = pid(&installation).await;
    host.kill_group().await;
    assert_eq!(pid(&installation).await, before);
    assert_ne!(session_of(before), session_of(std::process::id()));
    installation.quit().await;
}

#[tokio::test]
async fn concurrent_shims_start_one_bridge() {
    let installation = Installation::new();
    let mut hosts: Vec<_> = (0..6)
        .map(|_| Host::spawn(installation.folder(), "unknown"))
        .collect();
    for host in &mut hosts {
        host.send(INITIALIZE).await;
    }
    for host in &mut hosts {
        assert!(is_unknown_server(&host.receive().await.unwrap()));
    }
    assert_eq!(bridges_of(&installation).len(), 1);
}

#[tokio::test]
async fn detached_bridge_keeps_no_descriptors_of_starter() {
    let installation = Installation::new();
    let postern = env!("CARGO_BIN_EXE_postern");
    // If the bridge inherited the shell's copies of stdout, this test would wait for the pipe to close.
    let script = format!(
        "exec 7>&1 8>&2; {postern} bridge --detach --home {}",
        installation.folder().display()
    );
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((output.stdout, output.stderr), (Vec::new(), Vec::new()));
    let bridge = pid(&installation).await;
    let folder = std::fs::read_link(format!("/proc/{bridge}/cwd")).unwrap();
    assert_eq!(folder, std::path::Path::new("/"));
    // A second one finds the first.
    assert_eq!(
        installation.run(&["bridge", "--detach"]).await.code,
        Some(0)
    );
    assert_eq!(pid(&installation).await, bridge);
    let second = installation.run(&["bridge"]).await;
    assert_eq!(second.code, Some(1));
    assert!(
        second.stderr.contains("a bridge already runs"),
        "{second:?}"
    );
    installation.quit().await;
}

#[tokio::test]
async fn start_error_of_bridge_is_reported() {
    let installation = Installation::new();
    // A symbolic link to another folder instead of the folder of the sockets.
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), installation.folder().join("run")).unwrap();
    let ended = installation.run(&["bridge", "--detach"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(
        ended.stderr.starts_with("error: ") && ended.stderr.contains("run"),
        "{ended:?}"
    );
    let mut host = Host::spawn(installation.folder(), "unknown");
    host.send(INITIALIZE).await;
    let answer: Value = serde_json::from_str(&host.receive().await.unwrap()).unwrap();
    assert_eq!(answer["error"]["code"], 1002);
    assert!(
        answer["error"]["message"].as_str().unwrap().contains("run"),
        "{answer}"
    );
}

#[tokio::test]
async fn newer_shim_replaces_older_bridge() {
    let mut old = FakeBridge::of_version("0.0.1");
    let mut host = Host::spawn(old.folder(), "unknown");
    host.send(INITIALIZE).await;
    // The shim connects, sees the version, and has a new bridge ask for the replacement.
    drop(old.accept().await);
    let installation = Installation::in_folder(old.yield_to_newer().await);
    assert!(is_unknown_server(&host.receive().await.unwrap()));
    assert_ne!(pid(&installation).await, std::process::id());
}

#[tokio::test]
async fn replace_replaces_any_bridge() {
    let installation = Installation::new();
    assert_eq!(
        installation.run(&["bridge", "--detach"]).await.code,
        Some(0)
    );
    let first = pid(&installation).await;
    assert_eq!(
        installation
            .run(&["bridge", "--detach", "--replace=older"])
            .await
            .code,
        Some(0)
    );
    assert_eq!(pid(&installation).await, first);
    assert_eq!(
        installation
            .run(&["bridge", "--detach", "--replace"])
            .await
            .code,
        Some(0)
    );
    assert_ne!(pid(&installation).await, first);
}

#[tokio::test]
async fn stopped_bridge_restarts_with_next_request() {
    let installation = Installation::new();
    let add = ["servers", "add", "nowhere", "http://127.0.0.1:9/mcp"];
    assert_eq!(installation.run(&add).await.code, Some(0));
    let mut host = Host::spawn(installation.folder(), "nowhere");
    host.send(INITIALIZE).await;
    host.receive().await.unwrap();
    installation.quit().await;
    assert!(installation.client().await.is_err());
    host.send(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
        .await;
    host.receive().await.unwrap();
    assert!(installation.client().await.is_ok());
    assert!(host.end().await.2.success());
}

#[tokio::test]
async fn idle_bridge_exits() {
    let installation = Installation::new();
    assert_eq!(
        installation
            .run(&["bridge", "--detach", "--idle-exit", "1"])
            .await
            .code,
        Some(0)
    );
    let mut watch = installation.client().await.unwrap().watch().await.unwrap();
    watch.next().await.unwrap();
    let bridge = watched_pid(&installation).await;
    drop(watch);
    wait_for_exit(bridge).await;
}

#[tokio::test]
async fn bridge_without_free_descriptors_delays_connections() {
    const MANY: usize = 100;
    let installation = Installation::new();
    let mut bridge = limited(&installation, "ulimit -n 64");
    let mut log = BufReader::new(bridge.stderr.take().unwrap()).lines();
    wait_for_log(&mut log, "the bridge listens").await;
    let port = http_address(&installation).await;
    let mut held = Vec::new();
    for _ in 0..MANY {
        let connected = control::socket::connect(installation.home(), SocketKind::Mcp).await;
        held.push(connected.unwrap());
    }
    wait_for_log(&mut log, "no connection can be accepted for now").await;
    let mut http = TcpStream::connect(port).await.unwrap();
    wait_for_log(&mut log, "no HTTP connection can be accepted for now").await;
    drop(held);
    let request = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    http.write_all(request).await.unwrap();
    let mut response = String::new();
    let read = http.read_to_string(&mut response);
    timeout(TIMEOUT, read).await.expect("it waits").unwrap();
    assert!(response.starts_with("HTTP/1.1 4"), "{response}");
    assert_eq!(Some(pid(&installation).await), bridge.id());
    assert!(
        control::socket::connect(installation.home(), SocketKind::Mcp)
            .await
            .is_ok()
    );
    installation.quit().await;
    assert!(bridge.wait().await.unwrap().success());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bridge_raises_descriptor_limit() {
    let installation = Installation::new();
    let mut bridge = limited(&installation, "ulimit -S -n 128");
    let mut log = BufReader::new(bridge.stderr.take().unwrap()).lines();
    wait_for_log(&mut log, "the bridge listens").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", bridge.id().unwrap())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let columns: Vec<u64> = files
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    assert_eq!(columns[0], columns[1].min(65_536), "{files}");
    installation.quit().await;
}

/// Returns the address of the bridge's HTTP endpoints.
async fn http_address(installation: &Installation) -> SocketAddr {
    let mut watch = installation.client().await.unwrap().watch().await.unwrap();
    let state = watch.next().await.unwrap();
    let url = state.bridge.http.expect("the port is open");
    let address = url.trim_start_matches("http://");
    address.trim_end_matches('/').parse().unwrap()
}

/// Starts a bridge in the foreground with a shell's `ulimit`.
fn limited(installation: &Installation, ulimit: &str) -> Child {
    let mut command = Command::new("/bin/sh");
    let run = format!("{ulimit} && exec \"$0\" \"$@\"");
    command
        .args(["-c", &run])
        .arg(env!("CARGO_BIN_EXE_postern"));
    command
        .args(["bridge", "--home"])
        .arg(installation.folder());
    set_host_environment(&mut command, installation.folder());
    command.env("POSTERN_VAULT", "file");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

async fn wait_for_log(log: &mut Lines<BufReader<ChildStderr>>, words: &str) {
    let heard = async {
        while let Some(line) = log.next_line().await.unwrap() {
            if line.contains(words) {
                return;
            }
        }
        panic!("the bridge ended without logging `{words}`");
    };
    tokio::time::timeout(TIMEOUT, heard).await.unwrap();
}

async fn watched_pid(installation: &Installation) -> u32 {
    installation.state().await.bridge.pid
}

/// Waits until the process has exited.
async fn wait_for_exit(pid: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(handle) = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty())
    else {
        return;
    };
    let ended = tokio::task::spawn_blocking(move || {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let mut process = [PollFd::new(&handle, PollFlags::IN)];
        // A signal may interrupt the wait, such as SIGCHLD of another test's child.
        rustix::io::retry_on_intr(|| poll(&mut process, Some(&timeout))).unwrap()
    });
    assert_eq!(ended.await.unwrap(), 1, "process {pid} lives");
}

fn session_of(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    fields.split_whitespace().nth(3).unwrap().to_owned()
}

/// Returns the detached bridges with this folder.
fn bridges_of(installation: &Installation) -> Vec<u32> {
    let folder = installation.folder().display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let arguments =
                std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.contains("--detached") && arguments.contains(&folder)
        })
        .collect()
}
