//! Running work that blocks or takes long.
//!
//! Owns: keeping such work from delaying other tasks of the runtime. The bridge relays the messages
//! of all sessions on one worker thread. Does not own: the work.

pub mod connecting;
mod turns;

use std::cell::Cell;
use std::panic;
use std::sync::{Mutex, PoisonError};
use std::thread::LocalKey;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{self, JoinError};

pub use turns::{Portioned, Turns};

/// How many bytes one pass over a text may read while other tasks wait. Such a pass takes a few
/// milliseconds at most.
pub const MAX_PASS: usize = 1 << 20;

/// Runs blocking work. In a multi-thread runtime, other tasks continue on another thread, but
/// futures of the same task wait. In any other runtime, and outside a runtime, all tasks wait.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => task::block_in_place(work),
        Ok(_) | Err(_) => work(),
    }
}

/// Runs work that reads `bytes` bytes, as [`blocking`] does if they exceed [`MAX_PASS`]. Only one
/// thread at a time runs such work, because several would leave the relay too little processor
/// time.
pub fn pass<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    static PASS: Mutex<()> = Mutex::new(());
    thread_local!(static IS_PASSING: Cell<bool> = const { Cell::new(false) });
    if bytes <= MAX_PASS || IS_PASSING.get() {
        return work();
    }
    blocking(|| {
        let _only = PASS.lock().unwrap_or_else(PoisonError::into_inner);
        IS_PASSING.set(true);
        let _end = Reset(&IS_PASSING);
        work()
    })
}

/// Ends a pass, even if the work panics.
struct Reset(&'static LocalKey<Cell<bool>>);

impl Drop for Reset {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Runs work on a thread for blocking work, in any runtime. The work completes even if the future
/// is dropped.
///
/// # Panics
///
/// If the work panics.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    join(task::spawn_blocking(work)).await
}

async fn join<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    match task.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::Builder;

    use super::{MAX_PASS, blocking, pass, run_blocking};

    /// Runs `wait` in a runtime with one worker until another task of the runtime has run.
    pub(crate) fn is_passed_by(
        wait: impl FnOnce(mpsc::Receiver<()>) -> bool + Send + 'static,
    ) -> bool {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let waiting = tokio::spawn(async move {
                let (tell, told) = mpsc::channel();
                tokio::spawn(async move { tell.send(()) });
                wait(told)
            });
            waiting.await.unwrap()
        })
    }

    pub(crate) fn hears(told: &mpsc::Receiver<()>) -> bool {
        told.recv_timeout(Duration::from_secs(10)).is_ok()
    }

    #[test]
    fn blocking_work_lets_other_tasks_of_one_worker_run() {
        assert!(is_passed_by(|told| blocking(|| hears(&told))));
        assert!(is_passed_by(|told| pass(MAX_PASS + 1, || hears(&told))));
    }

    #[test]
    fn work_runs_without_multi_thread_runtime() {
        assert_eq!(blocking(|| 1), 1);
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { pass(MAX_PASS + 1, || 2) }), 2);
        assert_eq!(runtime.block_on(run_blocking(|| 3)), 3);
    }
}
