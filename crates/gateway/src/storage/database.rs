//! The connection, its thread and its schema.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::Seconds;

/// How many jobs may wait; beyond that callers wait to hand theirs in.
const QUEUE: usize = 256;

/// The store cannot answer. Whoever asked is told to come back later, and is let in nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite refused.
    #[error("the database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// Its thread is gone.
    #[error("the database is closed")]
    Closed,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the database's thread.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens or creates the database at `path`.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let hint = || format!("cannot open the database {}", path.display());
        make_private(path).with_context(hint)?;
        let mut connection = Connection::open(path).with_context(hint)?;
        prepare(&mut connection).with_context(hint)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("gateway-store".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })?;
        Ok(Self { jobs })
    }

    /// Runs `job` as one transaction.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody waiting is no reason not to finish: what was asked for may have effects.
            let _ = answer.send(transact(connection, job));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        Ok(answered.await.map_err(|_| StoreError::Closed)??)
    }

    /// Whether it answers.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.run(|tx| tx.query_row("SELECT EXISTS (SELECT 1 FROM sessions)", [], |_| Ok(())))
            .await
    }

    /// Removes what has expired.
    pub(crate) async fn sweep(&self, now: Seconds) -> Result<(), StoreError> {
        self.run(move |tx| {
            for table in [
                "authorization_requests",
                "sign_ins",
                "codes",
                "spent_codes",
                "refresh_tokens",
                "sessions",
                "consents",
            ] {
                tx.execute(
                    &format!("DELETE FROM {table} WHERE expires_at <= ?1"),
                    [now],
                )?;
            }
            tx.execute(
                "DELETE FROM people WHERE id NOT IN (SELECT person FROM consents)",
                [],
            )?;
            super::clients::sweep(tx, now)
        })
        .await
    }
}

fn transact<T>(
    connection: &mut Connection,
    job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = job(&tx)?;
    tx.commit()?;
    Ok(value)
}

/// SQLite gives its side files the mode of the database file.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A redeemed code or a revoked session must not come back after a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tx = connection.transaction()?;
    for (number, step) in (1..).zip(SCHEMA) {
        if version < number {
            tx.execute_batch(step)?;
            tx.pragma_update(None, "user_version", number)?;
        }
    }
    tx.commit()
}

/// The steps from nothing to today's schema. A step is never changed once it was released.
const SCHEMA: [&str; 2] = [include_str!("schema-1.sql"), include_str!("schema-2.sql")];

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn t54_a_store_whose_thread_is_gone_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        assert!(store.check().await.is_ok());
        let broken = store.run::<()>(|_| panic!("as a defect would")).await;
        assert!(matches!(broken, Err(StoreError::Closed)));
        assert!(matches!(store.check().await, Err(StoreError::Closed)));
    }
}
