//! A memory limit, and the queue of readers that wait for room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The bytes that all users hold together. One user at a time may exceed the limit, and is counted
/// separately.
#[derive(Debug)]
pub(super) struct Pool {
    limit: usize,
    used: usize,
    excess: Option<Excess>,
}

/// The user that exceeds the limit. Its bytes do not count for the others.
#[derive(Debug)]
struct Excess {
    id: u64,
    used: usize,
}

impl Pool {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            excess: None,
        }
    }

    /// Returns the bytes of all users together.
    pub(super) fn total(&self) -> usize {
        self.used + self.excess.as_ref().map_or(0, |excess| excess.used)
    }

    /// Returns true if all users together hold less than the limit.
    pub(super) fn has_room(&self) -> bool {
        self.total() < self.limit
    }

    /// Returns true if `id` may hold more. `is_new` means that nothing of the message was read yet,
    /// so that it can wait. `is_next` means that no other user waits before it.
    pub(super) fn admits(&self, id: u64, more: usize, is_new: bool, is_next: bool) -> bool {
        match &self.excess {
            Some(excess) if excess.id == id => !is_new || is_next,
            None => is_next,
            Some(_) => is_next && self.used + more <= self.limit,
        }
    }

    /// Adds bytes of `id`, which holds `held` already and [was admitted](Self::admits). Returns
    /// true if `id` now exceeds the limit, in which case other reservations of it may grow as well.
    pub(super) fn take(&mut self, id: u64, held: usize, more: usize) -> bool {
        match &mut self.excess {
            Some(excess) if excess.id == id => excess.used += more,
            None if self.used + more > self.limit => {
                self.used -= held;
                let used = held + more;
                self.excess = Some(Excess { id, used });
                return true;
            }
            None | Some(_) => self.used += more,
        }
        false
    }

    /// Counts bytes of `id` that exist already.
    pub(super) fn force(&mut self, id: u64, more: usize) {
        match &mut self.excess {
            Some(excess) if excess.id == id => excess.used += more,
            None | Some(_) => self.used += more,
        }
    }

    /// Removes bytes of `id`.
    pub(super) fn give(&mut self, id: u64, less: usize) {
        match &mut self.excess {
            Some(excess) if excess.id == id => excess.used -= less,
            None | Some(_) => self.used -= less,
        }
        let total = self.total();
        let is_over = |excess: &mut Excess| excess.used == 0 || total <= self.limit;
        if let Some(excess) = self.excess.take_if(is_over) {
            self.used += excess.used;
        }
    }
}

/// The waiting readers, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The number of waiting readers, readable without the lock.
    waiting: AtomicUsize,
    line: Mutex<Line>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Line {
    tickets: VecDeque<u64>,
    next: u64,
    /// Since when the first one has been the first.
    since: Option<Instant>,
}

/// A place in the queue, until it is dropped.
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    ticket: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Enters the queue at the end.
    pub(super) fn enter(&self) -> Ticket<'_> {
        let mut line = self.line();
        let ticket = line.next;
        line.next += 1;
        if line.tickets.is_empty() {
            line.since = Some(Instant::now());
        }
        line.tickets.push_back(ticket);
        self.waiting.store(line.tickets.len(), Ordering::Release);
        Ticket {
            queue: self,
            ticket,
        }
    }

    /// Waits until `attempt` returns a value. Calls it at once, and after every change.
    pub(super) async fn until<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = attempt() {
                return found;
            }
            changed.await;
        }
    }

    /// Makes all waiting readers try again.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Returns true if the first one has been the first for at least `time`.
    pub(super) fn waits_for(&self, time: Duration) -> bool {
        let since = self.line().since;
        since.is_some_and(|since| since.elapsed() >= time)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    pub(super) fn is_first(&self) -> bool {
        self.queue.line().tickets.front() == Some(&self.ticket)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        let is_first = line.tickets.front() == Some(&self.ticket);
        line.tickets.retain(|ticket| *ticket != self.ticket);
        if is_first {
            line.since = (!line.tickets.is_empty()).then(Instant::now);
        }
        self.queue
            .waiting
            .store(line.tickets.len(), Ordering::Release);
        drop(line);
        self.queue.wake();
    }
}
