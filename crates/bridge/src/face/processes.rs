//! The processes of hosts that speak HTTP.
//!
//! Owns: one descriptor for each process, however many sessions it has opened. Does not own: what
//! follows from the end of a process ([`Presence`](crate::hub::Presence)).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use control::peer::Process;
use futures_util::FutureExt;

use super::door::Opener;

/// The processes that sessions know, by their ids.
#[derive(Debug, Default)]
pub(super) struct Processes(Mutex<HashMap<u32, Weak<Process>>>);

impl Processes {
    /// Returns the process that opened a connection, or `None` if the system does not tell.
    pub(super) async fn of(&self, opener: Opener) -> Option<Arc<Process>> {
        self.with_id(opener.process_id().await?)
    }

    fn with_id(&self, pid: u32) -> Option<Arc<Process>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, process| process.strong_count() > 0);
        let found = known.get(&pid).and_then(Weak::upgrade);
        // One that has ended had this id before.
        if let Some(process) = found.filter(|process| process.ended().now_or_never().is_none()) {
            return Some(process);
        }
        let process = Arc::new(Process::with_id(pid)?);
        known.insert(pid, Arc::downgrade(&process));
        Some(process)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use super::Processes;

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
        // It is still there for its parent, and another one could have its id soon.
        let next = processes.with_id(child.id());
        assert!(next.is_none_or(|next| !Arc::ptr_eq(&first, &next)));
        child.wait().unwrap();
    }
}
