//! Authorization requests on their way: first waiting for consent, then signing in at Entra.
//!
//! Each row is taken out by whoever goes on with it, so that every step happens once.

use rusqlite::OptionalExtension as _;

use super::{Seconds, Store, StoreError};
use crate::crypto::Digest;

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
