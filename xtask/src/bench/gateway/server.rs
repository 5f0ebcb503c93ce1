//! A measured server, or its backend: started on a processor, and ended when its value is dropped.
//!
//! Owns: the process, and how much it used. Does not own: what the server is (`echo`, `proxies`), and
//! the gateway, which is part of a `Site`.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::super::process::{self, Cpu};

/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts `command`, which listens at `address`. Returns when it listens.
    pub(super) fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        let shown = command.get_args().nth(2).unwrap_or_default().to_owned();
        let shown = shown.display();
        command.stdin(Stdio::null());
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let mut server = Self { child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{shown} ended before it listened: {status}");
            }
            if begun.elapsed() > START_TIMEOUT {
                bail!("{shown} does not listen at {address}");
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(server)
    }

    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        family(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let process = self.child.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &process]).status();
            let _ = self.child.wait();
        }
    }
}

/// Returns a free port, for a server that must be told its port.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Returns a process and its children. nginx's first process only starts the others.
pub(super) fn family(process: u32) -> Result<Vec<u32>> {
    let place = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(&place).with_context(|| format!("cannot read {place}"))?;
    let children = children.split_whitespace().map(str::parse);
    let mut all = vec![process];
    all.extend(children.collect::<Result<Vec<u32>, _>>()?);
    Ok(all)
}

/// Returns the total processor time of several processes.
pub(super) fn cpu(processes: &[u32]) -> Result<Cpu> {
    Cpu::of_all(processes)
}

/// Returns the total proportional memory of several processes, in bytes.
pub(super) fn memory(processes: &[u32]) -> Result<u64> {
    let each = processes.iter().map(|id| Ok(process::memory(*id)?.share));
    each.sum()
}
