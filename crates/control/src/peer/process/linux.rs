//! Linux: the socket of a connection has an inode, which is among the descriptors of its process in
//! `/proc`; a pidfd (`pidfd_open(2)`) stands for that process alone, and can be read once it ended.

#![expect(
    unsafe_code,
    reason = "the runtime cannot tell that a descriptor stays open while it is registered"
)]

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

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
        // That fails only where the runtime ends.
        let _ = self.0.readable().await;
    }
}

/// Returns the process that has the end `peer` of the connection. The youngest is looked at first:
/// one that ends soon is found before it does. Of a child that inherited it, that is the parent.
pub(super) fn id(peer: SocketAddr, here: SocketAddr) -> Option<u32> {
    let inode = system::inode(peer, here)?;
    let link = PathBuf::from(format!("socket:[{inode}]"));
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut processes: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    processes.sort_unstable_by(|one, other| other.cmp(one));
    let holder = processes.into_iter().find(|pid| holds(*pid, &link))?;
    let holding_parent = |pid: &u32| parent(*pid).filter(|parent| holds(*parent, &link));
    std::iter::successors(Some(holder), holding_parent).last()
}

/// Whether the process has a descriptor that leads to `link`. Those of other users do not tell.
fn holds(pid: u32, link: &Path) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == link))
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok()
}
