//! Pending sign-ins at Entra that are too long for a cookie, and the transactions that have issued a
//! code.
//!
//! Any visitor can begin a sign-in, so the number of rows is limited. Beyond the limit, the network
//! with most rows loses its oldest.

use std::net::IpAddr;

use rusqlite::{OptionalExtension as _, Transaction};

use super::database::row_count;
use super::{Seconds, Store, StoreError};
use crate::crypto::Digest;

/// The maximum number of rows. A row has at most 40 kB.
const LIMIT: u64 = 5_000;

/// An approved request whose user is at Entra.
#[derive(Clone, Debug)]
pub(crate) struct StoredSignIn {
    pub(crate) state: Digest,
    /// The browser that approved.
    pub(crate) browser: Digest,
    /// The network that it is in.
    pub(crate) network: IpAddr,
    pub(crate) sealed: String,
    pub(crate) expires_at: Seconds,
}

impl Store {
    pub(crate) async fn put_sign_in(
        &self,
        row: StoredSignIn,
        now: Seconds,
    ) -> Result<(), StoreError> {
        self.run(move |tx| {
            if row_count(tx, "sign_ins")? >= LIMIT {
                make_room(tx, now)?;
            }
            tx.execute(
                "INSERT INTO sign_ins (digest, browser, network, sealed, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    row.state,
                    row.browser,
                    row.network.to_string(),
                    row.sealed,
                    row.expires_at,
                ),
            )
            .map(drop)
        })
        .await
    }

    /// Returns the sealed sign-in of a state, for the browser that approved it.
    pub(crate) async fn sign_in(
        &self,
        state: Digest,
        browser: Digest,
        now: Seconds,
    ) -> Result<Option<String>, StoreError> {
        self.run(move |tx| {
            tx.query_row(
                "SELECT sealed FROM sign_ins
                 WHERE digest = ?1 AND browser = ?2 AND expires_at > ?3",
                (state, browser, now),
                |row| row.get(0),
            )
            .optional()
        })
        .await
    }

    /// Removes the sign-in of a state.
    pub(crate) async fn remove_sign_in(&self, state: Digest) -> Result<(), StoreError> {
        self.run(move |tx| {
            tx.execute("DELETE FROM sign_ins WHERE digest = ?1", [state])
                .map(drop)
        })
        .await
    }

    /// Returns true if a transaction has issued a code.
    pub(crate) async fn is_spent(&self, transaction: &str) -> Result<bool, StoreError> {
        let id = transaction.to_owned();
        self.run(move |tx| {
            tx.query_row(
                "SELECT EXISTS (SELECT 1 FROM spent_transactions WHERE id = ?1)",
                [id],
                |row| row.get(0),
            )
        })
        .await
    }
}

/// Removes expired rows, or otherwise the oldest row of the network with most rows.
fn make_room(tx: &Transaction<'_>, now: Seconds) -> rusqlite::Result<()> {
    let expired = tx.execute(
        "DELETE FROM sign_ins WHERE rowid IN (
             SELECT rowid FROM sign_ins WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 16)",
        [now],
    )?;
    if expired > 0 {
        return Ok(());
    }
    tx.execute(
        "DELETE FROM sign_ins WHERE rowid = (
             SELECT rowid FROM sign_ins INDEXED BY sign_ins_by_end
             WHERE (SELECT number FROM sign_in_networks WHERE network = sign_ins.network)
                 = (SELECT max(number) FROM sign_in_networks)
             ORDER BY expires_at LIMIT 1)",
        [],
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn t42_network_with_most_sign_ins_loses_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let digest = |number: u64| Digest::of(&number.to_string());
        let fill = move |tx: &Transaction<'_>| {
            // The oldest row belongs to a network without other rows.
            for number in 0..LIMIT {
                let network = if number == 0 {
                    "192.0.2.0"
                } else {
                    "198.51.100.0"
                };
                tx.execute(
                    "INSERT INTO sign_ins (digest, browser, network, sealed, expires_at)
                     VALUES (?1, ?1, ?2, 'x', ?3)",
                    (digest(number), network, 100 + number),
                )?;
            }
            Ok(())
        };
        store.run(fill).await.unwrap();
        let put = |number: u64, network: &str| {
            let row = StoredSignIn {
                state: digest(number),
                browser: digest(number),
                network: network.parse().unwrap(),
                sealed: "x".to_owned(),
                expires_at: 100 + number,
            };
            store.put_sign_in(row, 0)
        };
        put(LIMIT, "192.0.2.0").await.unwrap();
        put(LIMIT + 1, "203.0.113.0").await.unwrap();
        for (number, kept) in [
            (0, true),
            (1, false),
            (2, false),
            (3, true),
            (LIMIT, true),
            (LIMIT + 1, true),
        ] {
            let (state, browser) = (digest(number), digest(number));
            let row = store.sign_in(state, browser, 0).await.unwrap();
            assert_eq!(row.is_some(), kept, "{number}");
        }
        let networks = |tx: &Transaction<'_>| {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            tx.query_row(
                "SELECT count(*), sum(number) FROM sign_in_networks",
                [],
                read,
            )
        };
        let left = store.run(networks).await.unwrap();
        assert_eq!(left, (3_u64, LIMIT));
        for number in 0..LIMIT + 2 {
            store.remove_sign_in(digest(number)).await.unwrap();
        }
        let none = "SELECT count(*) FROM sign_in_networks";
        let none = move |tx: &Transaction<'_>| tx.query_row(none, [], |row| row.get(0));
        assert_eq!(store.run::<u64>(none).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn oldest_sign_in_is_evicted_among_equal_networks() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let row = |number: u64| StoredSignIn {
            state: Digest::of(&number.to_string()),
            browser: Digest::of("browser"),
            network: std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap() << 8).into(),
            sealed: "x".to_owned(),
            expires_at: 100 + number,
        };
        let kept = async |number: u64| {
            let row = row(number);
            store.sign_in(row.state, row.browser, 0).await.unwrap()
        };
        for number in 0..LIMIT + 2 {
            store.put_sign_in(row(number), 0).await.unwrap();
        }
        assert_eq!((kept(0).await, kept(1).await), (None, None));
        assert!(kept(2).await.is_some() && kept(LIMIT + 1).await.is_some());
        // Expired rows are removed first.
        store.put_sign_in(row(LIMIT + 2), 103).await.unwrap();
        assert_eq!((kept(2).await, kept(3).await), (None, None));
        assert!(kept(4).await.is_some());
    }
}
