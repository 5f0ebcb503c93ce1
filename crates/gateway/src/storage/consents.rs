//! The consents of users: which client, at which redirect URI, for which server and scopes.

use std::collections::BTreeSet;

use model::ServerName;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::{Seconds, Store, StoreError};
use crate::crypto;
use crate::scope::Scopes;
use crate::user::User;

/// How long a consent is valid.
const REMEMBERED: Seconds = 365 * 24 * 60 * 60;

/// The maximum number of consents of one user. Beyond that, the oldest one ends.
const MAX_CONSENTS_PER_USER: u64 = 500;

/// The subject of a consent. The redirect URI is the registered one.
#[derive(Clone, Debug)]
pub(crate) struct ConsentKey {
    pub(crate) user: String,
    pub(crate) client: String,
    pub(crate) redirect: String,
    pub(crate) server: ServerName,
}

/// A consent as its user sees it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Consent {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) client_name: Option<String>,
    pub(crate) server: String,
    pub(crate) scopes: Vec<String>,
    /// Seconds since 1970.
    pub(crate) granted_at: Seconds,
    /// Seconds since 1970.
    pub(crate) expires_at: Seconds,
}

/// A consent that was recorded.
#[derive(Clone, Debug)]
pub(crate) struct RecordedConsent {
    pub(crate) id: String,
    /// The sessions that ended because its user had too many consents.
    pub(crate) ended: Vec<String>,
}

impl Store {
    /// Returns the consent that covers all of `scopes`, if there is one.
    pub(crate) async fn consent(
        &self,
        key: ConsentKey,
        scopes: Scopes,
        now: Seconds,
    ) -> Result<Option<String>, StoreError> {
        self.run(move |tx| {
            let found = find(tx, &key, now)?;
            Ok(found.and_then(|(id, granted)| granted.covers(&scopes).then_some(id)))
        })
        .await
    }

    /// Records that `user` allowed `scopes`, in addition to those allowed before.
    pub(crate) async fn record_consent(
        &self,
        user: User,
        key: ConsentKey,
        scopes: Scopes,
        now: Seconds,
    ) -> Result<RecordedConsent, StoreError> {
        self.run(move |tx| {
            tx.execute(
                "INSERT INTO people (id, profile) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET profile = excluded.profile",
                (&key.user, user.to_json()),
            )?;
            let scopes = match find(tx, &key, now)? {
                Some((_, before)) => before.union(&scopes),
                None => scopes,
            };
            let id: String = tx.query_row(
                "INSERT INTO consents
                     (id, person, client, redirect, server, scopes, granted_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (person, client, redirect, server) DO UPDATE
                 SET scopes = excluded.scopes, granted_at = excluded.granted_at,
                     expires_at = excluded.expires_at
                 RETURNING id",
                (
                    crypto::id(),
                    &key.user,
                    key.client,
                    key.redirect,
                    key.server.as_str(),
                    scopes.to_string(),
                    now,
                    now + REMEMBERED,
                ),
                |row| row.get(0),
            )?;
            let ended = end_surplus(tx, &key.user, &id)?;
            Ok(RecordedConsent { id, ended })
        })
        .await
    }

    /// Returns the consents of `user` to `client`, newest first.
    pub(crate) async fn consents(
        &self,
        user: String,
        client: String,
        now: Seconds,
    ) -> Result<Vec<Consent>, StoreError> {
        self.run(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT consents.id, clients.id, clients.name, server, scopes, granted_at, expires_at
                 FROM consents JOIN clients ON clients.id = consents.client
                 WHERE person = ?1 AND client = ?2 AND expires_at > ?3
                 ORDER BY granted_at DESC, consents.id",
            )?;
            statement.query_map((user, client, now), read)?.collect()
        })
        .await
    }

    /// Removes a consent of `user` to `client`, with all its sessions. Returns their ids, or `None` if
    /// there is no such consent.
    pub(crate) async fn revoke_consent(
        &self,
        id: String,
        user: String,
        client: String,
    ) -> Result<Option<BTreeSet<String>>, StoreError> {
        self.run_without_deadline(move |tx| {
            let sessions = tx
                .prepare_cached("SELECT id FROM sessions WHERE consent = ?1")?
                .query_map([&id], |row| row.get(0))?
                .collect::<rusqlite::Result<BTreeSet<String>>>()?;
            let removed = tx.execute(
                "DELETE FROM consents WHERE id = ?1 AND person = ?2 AND client = ?3",
                (id, user, client),
            )?;
            Ok((removed > 0).then_some(sessions))
        })
        .await
    }
}

/// Ends the oldest consent of a user with too many. Returns its sessions.
fn end_surplus(tx: &Transaction<'_>, user: &str, newest: &str) -> rusqlite::Result<Vec<String>> {
    let number: u64 = tx.query_row(
        "SELECT count(*) FROM consents WHERE person = ?1",
        [user],
        |row| row.get(0),
    )?;
    if number <= MAX_CONSENTS_PER_USER {
        return Ok(Vec::new());
    }
    let oldest: String = tx.query_row(
        "SELECT id FROM consents WHERE person = ?1 AND id <> ?2 ORDER BY granted_at LIMIT 1",
        (user, newest),
        |row| row.get(0),
    )?;
    let mut ended = tx.prepare_cached("DELETE FROM sessions WHERE consent = ?1 RETURNING id")?;
    let ended = ended
        .query_map([&oldest], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    tx.execute("DELETE FROM consents WHERE id = ?1", [oldest])?;
    Ok(ended)
}

fn find(
    tx: &Transaction<'_>,
    key: &ConsentKey,
    now: Seconds,
) -> rusqlite::Result<Option<(String, Scopes)>> {
    tx.query_row(
        "SELECT id, scopes FROM consents
         WHERE person = ?1 AND client = ?2 AND redirect = ?3 AND server = ?4 AND expires_at > ?5",
        (
            &key.user,
            &key.client,
            &key.redirect,
            key.server.as_str(),
            now,
        ),
        |row| Ok((row.get(0)?, Scopes::from_words(&row.get::<_, String>(1)?))),
    )
    .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Consent> {
    Ok(Consent {
        id: row.get(0)?,
        client_id: row.get(1)?,
        client_name: row.get(2)?,
        server: row.get(3)?,
        scopes: Scopes::from_words(&row.get::<_, String>(4)?).into_vec(),
        granted_at: row.get(5)?,
        expires_at: row.get(6)?,
    })
}
