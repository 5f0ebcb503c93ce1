//! Linux: the inode of a connection's socket is among the descriptors of its process in `/proc`. A
//! pidfd (`pidfd_open(2)`) identifies exactly that process, and becomes readable when it has ended.

#![expect(
    unsafe_code,
    reason = "the runtime cannot tell that a descriptor stays open while it is registered"
)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::system;

#[derive(Debug)]
pub(super) struct Process(AsyncFd<OwnedFd>);

impl Process {
    pub(super) fn with_id(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(pid.cast_signed())?;
        let handle = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        // SAFETY: the handle owns its descriptor, which stays open for as long as it is registered.
        let registered = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) };
        registered.ok().map(Self)
    }

    pub(super) async fn ended(&self) {
        // This fails only if the runtime shuts down.
        let _ = self.0.readable().await;
    }
}

/// Returns the processes that have the ends `peer` of these connections. Searches the `likely` ones
/// first, then the youngest, so that short-lived processes are found before they end. If a child has
/// inherited a connection, returns its parent.
pub(super) fn process_ids(
    connections: &[(SocketAddr, SocketAddr)],
    likely: &[u32],
) -> Vec<Option<u32>> {
    let inodes = connections.iter();
    let inodes: Vec<_> = inodes
        .map(|(peer, here)| system::inode(*peer, *here))
        .collect();
    let mut wanted: HashSet<u32> = inodes.iter().flatten().copied().collect();
    let mut holders = HashMap::new();
    let mut search = |pid: u32| {
        if !wanted.is_empty() {
            for inode in sockets(pid).filter(|inode| wanted.remove(inode)) {
                holders.insert(inode, pid);
            }
        }
        wanted.is_empty()
    };
    if !likely.iter().any(|pid| search(*pid)) {
        let _ = processes().into_iter().any(search);
    }
    let opener = |inode: u32| {
        let holding_parent = |pid: &u32| {
            let parent = parent(*pid)?;
            sockets(parent).any(|held| held == inode).then_some(parent)
        };
        std::iter::successors(holders.get(&inode).copied(), holding_parent).last()
    };
    inodes.into_iter().map(|inode| opener(inode?)).collect()
}

/// Returns all processes in the descending order of their IDs, so that most often the youngest is first.
fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut processes: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    processes.sort_unstable_by(|one, other| other.cmp(one));
    processes
}

/// Returns the inodes of the sockets of a process. Returns none for processes of other users.
fn sockets(pid: u32) -> impl Iterator<Item = u32> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter();
    descriptors.flatten().flatten().filter_map(|descriptor| {
        let target = fs::read_link(descriptor.path()).ok()?;
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        inode.parse().ok()
    })
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok()
}
