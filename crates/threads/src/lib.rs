//! On which thread work is done that blocks or takes long.
//!
//! Owns: keeping such work from the tasks that share the runtime. The bridge relays the messages of
//! all sessions on one worker thread. Does not own: the work.

pub mod connecting;
mod turns;

use std::cell::Cell;
use std::panic;
use std::sync::{Mutex, PoisonError};
use std::thread::LocalKey;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{self, JoinError};

pub use turns::{Portioned, Turns};

/// How many bytes one pass over a text may read where other tasks wait for it: a pass over as many
/// takes a few milliseconds at most.
pub const MAX_PASS: usize = 1 << 20;

/// Does work that blocks. The other tasks of a multi-thread runtime go on meanwhile on another
/// thread; what is polled in the same task waits. On any other runtime, and on none, everything
/// waits.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => task::block_in_place(work),
        Ok(_) | Err(_) => work(),
    }
}

/// Does work that reads `bytes` bytes: as [`blocking`] does if there are more than [`MAX_PASS`]. One
/// thread at a time does such work: several would leave the relay too little of the processors.
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

/// Ends a pass, also if the work panics.
struct Reset(&'static LocalKey<Cell<bool>>);

impl Drop for Reset {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Does work on a thread for work that blocks, on any runtime. It is done to its end even if the
/// future is dropped.
///
/// # Panics
///
/// If the work does.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    join(task::spawn_blocking(work)).await
}

async fn join<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    match task.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime shuts down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::Builder;

    use super::{MAX_PASS, aside, blocking, pass};

    /// Waits in `wait`, on a runtime with one worker, until another task of the runtime has run.
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
        assert_eq!(runtime.block_on(aside(|| 3)), 3);
    }
}
