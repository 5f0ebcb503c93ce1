//! Removes expired rows.

use std::time::{Duration, Instant};

use super::{Seconds, Store, StoreError, clients, sessions};

/// How long one transaction removes rows. Other calls run in between.
const SWEEP_TIME: Duration = Duration::from_millis(20);

/// How many rows one statement removes. The rows of a session go with it: up to some thousand spent
/// refresh tokens.
const SWEEP_ROWS: u32 = 16;

/// Builds the statement that removes the rows of a table whose `column` is too old.
macro_rules! remove {
    ($table:literal, $column:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE rowid IN (SELECT rowid FROM ",
            $table,
            " WHERE ",
            $column,
            " <= ?1 ORDER BY ",
            $column,
            " LIMIT ?2)"
        )
    };
}

/// The steps of a sweep. `?1` is the time up to which rows are too old. Each statement changes at most
/// `?2` rows.
const SWEEP: [(&str, Seconds); 9] = [
    (remove!("sign_ins", "expires_at"), 0),
    (remove!("spent_transactions", "expires_at"), 0),
    (remove!("codes", "expires_at"), 0),
    (remove!("spent_codes", "expires_at"), 0),
    (remove!("refresh_tokens", "expires_at"), 0),
    (
        "UPDATE refresh_tokens SET sealed = NULL WHERE rowid IN (
             SELECT rowid FROM refresh_tokens
             WHERE sealed IS NOT NULL AND spent_at <= ?1 ORDER BY spent_at LIMIT ?2)",
        // Twice the time, for clocks that are set back.
        2 * sessions::GRACE,
    ),
    (remove!("sessions", "expires_at"), 0),
    (remove!("consents", "expires_at"), 0),
    (
        "DELETE FROM clients WHERE rowid IN (
             SELECT rowid FROM clients WHERE used_at IS NULL AND seen_at <= ?1
             ORDER BY seen_at LIMIT ?2)",
        clients::UNUSED,
    ),
];

impl Store {
    /// Removes expired rows in many small transactions. Other calls run in between.
    ///
    /// # Errors
    ///
    /// The last error. A step that fails does not prevent the others.
    pub(crate) async fn sweep(&self, now: Seconds) -> Result<(), StoreError> {
        let mut result = Ok(());
        for (statement, age) in SWEEP {
            let until = now.saturating_sub(age);
            if let Err(error) = self.sweep_all(statement, until).await {
                result = Err(error);
            }
        }
        result
    }

    /// Runs one step of a sweep until it finds no more rows.
    async fn sweep_all(&self, statement: &'static str, until: Seconds) -> Result<(), StoreError> {
        while self.sweep_some(statement, until).await? {}
        Ok(())
    }

    /// Runs one step of a sweep for [`SWEEP_TIME`]. Returns true if there may be more rows.
    async fn sweep_some(
        &self,
        statement: &'static str,
        until: Seconds,
    ) -> Result<bool, StoreError> {
        self.run(move |tx| {
            let mut step = tx.prepare_cached(statement)?;
            let begun = Instant::now();
            while step.execute((until, SWEEP_ROWS))? > 0 {
                if begun.elapsed() >= SWEEP_TIME {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }
}
