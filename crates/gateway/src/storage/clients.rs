//! Registered clients (RFC 7591).
//!
//! Any visitor can register a client, and a flood of registrations must not prevent that. So their
//! number has no limit: unused clients are evicted for new ones. A client is in use from its first
//! token until the last consent to it ends. Only a user can cause that, and the number of a user's
//! consents is limited.

use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::database::row_count;
use super::{Seconds, Store, StoreError};
use crate::crypto::Digest;

/// The maximum number of unused clients. Beyond that, the oldest registrations are evicted.
const UNUSED_CLIENTS: u64 = 10_000;
/// How many unused clients one registration evicts: more than it adds, because the maximum may be
/// exceeded.
const REMOVED_AT_ONCE: u64 = 16;
/// The minimum lifetime of a client: longer than a user takes to sign in.
const MIN_LIFE: Seconds = 60 * 60;
/// The lifetime of an unused client.
pub(super) const UNUSED: Seconds = 30 * 24 * 60 * 60;

/// A client, with the metadata that it registered. None of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) website: Option<String>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) registered_at: Seconds,
    /// Whether it is in use.
    pub(crate) used: bool,
}

impl Client {
    /// Returns the digest of all its metadata.
    fn fingerprint(&self) -> Digest {
        let metadata = serde_json::json!([self.name, self.website, self.redirect_uris]);
        Digest::of(&metadata.to_string())
    }
}

impl Store {
    /// Registers a client. If one with the same metadata exists, returns that one, with its id and its
    /// time of registration.
    pub(crate) async fn register(&self, client: Client) -> Result<Client, StoreError> {
        self.run(move |tx| {
            let now = client.registered_at;
            let client = insert(tx, client)?;
            if row_count(tx, "unused_clients")? > UNUSED_CLIENTS {
                make_room(tx, now)?;
            }
            Ok(client)
        })
        .await
    }

    /// Like [`Self::register`], but only if a client with the same metadata exists. Otherwise changes
    /// nothing.
    pub(crate) async fn register_again(
        &self,
        client: &Client,
    ) -> Result<Option<Client>, StoreError> {
        let (fingerprint, now) = (client.fingerprint(), client.registered_at);
        self.run(move |tx| {
            tx.query_row(
                "UPDATE clients SET seen_at = ?2 WHERE fingerprint = ?1
                 RETURNING id, name, website, redirect_uris, registered_at, used_at IS NOT NULL",
                (fingerprint, now),
                read,
            )
            .optional()
        })
        .await
    }

    pub(crate) async fn client(&self, id: &str) -> Result<Option<Client>, StoreError> {
        let id = id.to_owned();
        self.run(move |tx| {
            tx.query_row(
                "SELECT id, name, website, redirect_uris, registered_at, used_at IS NOT NULL
                 FROM clients WHERE id = ?1",
                [id],
                read,
            )
            .optional()
        })
        .await
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Client> {
    let redirects: String = row.get(3)?;
    Ok(Client {
        id: row.get(0)?,
        name: row.get(1)?,
        website: row.get(2)?,
        redirect_uris: serde_json::from_str(&redirects).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
        })?,
        registered_at: row.get(4)?,
        used: row.get(5)?,
    })
}

fn insert(tx: &Transaction<'_>, client: Client) -> rusqlite::Result<Client> {
    let fingerprint = client.fingerprint();
    tx.query_row(
        "INSERT INTO clients (id, name, website, redirect_uris, registered_at, seen_at, fingerprint)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)
         ON CONFLICT (fingerprint) DO UPDATE SET seen_at = excluded.seen_at
         RETURNING id, name, website, redirect_uris, registered_at, used_at IS NOT NULL",
        (
            client.id,
            client.name,
            client.website,
            serde_json::json!(client.redirect_uris).to_string(),
            client.registered_at,
            fingerprint,
        ),
        read,
    )
}

/// Evicts unused clients, except those that were seen recently.
fn make_room(tx: &Transaction<'_>, now: Seconds) -> rusqlite::Result<()> {
    tx.execute(
        "DELETE FROM clients WHERE rowid IN (
             SELECT rowid FROM clients WHERE used_at IS NULL AND seen_at <= ?1
             ORDER BY seen_at LIMIT ?2)",
        (now.saturating_sub(MIN_LIFE), REMOVED_AT_ONCE),
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u64, at: Seconds) -> Client {
        Client {
            id: format!("client-{number}"),
            name: None,
            website: None,
            redirect_uris: vec![format!("http://127.0.0.1/{number}")],
            registered_at: at,
            used: false,
        }
    }

    /// Adds clients with these numbers, seen one second after the other.
    fn fill(
        numbers: std::ops::Range<u64>,
        is_used: bool,
    ) -> impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send {
        move |tx| {
            for number in numbers {
                tx.execute(
                    "INSERT INTO clients (id, redirect_uris, registered_at, seen_at, used_at)
                     VALUES (?1, '[]', 0, ?2, ?3)",
                    (format!("client-{number}"), number, is_used.then_some(0)),
                )?;
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn t42_oldest_unused_clients_are_evicted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let register = async |number, at| store.register(client(number, at)).await.unwrap();
        let kept = async |number: u64| {
            let client = store.client(&format!("client-{number}")).await.unwrap();
            client.is_some()
        };
        store.run(fill(1..11, true)).await.unwrap();
        store
            .run(fill(11..11 + UNUSED_CLIENTS, false))
            .await
            .unwrap();
        let next = 11 + UNUSED_CLIENTS;
        register(next, MIN_LIFE).await;
        assert!(kept(11).await, "they were all seen within the hour before");
        register(next + 1, 2 * MIN_LIFE).await;
        assert!(!kept(11).await && !kept(26).await, "the oldest make room");
        assert!(kept(27).await && kept(next).await && kept(next + 1).await);
        assert!(kept(1).await && kept(10).await, "they are in use");
    }

    #[tokio::test]
    async fn clients_in_use_are_kept_and_block_no_registration() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let in_use = 2 * UNUSED_CLIENTS;
        store.run(fill(0..in_use, true)).await.unwrap();
        for number in in_use..in_use + UNUSED_CLIENTS + 100 {
            let at = 100 * MIN_LIFE + number;
            store.register(client(number, at)).await.unwrap();
        }
        let count = |tx: &Transaction<'_>| {
            let count = "SELECT count(*) FROM clients WHERE used_at IS NOT NULL";
            tx.query_row(count, [], |row| row.get(0))
        };
        assert_eq!(store.run::<u64>(count).await.unwrap(), in_use);
    }

    #[tokio::test]
    async fn client_is_in_use_until_its_last_consent_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        store.run(fill(0..1, true)).await.unwrap();
        let consents = |tx: &Transaction<'_>| {
            tx.execute_batch(
                "INSERT INTO people VALUES ('p', '{}'), ('q', '{}');
                 INSERT INTO consents VALUES ('a', 'p', 'client-0', 'r', 's', '', 0, 9),
                                             ('b', 'q', 'client-0', 'r', 's', '', 0, 9);",
            )
        };
        store.run(consents).await.unwrap();
        let unused = async || {
            let count = store.run(|tx| row_count(tx, "unused_clients")).await;
            count.unwrap()
        };
        for (consent, expected) in [("a", 0), ("b", 1)] {
            let end = move |tx: &Transaction<'_>| {
                tx.execute("DELETE FROM consents WHERE id = ?1", [consent])
            };
            store.run(end).await.unwrap();
            assert_eq!(unused().await, expected);
        }
        let again = |tx: &Transaction<'_>| tx.execute("UPDATE clients SET used_at = 1", []);
        store.run(again).await.unwrap();
        assert_eq!(unused().await, 0);
        let remove = |tx: &Transaction<'_>| tx.execute("DELETE FROM clients", []);
        store.run(remove).await.unwrap();
        assert_eq!(unused().await, 0);
    }

    #[tokio::test]
    async fn equal_metadata_returns_same_client() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let first = store.register(client(1, 10)).await.unwrap();
        let again = Client {
            id: "another".to_owned(),
            ..client(1, 20)
        };
        assert_eq!(
            store.register_again(&again).await.unwrap(),
            Some(first.clone())
        );
        let again = store.register(again).await.unwrap();
        assert_eq!(again, first);
        let named = Client {
            id: "another".to_owned(),
            name: Some("Another".to_owned()),
            ..client(1, 20)
        };
        assert_eq!(store.register_again(&named).await.unwrap(), None);
        assert_eq!(store.register(named).await.unwrap().id, "another");
        // It was seen when it registered again.
        store.sweep(15 + UNUSED).await.unwrap();
        assert!(store.client(&first.id).await.unwrap().is_some());
        store.sweep(20 + UNUSED).await.unwrap();
        assert!(store.client(&first.id).await.unwrap().is_none());
    }
}
