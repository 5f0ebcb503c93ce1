//! The connection, its thread and its schema.

use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How many jobs may be queued. Beyond that, callers wait.
const QUEUE: usize = 256;

/// How long a call may be queued.
const DEADLINE: Duration = Duration::from_secs(5);

/// The interval at which a start checks whether the database is free.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The store does not respond. The caller has to retry later, and gets no access.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database returned an error.
    #[error("the database failed: {0}")]
    Failed(String),
    /// The call did not begin within [`DEADLINE`], and never will.
    #[error("the database was busy for {} seconds", DEADLINE.as_secs())]
    Busy,
    /// Its thread has ended.
    #[error("the database is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the database's thread.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens or creates the database at `path`. If another gateway has it, waits up to `patience` for
    /// its release. Returns `None` if `shutdown` is cancelled meanwhile.
    pub(crate) async fn open_when_free(
        path: &Path,
        patience: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let until = Instant::now() + patience;
        let mut lock = try_lock(path)?;
        if lock.is_none() {
            tracing::info!(
                database = %path.display(),
                "another gateway uses the database; waiting up to {} seconds until it has ended",
                patience.as_secs()
            );
        }
        while lock.is_none() && Instant::now() < until {
            tokio::select! {
                () = tokio::time::sleep(LOCK_INTERVAL) => lock = try_lock(path)?,
                () = shutdown.cancelled() => return Ok(None),
            }
        }
        Self::open_locked(path, lock).map(Some)
    }

    /// Opens or creates the database at `path`.
    #[cfg(test)]
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::open_locked(path, try_lock(path)?)
    }

    fn open_locked(path: &Path, lock: Option<File>) -> anyhow::Result<Self> {
        let lock = lock.with_context(|| {
            format!(
                "another gateway uses the database {}; hint: stop it first, or give this one another \
                 data folder",
                path.display()
            )
        })?;
        let hint = || format!("cannot open the database {}", path.display());
        open_private(path).with_context(hint)?;
        let mut connection = Connection::open(path).with_context(hint)?;
        prepare(&mut connection).with_context(hint)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("gateway-store".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
                drop((connection, lock));
            })?;
        Ok(Self { jobs })
    }

    /// Runs `job` as one transaction, if it begins within [`DEADLINE`]. A job that has begun
    /// completes, even if its caller is gone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        // Claimed by the job when it begins, or by the caller when it gives up.
        let claim = Arc::new(AtomicBool::new(false));
        let own_claim = Arc::clone(&claim);
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !own_claim.swap(true, Ordering::AcqRel) {
                let _ = answer.send(transact(connection, job));
            }
        });
        let mut asked = pin!(self.ask(job, answered));
        match timeout(DEADLINE, asked.as_mut()).await {
            Ok(answer) => answer,
            Err(_) if claim.swap(true, Ordering::AcqRel) => asked.await,
            Err(_) => Err(StoreError::Busy),
        }
    }

    /// Runs `job` as one transaction, without a deadline, because a revocation must never be lost.
    pub(super) async fn run_without_deadline<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let _ = answer.send(transact(connection, job));
        });
        self.ask(job, answered).await
    }

    async fn ask<T>(
        &self,
        job: Job,
        answered: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns true if its thread runs. Does not wait for it.
    pub(crate) fn is_open(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Checks that the store responds.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.run(|tx| tx.query_row("SELECT EXISTS (SELECT 1 FROM sessions)", [], |_| Ok(())))
            .await
    }
}

/// Returns the number of rows of a table that has a limit.
pub(super) fn row_count(tx: &Transaction<'_>, table: &str) -> rusqlite::Result<u64> {
    let mut count = tx.prepare_cached("SELECT number FROM row_counts WHERE name = ?1")?;
    count.query_row([table], |row| row.get(0))
}

/// Runs a job as one transaction. If it fails or panics, the transaction is rolled back, and the next
/// job can run.
fn transact<T>(
    connection: &mut Connection,
    job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let run = || {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = job(&tx)?;
        tx.commit()?;
        Ok(value)
    };
    let done: std::thread::Result<rusqlite::Result<T>> = catch_unwind(AssertUnwindSafe(run));
    match done {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::Failed("a defect stopped the call".to_owned())),
    }
}

/// Locks the database at `path` for this process, until the file is closed. Returns `None` if another
/// process has the lock. Two gateways would each keep sessions in memory that the other one has ended.
fn try_lock(path: &Path) -> anyhow::Result<Option<File>> {
    let lock = path.with_extension("lock");
    let file = open_private(&lock).with_context(|| format!("cannot open {}", lock.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", lock.display()))
        }
    }
}

/// Opens or creates a file that only its owner can access. SQLite gives its side files the mode of the
/// database.
fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = files::private_options();
    // Windows cannot lock a file that is opened only for appending.
    options.read(true).append(true).create(true).open(path)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A redeemed code or a revoked session must not return after a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    // Another process must not read the version before this one has written it.
    let tx = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let version: u32 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (number, step) in (1..).zip(SCHEMA) {
        if version < number {
            tx.execute_batch(step)?;
            tx.pragma_update(None, "user_version", number)?;
        }
    }
    tx.commit()
}

/// The migrations from an empty database to the current schema. A released migration never changes.
const SCHEMA: [&str; 5] = [
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
    include_str!("schema-5.sql"),
];

#[cfg(test)]
mod tests {
    use super::super::{clients, sessions};
    use super::*;
    use crate::storage::Client;

    const MANY: u64 = 20_000;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        (folder, store)
    }

    /// Adds `MANY` sessions of one client, each with a spent refresh token, and the maximum number of
    /// unused clients.
    async fn fill(store: &Store) {
        let fill = |tx: &Transaction<'_>| {
            tx.execute_batch(&format!(
                "INSERT INTO people VALUES ('person', '{{}}');
                 INSERT INTO clients (id, redirect_uris, registered_at, used_at, seen_at)
                     VALUES ('used', '[]', 0, 1000, 1000);
                 INSERT INTO consents VALUES
                     ('consent', 'person', 'used', 'r', 'snippets', '', 0, 1000);
                 CREATE TEMP TABLE numbers AS
                     WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n)
                     SELECT i FROM n LIMIT {MANY};
                 INSERT INTO sessions
                     SELECT 's' || i, 'consent', 'person', 'used', 'snippets', '', 'x', 0, 1000, 0
                     FROM numbers;
                 INSERT INTO refresh_tokens
                     SELECT CAST('t' || i AS BLOB), 's' || i, 'used', 1000, 100, x'00', 'sealed'
                     FROM numbers;
                 INSERT INTO clients (id, redirect_uris, registered_at)
                     SELECT 'c' || i, '[]', 0 FROM numbers LIMIT 10000;"
            ))
        };
        store.run(fill).await.unwrap();
    }

    async fn count(store: &Store, of: &'static str) -> u64 {
        let count = move |tx: &Transaction<'_>| {
            tx.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0))
        };
        store.run(count).await.unwrap()
    }

    #[tokio::test]
    async fn t54_panicking_call_is_rolled_back_and_next_one_runs() {
        let (_folder, store) = store();
        let broken = |tx: &Transaction<'_>| {
            tx.execute("INSERT INTO people VALUES ('half', '{}')", [])?;
            panic!("as a defect would")
        };
        let broken = store.run::<()>(broken).await;
        assert!(matches!(broken, Err(StoreError::Failed(_))), "{broken:?}");
        assert!(store.is_open());
        assert_eq!(count(&store, "people").await, 0);
    }

    #[tokio::test]
    async fn queued_call_after_deadline_fails_and_does_not_run() {
        let (_folder, store) = store();
        let (go_on, stopped) = std::sync::mpsc::channel::<()>();
        let blocking = {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .run(move |_| {
                        let _ = stopped.recv();
                        Ok(())
                    })
                    .await
            })
        };
        tokio::task::yield_now().await;
        let late = store.run(|tx| tx.execute_batch("CREATE TABLE late (x) STRICT"));
        assert!(matches!(late.await, Err(StoreError::Busy)));
        drop(go_on);
        blocking.await.unwrap().expect("it had begun");
        assert_eq!(count(&store, "sqlite_schema WHERE name = 'late'").await, 0);
    }

    #[tokio::test]
    async fn registration_is_fast_with_many_sessions() {
        let (_folder, store) = store();
        fill(&store).await;
        let client = Client {
            id: "new".to_owned(),
            name: None,
            website: None,
            redirect_uris: Vec::new(),
            registered_at: 1_000_000,
            used: false,
        };
        // Unused clients are evicted for it.
        let registered = tokio::time::timeout(Duration::from_secs(2), store.register(client));
        assert_eq!(registered.await.unwrap().unwrap().id, "new");
        assert!(count(&store, "clients").await < 10_000);
    }

    #[tokio::test]
    async fn sweep_does_not_block_other_calls() {
        let (_folder, store) = store();
        fill(&store).await;
        let sweep = store.sweep(clients::UNUSED + 1000);
        let others = async {
            for calls in 1.. {
                let call = tokio::time::timeout(Duration::from_secs(1), store.check());
                call.await.expect("it has to wait").unwrap();
                if count(&store, "clients").await == 0 {
                    return calls;
                }
            }
            unreachable!("there is no end of numbers")
        };
        let (swept, calls) = tokio::join!(sweep, others);
        swept.unwrap();
        assert!(calls > 10, "{calls}");
        for table in ["sessions", "refresh_tokens", "consents", "people"] {
            assert_eq!(count(&store, table).await, 0, "{table}");
        }
    }

    #[tokio::test]
    async fn sweep_deletes_successor_but_keeps_spent_token() {
        let (_folder, store) = store();
        fill(&store).await;
        store.sweep(100 + sessions::GRACE).await.unwrap();
        assert_eq!(
            count(&store, "refresh_tokens WHERE sealed IS NOT NULL").await,
            MANY
        );
        store.sweep(100 + 2 * sessions::GRACE).await.unwrap();
        assert_eq!(
            count(&store, "refresh_tokens WHERE sealed IS NOT NULL").await,
            0
        );
        assert_eq!(
            count(&store, "refresh_tokens WHERE spent_at = 100").await,
            MANY
        );
    }

    #[tokio::test]
    async fn older_database_is_migrated_with_row_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let older = Connection::open(&path).unwrap();
        older.execute_batch(SCHEMA[0]).unwrap();
        older.execute_batch(SCHEMA[1]).unwrap();
        older.pragma_update(None, "user_version", 2).unwrap();
        older
            .execute_batch(
                "INSERT INTO people VALUES ('gone', '{}'), ('person', '{}');
                 INSERT INTO clients VALUES ('a', NULL, NULL, '[]', 0, NULL),
                                            ('b', NULL, NULL, '[]', 0, NULL);
                 INSERT INTO consents VALUES
                     ('consent', 'person', 'a', 'r', 'snippets', '', 0, 1000);",
            )
            .unwrap();
        drop(older);
        let store = Store::open(&path).unwrap();
        let idle = store.run(|tx| row_count(tx, "unused_clients")).await;
        assert_eq!(idle.unwrap(), 2);
        assert_eq!(count(&store, "people").await, 1);
        // A user is deleted with the last consent.
        let end = |tx: &Transaction<'_>| tx.execute("DELETE FROM clients WHERE id = 'a'", []);
        store.run(end).await.unwrap();
        assert_eq!(count(&store, "people").await, 0);
        let idle = store.run(|tx| row_count(tx, "unused_clients")).await;
        assert_eq!(idle.unwrap(), 1);
    }

    #[tokio::test]
    async fn database_in_use_cannot_be_opened() {
        let (folder, store) = store();
        let path = folder.path().join("store");
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("another gateway uses the database"),
            "{error}"
        );
        let (second, patience) = (CancellationToken::new(), Duration::from_secs(20));
        second.cancel();
        let opened = Store::open_when_free(&path, patience, &second).await;
        assert!(opened.unwrap().is_none(), "told to end while it waits");
        drop(store);
        let goes_on = CancellationToken::new();
        let opened = Store::open_when_free(&path, patience, &goes_on).await;
        assert!(opened.unwrap().is_some());
    }
}
