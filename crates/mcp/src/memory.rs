//! How much memory messages may take.
//!
//! A message counts from its first bytes until its last copy is dropped, in whatever queue or body
//! that is: its bytes own their [`Reservation`]. A reader reserves before it reads on, and waits
//! where there is no room. So a peer that sends more than is taken meets a connection that is not
//! read.
//!
//! Owns: the counts, and the order of those that wait. Does not own: what is read, and which
//! connection is cut off.
//!
//! Nothing waits for ever:
//! - Of the reservations of an account, and of the accounts of a budget, one at a time may exceed the
//!   limit. A message that is longer than what is left goes on growing, until it is delivered. The
//!   one that exceeds an account belongs to whichever account exceeds the budget, so it waits for
//!   neither.
//! - What is not delivered is found by [`Account::outstayed`], and the host or server that holds it up is cut off.

mod pool;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use pool::{Pool, Queue};

/// What all messages of one direction may take together, in bytes. With one account that exceeds it
/// ([`MAX_ACCOUNT`] and a message of 64 MiB), that is 128 MiB at most, in each direction.
const MAX_TOTAL: usize = 48 << 20;

/// What the messages of one account may take together, in bytes. One message more may exceed it.
const MAX_ACCOUNT: usize = 16 << 20;

/// What each account has to itself, in bytes: it never waits for another one with less.
pub const FLOOR: usize = 1 << 20;

/// Messages of at most so many bytes are not counted. The queues hold a few hundred of them.
pub const MAX_UNCOUNTED: usize = 4096;

/// A reservation grows by so many bytes at least, so that not every read counts.
const STEP: usize = 64 << 10;

/// How long memory may be held and not freed before the one that holds it is cut, if others wait.
const HOLD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long others have to wait before that.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often that is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What the messages of all accounts may take together. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<BudgetState>);

#[derive(Debug)]
struct BudgetState {
    pool: Mutex<Pool>,
    queue: Queue,
    /// The next id of an account or a reservation.
    next: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::with_limit(MAX_TOTAL)
    }
}

impl Budget {
    fn with_limit(limit: usize) -> Self {
        Self(Arc::new(BudgetState {
            pool: Mutex::new(Pool::new(limit)),
            queue: Queue::default(),
            next: AtomicU64::new(0),
        }))
    }

    /// Opens an account, for one direction of one session.
    #[must_use]
    pub fn account(&self) -> Account {
        self.account_with_limit(MAX_ACCOUNT)
    }

    fn account_with_limit(&self, limit: usize) -> Account {
        Account(Arc::new(AccountState {
            id: self.next_id(),
            used: Mutex::new(Used {
                pool: Pool::new(limit),
                shared: 0,
            }),
            queue: Queue::default(),
            budget: self.clone(),
        }))
    }

    /// Waits until what is held since `since` has been held for too long and others wait for it.
    pub async fn overdue(&self, since: Instant) {
        tokio::time::sleep_until(since + HOLD_TIMEOUT).await;
        while !self.is_short() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    /// Returns whether an account has waited for a while.
    fn is_short(&self) -> bool {
        self.0.queue.waits_for(WAIT_TIMEOUT)
    }

    fn next_id(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The messages of one direction of one session. Clones share it.
#[derive(Clone, Debug)]
pub struct Account(Arc<AccountState>);

#[derive(Debug)]
struct AccountState {
    id: u64,
    used: Mutex<Used>,
    queue: Queue,
    budget: Budget,
}

#[derive(Debug)]
struct Used {
    pool: Pool,
    /// How much of it is over the [`FLOOR`], and counts in the budget.
    shared: usize,
}

impl Account {
    /// Begins a reservation, which holds nothing yet.
    #[must_use]
    pub fn reserve(&self) -> Reservation {
        Reservation {
            id: self.0.budget.next_id(),
            account: self.clone(),
            held: 0,
            since: Instant::now(),
        }
    }

    /// Counts bytes that are there already, whether there is room or not.
    #[must_use]
    pub fn count(&self, bytes: Bytes) -> Bytes {
        let mut reservation = self.reserve();
        if bytes.len() > MAX_UNCOUNTED {
            let mut used = self.used();
            let shared = used.shared_with(bytes.len());
            used.pool.force(reservation.id, bytes.len());
            let mut pool = self.0.budget.pool();
            pool.force(self.0.id, shared - used.shared);
            drop(pool);
            used.shared = shared;
            drop(used);
            reservation.held = bytes.len();
        }
        reservation.own(bytes)
    }

    /// Returns whether it holds more than the [`FLOOR`].
    #[must_use]
    pub fn is_over_floor(&self) -> bool {
        self.used().shared > 0
    }

    /// Returns whether there is room for more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.used().pool.has_room()
    }

    /// Waits until there is room for more.
    pub async fn room(&self) {
        let attempt = || self.has_room().then_some(());
        self.0.queue.until(attempt).await;
    }

    /// Waits until this account, which holds memory since `since`, has held it for too long and
    /// others wait for it.
    pub async fn overdue(&self, since: Instant) {
        loop {
            self.0.budget.overdue(since).await;
            if self.is_over_floor() {
                return;
            }
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn shared_with(&self, more: usize) -> usize {
        (self.pool.total() + more).saturating_sub(FLOOR)
    }
}

/// Where there is no room.
enum Full {
    Account,
    Budget,
}

/// Where a reservation waits already, and whether it is the first one there.
#[derive(Clone, Copy)]
enum Turn {
    None,
    InAccount(bool),
    InBudget(bool),
}

/// Memory that one message takes. It is given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    id: u64,
    account: Account,
    held: usize,
    since: Instant,
}

impl Reservation {
    /// Reserves memory for a message of so many bytes, if it does not hold that much, and waits
    /// until there is room. What is held stays held if the waiting is given up.
    pub async fn grow(&mut self, length: usize) {
        if length <= self.held || length <= MAX_UNCOUNTED {
            return;
        }
        let more = match length {
            ..STEP => length - self.held,
            STEP.. => (length - self.held).max(STEP),
        };
        let account = Arc::clone(&self.account.0);
        let mut taken = self.take(more, Turn::None);
        // One queue is left before the other one is entered.
        while let Err(full) = taken {
            taken = match full {
                Full::Account => {
                    let ticket = account.queue.enter();
                    let attempt = || match self.take(more, Turn::InAccount(ticket.is_first())) {
                        Err(Full::Account) => None,
                        taken => Some(taken),
                    };
                    account.queue.until(attempt).await
                }
                Full::Budget => {
                    let queue = &account.budget.0.queue;
                    let ticket = queue.enter();
                    let attempt = || match self.take(more, Turn::InBudget(ticket.is_first())) {
                        Err(Full::Budget) => None,
                        taken => Some(taken),
                    };
                    queue.until(attempt).await
                }
            };
        }
    }

    /// Makes bytes that count until their last copy is dropped. Gives back what they do not take.
    #[must_use]
    pub fn own(mut self, bytes: Bytes) -> Bytes {
        match self.held {
            0 => bytes,
            held => {
                self.give(held.saturating_sub(bytes.len()));
                Bytes::from_owner(Owned {
                    bytes,
                    _reservation: self,
                })
            }
        }
    }

    /// Waits until this has been held for too long and others wait for it; for ever while it holds
    /// nothing.
    pub async fn overdue(&self) {
        match self.held {
            0 => std::future::pending().await,
            _ => self.account.overdue(self.since).await,
        }
    }

    fn take(&mut self, more: usize, turn: Turn) -> Result<(), Full> {
        let own = &self.account.0;
        let is_new = self.held == 0;
        let mut used = self.account.used();
        let is_next = match turn {
            Turn::None => own.queue.is_empty(),
            Turn::InAccount(is_first) => is_first,
            // It had its turn.
            Turn::InBudget(_) => true,
        };
        if !used.pool.admits(self.id, more, false, is_next) {
            return Err(Full::Account);
        }
        let shared = used.shared_with(more);
        let shared_more = shared - used.shared;
        if shared_more > 0 {
            let total = &own.budget.0;
            let is_next = match turn {
                Turn::None | Turn::InAccount(_) => total.queue.is_empty(),
                Turn::InBudget(is_first) => is_first,
            };
            let mut pool = own.budget.pool();
            if !pool.admits(own.id, shared_more, is_new, is_next) {
                return Err(Full::Budget);
            }
            let exceeds = pool.take(own.id, used.shared, shared_more);
            drop(pool);
            if exceeds {
                total.queue.wake();
            }
        }
        used.pool.take(self.id, self.held, more);
        used.shared = shared;
        drop(used);
        if is_new {
            self.since = Instant::now();
        }
        self.held += more;
        Ok(())
    }

    fn give(&mut self, less: usize) {
        if less == 0 {
            return;
        }
        self.held -= less;
        let own = &self.account.0;
        let mut used = self.account.used();
        used.pool.give(self.id, less);
        let shared = used.shared_with(0);
        let freed = used.shared - shared;
        used.shared = shared;
        if freed > 0 {
            own.budget.pool().give(own.id, freed);
            own.budget.0.queue.wake();
        }
        drop(used);
        own.queue.wake();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give(self.held);
    }
}

/// Bytes and what they take.
struct Owned {
    bytes: Bytes,
    _reservation: Reservation,
}

impl Drop for Owned {
    /// Other tasks go on while the system takes back the pages of a large message.
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.len() > threads::MAX_PASS {
            threads::blocking(|| drop(bytes));
        }
    }
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;
