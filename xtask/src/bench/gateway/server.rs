//! A server that is measured, or that stands behind one: started on a processor, known by its
//! processes, ended with its value.
//!
//! Owns: the process and what it used. Does not own: what the server is (`echo`, `proxies`), nor the
//! gateway, which is part of a `Site`.

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
    /// Starts `command`, which listens at `address`; returns when it does.
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

/// A port that is free, for a server that has to be told one.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A process and its children, as of nginx, whose first one only starts the others.
pub(super) fn family(process: u32) -> Result<Vec<u32>> {
    let place = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(&place).with_context(|| format!("cannot read {place}"))?;
    let children = children.split_whitespace().map(str::parse);
    let mut all = vec![process];
    all.extend(children.collect::<Result<Vec<u32>, _>>()?);
    Ok(all)
}

/// The processor time of several processes together.
pub(super) fn cpu(processes: &[u32]) -> Result<Cpu> {
    Cpu::of_all(processes)
}

/// The proportional share of several processes together, in bytes.
pub(super) fn memory(processes: &[u32]) -> Result<u64> {
    let each = processes.iter().map(|id| Ok(process::memory(*id)?.share));
    each.sum()
}
