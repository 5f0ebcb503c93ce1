//! The processes of hosts over HTTP.
//!
//! Owns: which process opened a connection, and one descriptor per process, however many sessions
//! it has. Does not own: what follows from the end of a process
//! ([`Presence`](crate::session_registry::Presence)).
//!
//! Searching all processes takes milliseconds, and dozens of hosts may connect at once. So one
//! thread runs all lookups that arrive meanwhile.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use control::peer::{self, Process};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::access::Opener;

/// The processes of sessions, by their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<HashMap<u32, Weak<Process>>>,
    lookups: Mutex<Lookups>,
}

/// Lookups that wait for their result.
#[derive(Debug, Default)]
struct Lookups {
    /// Whether a thread runs lookups.
    is_running: bool,
    waiting: Vec<Lookup>,
}

#[derive(Debug)]
struct Lookup {
    /// The remote and the local address of the connection.
    ends: (SocketAddr, SocketAddr),
    answer: oneshot::Sender<Option<u32>>,
}

impl Processes {
    /// Returns the process that opened a connection. Returns `None` if the system does not tell.
    pub(super) async fn find(&self, opener: Opener) -> Option<Arc<Process>> {
        let pid = match opener {
            Opener::Process(pid) => pid?,
            Opener::Ends { peer, here } => self.look_up((peer, here)).await?,
        };
        self.with_id(pid)
    }

    async fn look_up(&self, ends: (SocketAddr, SocketAddr)) -> Option<u32> {
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut lookups = self.0.lookups();
            lookups.waiting.push(Lookup { ends, answer });
            !std::mem::replace(&mut lookups.is_running, true)
        };
        if begins {
            let shared = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || shared.run_lookups());
        }
        answered.await.ok()?
    }

    fn with_id(&self, pid: u32) -> Option<Arc<Process>> {
        let mut known = self.0.known();
        known.retain(|_, process| process.strong_count() > 0);
        let found = known.get(&pid).and_then(Weak::upgrade);
        // The id may have belonged to a process that has ended.
        if let Some(process) = found.filter(|process| process.ended().now_or_never().is_none()) {
            return Some(process);
        }
        let process = Arc::new(Process::with_id(pid)?);
        known.insert(pid, Arc::downgrade(&process));
        Some(process)
    }
}

impl Shared {
    /// Runs lookups until there are none.
    fn run_lookups(&self) {
        loop {
            let asked = {
                let mut lookups = self.lookups();
                lookups.is_running = !lookups.waiting.is_empty();
                std::mem::take(&mut lookups.waiting)
            };
            if asked.is_empty() {
                return;
            }
            let ends: Vec<_> = asked.iter().map(|lookup| lookup.ends).collect();
            let likely: Vec<_> = self.known().keys().copied().collect();
            let found = peer::process_ids(&ends, &likely);
            for (lookup, pid) in asked.into_iter().zip(found) {
                // The session may have ended.
                let _ = lookup.answer.send(pid);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u32, Weak<Process>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lookups(&self) -> MutexGuard<'_, Lookups> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::{Opener, Processes};

    const THREAD_NAME: &str = "looks";

    #[test]
    fn processes_of_many_connections_are_found_by_one_thread() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime
            .thread_name(THREAD_NAME)
            .enable_all()
            .build()
            .unwrap();
        assert_eq!(runtime.block_on(look_for_many()), 1);
    }

    /// Returns how many threads of the runtime have run lookups.
    async fn look_for_many() -> usize {
        let processes = Processes::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = listener.local_addr().expect("an address");
        let mut asking = JoinSet::new();
        let mut open = Vec::new();
        for _ in 0..50 {
            let client = TcpStream::connect(here).expect("a connection");
            let (accepted, peer) = listener.accept().expect("a connection");
            open.push((client, accepted));
            let processes = processes.clone();
            asking.spawn(async move { processes.find(Opener::Ends { peer, here }).await });
        }
        while let Some(found) = asking.join_next().await {
            assert!(found.expect("an answer").is_some());
        }
        let threads = std::fs::read_dir("/proc/self/task").expect("threads");
        let names = threads.map(|thread| {
            let name = thread.expect("a thread").path().join("comm");
            // Threads of other tests start and end.
            std::fs::read_to_string(name).unwrap_or_default()
        });
        names.filter(|name| name.trim() == THREAD_NAME).count()
    }

    #[tokio::test]
    async fn sessions_of_one_process_share_it_until_it_ends() {
        let processes = Processes::default();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let first = processes.with_id(child.id()).unwrap();
        let second = processes.with_id(child.id()).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop(child.stdin.take());
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), first.ended());
        ended.await.expect("it ends with its input");
        // It exists until its parent reaps it, and another process could have its id soon.
        let next = processes.with_id(child.id());
        assert!(next.is_none_or(|next| !Arc::ptr_eq(&first, &next)));
        child.wait().unwrap();
    }
}
