//! One limit, and those who wait for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How many bytes all users together use. One user at a time may exceed the limit, and is counted
/// separately.
#[derive(Debug)]
pub(super) struct Pool {
    limit: usize,
    used: usize,
    excess: Option<Excess>,
}

/// The one who exceeds the limit. What it uses does not count for the others.
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

    /// What all use together.
    pub(super) fn total(&self) -> usize {
        self.used + self.excess.as_ref().map_or(0, |excess| excess.used)
    }

    /// Returns whether all together use less than the limit.
    pub(super) fn has_room(&self) -> bool {
        self.total() < self.limit
    }

    /// Returns whether `id` may use more. `is_new`, where it can as well wait: nothing of this
    /// message was read. `is_next`, where no other waits before it.
    pub(super) fn admits(&self, id: u64, more: usize, is_new: bool, is_next: bool) -> bool {
        match &self.excess {
            Some(excess) if excess.id == id => !is_new || is_next,
            None => is_next,
            Some(_) => is_next && self.used + more <= self.limit,
        }
    }

    /// Lets `id`, which uses `held` already, use more. It [was admitted](Self::admits). Returns whether
    /// it exceeds the limit from now on: others of its own may then use more, too.
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

    /// Counts what `id` uses already.
    pub(super) fn force(&mut self, id: u64, more: usize) {
        match &mut self.excess {
            Some(excess) if excess.id == id => excess.used += more,
            None | Some(_) => self.used += more,
        }
    }

    /// Takes back what `id` used.
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

/// Those who wait for room, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many there are, for those who need not know more.
    waiting: AtomicUsize,
    line: Mutex<Line>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Line {
    tickets: VecDeque<u64>,
    next: u64,
    /// Since when the first one is the first.
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

    /// Takes the last place.
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

    /// Waits until `look` has a result. It is asked at once, and after every change.
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

    /// Lets all who wait look again.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Returns whether the first one has been that for as long as `time`.
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
