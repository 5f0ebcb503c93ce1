//! Registered clients (RFC 7591).

use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::database::row_count;
use super::{Seconds, Store, StoreError};

/// How many clients there may be. Beyond that, the oldest that never got a session make room:
/// anybody can register, and nobody must be kept from it by those who do so without end.
const LIMIT: u64 = 10_000;
/// How long a client that never got a session is kept.
pub(super) const UNUSED: Seconds = 30 * 24 * 60 * 60;
/// How long a client without a new session is kept.
pub(super) const IDLE: Seconds = 400 * 24 * 60 * 60;
/// How old such clients are that make room by the hundred: who was not approved by then will
/// hardly be. Of younger ones no more goes than has to.
const STALE: Seconds = 60 * 60;

/// A client, as it registered itself: nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) website: Option<String>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) registered_at: Seconds,
    /// Whether anybody ever allowed it anything.
    pub(crate) used: bool,
}

/// What came of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    Yes,
    /// There are as many clients as there may be, all of them in use.
    Full,
}

impl Store {
    pub(crate) async fn register(&self, client: Client) -> Result<Registered, StoreError> {
        self.run(move |tx| {
            if is_full(tx)? {
                make_room(tx, client.registered_at)?;
            }
            if is_full(tx)? {
                return Ok(Registered::Full);
            }
            tx.execute(
                "INSERT INTO clients (id, name, website, redirect_uris, registered_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    client.id,
                    client.name,
                    client.website,
                    serde_json::json!(client.redirect_uris).to_string(),
                    client.registered_at,
                ),
            )?;
            Ok(Registered::Yes)
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

fn is_full(tx: &Transaction<'_>) -> rusqlite::Result<bool> {
    Ok(row_count(tx, "clients")? >= LIMIT)
}

fn make_room(tx: &Transaction<'_>, now: Seconds) -> rusqlite::Result<()> {
    let oldest = |until: Seconds, most: u64| {
        tx.execute(
            "DELETE FROM clients WHERE id IN (
                 SELECT id FROM clients WHERE used_at IS NULL AND registered_at <= ?1
                 ORDER BY registered_at, rowid LIMIT ?2)",
            (until, most),
        )
    };
    if oldest(now.saturating_sub(STALE), LIMIT / 100)? == 0 {
        oldest(now, 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u64, at: Seconds) -> Client {
        Client {
            id: format!("client-{number}"),
            name: None,
            website: None,
            redirect_uris: vec!["http://127.0.0.1/cb".to_owned()],
            registered_at: at,
            used: false,
        }
    }

    #[tokio::test]
    async fn t42_there_is_a_limit_and_unused_clients_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let fill = |tx: &Transaction<'_>| {
            for number in 0..LIMIT {
                tx.execute(
                    "INSERT INTO clients (id, redirect_uris, registered_at, used_at)
                     VALUES (?1, '[]', ?2, ?3)",
                    (
                        format!("client-{number}"),
                        number,
                        (number == 0).then_some(LIMIT),
                    ),
                )?;
            }
            Ok(())
        };
        store.run(fill).await.unwrap();
        let register = |number, at| store.register(client(number, at));
        let kept = async |number: u64| {
            let client = store.client(&format!("client-{number}")).await.unwrap();
            client.is_some()
        };
        assert_eq!(register(LIMIT, 10).await.unwrap(), Registered::Yes);
        assert!(kept(0).await, "it is in use");
        assert!(!kept(1).await, "it made room, though they are all new");
        assert!(kept(2).await, "one is enough then");
        let later = LIMIT + STALE;
        assert_eq!(register(LIMIT + 1, later).await.unwrap(), Registered::Yes);
        assert!(kept(0).await && !kept(2).await && !kept(LIMIT / 100).await);
        assert!(kept(9999).await);
        store.sweep(later + UNUSED).await.unwrap();
        assert!(kept(0).await && !kept(9999).await);
        let take_all = |tx: &Transaction<'_>| {
            tx.execute("UPDATE clients SET used_at = 0", [])?;
            for number in 0..LIMIT {
                tx.execute(
                    "INSERT OR IGNORE INTO clients (id, redirect_uris, registered_at, used_at)
                     VALUES (?1, '[]', 0, 0)",
                    [format!("client-{number}")],
                )?;
            }
            Ok(())
        };
        store.run(take_all).await.unwrap();
        assert_eq!(register(LIMIT, later).await.unwrap(), Registered::Full);
    }
}
