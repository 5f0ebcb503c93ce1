//! Authorization requests on their way: first waiting for consent, then signing in at Entra.
//!
//! Each row is taken out by whoever goes on with it, so that every step happens once. Anybody
//! can begin one, so that there is a limit; beyond it the oldest make room.

use rusqlite::{OptionalExtension as _, Transaction};

use super::database::row_count;
use super::{Seconds, Store, StoreError};
use crate::crypto::Digest;

/// How many may be on their way, of either kind; a row has 20 kB at most.
const LIMIT: u64 = 10_000;

/// An authorization request that waits for a person's answer.
#[derive(Clone, Debug)]
pub(crate) struct StoredRequest {
    pub(crate) id: Digest,
    /// The browser it was made in.
    pub(crate) browser: Digest,
    pub(crate) sealed: String,
    pub(crate) expires_at: Seconds,
}

/// An approved request whose person is at Entra.
#[derive(Clone, Debug)]
pub(crate) struct StoredSignIn {
    pub(crate) state: Digest,
    /// The browser that approved.
    pub(crate) approval: Digest,
    pub(crate) sealed: String,
    pub(crate) expires_at: Seconds,
}

impl Store {
    pub(crate) async fn put_request(&self, row: StoredRequest) -> Result<(), StoreError> {
        self.run(move |tx| {
            make_room(tx, "authorization_requests")?;
            tx.execute(
                "INSERT INTO authorization_requests (digest, browser, sealed, expires_at)
                 VALUES (?1, ?2, ?3, ?4)",
                (row.id, row.browser, row.sealed, row.expires_at),
            )
            .map(drop)
        })
        .await
    }

    /// The sealed request, for the browser it was made in.
    pub(crate) async fn request(
        &self,
        id: Digest,
        browser: Digest,
        now: Seconds,
    ) -> Result<Option<String>, StoreError> {
        self.run(move |tx| {
            tx.query_row(
                "SELECT sealed FROM authorization_requests
                 WHERE digest = ?1 AND browser = ?2 AND expires_at > ?3",
                (id, browser, now),
                |row| row.get(0),
            )
            .optional()
        })
        .await
    }

    /// As [`Self::request`], once.
    pub(crate) async fn take_request(
        &self,
        id: Digest,
        browser: Digest,
        now: Seconds,
    ) -> Result<Option<String>, StoreError> {
        self.run(move |tx| {
            tx.query_row(
                "DELETE FROM authorization_requests
                 WHERE digest = ?1 AND browser = ?2 AND expires_at > ?3 RETURNING sealed",
                (id, browser, now),
                |row| row.get(0),
            )
            .optional()
        })
        .await
    }

    pub(crate) async fn put_sign_in(&self, row: StoredSignIn) -> Result<(), StoreError> {
        self.run(move |tx| {
            make_room(tx, "sign_ins")?;
            tx.execute(
                "INSERT INTO sign_ins (digest, approval, sealed, expires_at)
                 VALUES (?1, ?2, ?3, ?4)",
                (row.state, row.approval, row.sealed, row.expires_at),
            )
            .map(drop)
        })
        .await
    }

    /// The sealed sign-in of a state, once, for the browser that approved it.
    pub(crate) async fn take_sign_in(
        &self,
        state: Digest,
        approval: Digest,
        now: Seconds,
    ) -> Result<Option<String>, StoreError> {
        self.run(move |tx| {
            tx.query_row(
                "DELETE FROM sign_ins
                 WHERE digest = ?1 AND approval = ?2 AND expires_at > ?3 RETURNING sealed",
                (state, approval, now),
                |row| row.get(0),
            )
            .optional()
        })
        .await
    }
}

fn make_room(tx: &Transaction<'_>, table: &str) -> rusqlite::Result<()> {
    let surplus = (row_count(tx, table)? + 1).saturating_sub(LIMIT);
    if surplus == 0 {
        return Ok(());
    }
    tx.execute(
        &format!(
            "DELETE FROM {table} WHERE rowid IN (
                 SELECT rowid FROM {table} ORDER BY expires_at, rowid LIMIT ?1)"
        ),
        [surplus],
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn t42_there_is_a_limit_and_the_oldest_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let digest = |number: u64| Digest::of(&number.to_string());
        let fill = move |tx: &Transaction<'_>| {
            for number in 0..LIMIT {
                for (table, browser) in [
                    ("authorization_requests", "browser"),
                    ("sign_ins", "approval"),
                ] {
                    tx.execute(
                        &format!(
                            "INSERT INTO {table} (digest, {browser}, sealed, expires_at)
                             VALUES (?1, ?1, 'x', ?2)"
                        ),
                        (digest(number), 100 + number),
                    )?;
                }
            }
            Ok(())
        };
        store.run(fill).await.unwrap();
        let (next, expires_at) = (digest(LIMIT), 100 + LIMIT);
        let request = StoredRequest {
            id: next,
            browser: next,
            sealed: "x".to_owned(),
            expires_at,
        };
        let sign_in = StoredSignIn {
            state: next,
            approval: next,
            sealed: "x".to_owned(),
            expires_at,
        };
        store.put_request(request).await.unwrap();
        store.put_sign_in(sign_in).await.unwrap();
        for (number, kept) in [(0, false), (1, true), (LIMIT, true)] {
            let digest = digest(number);
            let request = store.take_request(digest, digest, 0).await.unwrap();
            let sign_in = store.take_sign_in(digest, digest, 0).await.unwrap();
            assert_eq!((request.is_some(), sign_in.is_some()), (kept, kept));
        }
    }
}
