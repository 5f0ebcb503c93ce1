//! The memory that messages may take.
//!
//! A message counts from its first bytes until its last copy is dropped, in any queue or body,
//! because its bytes own their [`Reservation`]. A reader reserves memory before it reads on, and
//! waits while there is none. So a peer that sends more than is consumed is not read any more.
//!
//! Owns: the counts, and the order of waiting readers. Does not own: what is read, and which
//! connection is cut off.
//!
//! No wait is endless:
//! - In each account one reservation, and in the budget one account, may exceed the limit at a
//!   time. A message that exceeds the rest continues to grow until it is delivered. The message
//!   that exceeds an account belongs to the account that exceeds the budget, so it waits for
//!   neither.
//! - [`Account::overdue`] detects a message that is not delivered, and the host or server that
//!   delays it is cut off.

mod pool;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use pool::{Pool, Queue};

/// The limit of all messages of one direction together, in bytes. With one account that exceeds it
/// ([`MAX_ACCOUNT`] and a message of 64 MiB), that is at most 128 MiB in each direction.
const MAX_TOTAL: usize = 48 << 20;

/// The limit of the messages of one account together, in bytes. One message may exceed it.
const MAX_ACCOUNT: usize = 16 << 20;

/// The memory that each account has to itself, in bytes. An account that uses less never waits for
/// another one.
pub const FLOOR: usize = 1 << 20;

/// Messages of up to this many bytes are not counted. The queues hold a few hundred of them.
pub const MAX_UNCOUNTED: usize = 4096;

/// A reservation grows by at least this many bytes, so that not every read takes the locks.
const STEP: usize = 64 << 10;

/// How long memory may be held before its holder is cut off, if others wait.
const HOLD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long others have to wait before that.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often that is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The memory of all accounts together. Clones share it.
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

    /// Opens an account for one direction of one session.
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

    /// Waits until memory that is held since `since` is overdue: it is held for too long, and
    /// others wait for it.
    pub async fn overdue(&self, since: Instant) {
        tokio::time::sleep_until(since + HOLD_TIMEOUT).await;
        while !self.is_short() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    /// Returns true if an account has waited for some time.
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

/// The memory of one direction of one session. Clones share it.
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
    /// How much of it exceeds the [`FLOOR`] and counts in the budget.
    shared: usize,
}

impl Account {
    /// Creates an empty reservation.
    #[must_use]
    pub fn reserve(&self) -> Reservation {
        Reservation {
            id: self.0.budget.next_id(),
            account: self.clone(),
            held: 0,
            since: Instant::now(),
        }
    }

    /// Counts bytes that exist already, even if there is no room.
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

    /// Returns true if the account holds more than the [`FLOOR`].
    #[must_use]
    pub fn is_over_floor(&self) -> bool {
        self.used().shared > 0
    }

    /// Returns true if there is room for more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.used().pool.has_room()
    }

    /// Waits until there is room for more.
    pub async fn room(&self) {
        let attempt = || self.has_room().then_some(());
        self.0.queue.until(attempt).await;
    }

    /// Waits until memory that this account holds since `since` is overdue: it is held for too
    /// long, and others wait for it.
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

/// Which limit is exhausted.
enum Full {
    Account,
    Budget,
}

/// The queue in which a reservation waits, and whether it is the first one there.
#[derive(Clone, Copy)]
enum Turn {
    None,
    InAccount(bool),
    InBudget(bool),
}

/// The memory of one message. Dropping it returns the memory.
#[derive(Debug)]
pub struct Reservation {
    id: u64,
    account: Account,
    held: usize,
    since: Instant,
}

impl Reservation {
    /// Grows the reservation to a message of this many bytes, and waits until there is room. If the
    /// wait is cancelled, the reservation keeps what it holds.
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
        // A reservation waits in one queue at a time.
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

    /// Binds the reservation to the bytes until their last copy is dropped. Returns memory that
    /// they do not need.
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

    /// Waits until this reservation is overdue: it is held for too long, and others wait for it.
    /// Never returns while it is empty.
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
            // It has already had its turn in the account's queue.
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

/// Bytes, and the memory that they take.
struct Owned {
    bytes: Bytes,
    _reservation: Reservation,
}

impl Drop for Owned {
    /// Runs as blocking work, because the system takes long to release the pages of a large
    /// message.
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
