//! Sessions, and their codes and refresh tokens.
//!
//! A session is the family of all tokens of one sign-in. They are deleted with its row.

use model::ServerName;
use rusqlite::{OptionalExtension as _, Row, Transaction};
use subtle::ConstantTimeEq as _;

use super::{Seconds, Store, StoreError};
use crate::crypto::Digest;
use crate::scope::Scopes;
use crate::user::User;

/// How long a spent refresh token returns the same successor again.
pub(super) const GRACE: Seconds = 30;
/// How long a spent code is stored, so that its replay ends its session.
const REPLAY_KNOWN: Seconds = 24 * 60 * 60;

/// The maximum number of sessions of one user. Beyond that, those that were refreshed least recently
/// end.
const MAX_SESSIONS_PER_USER: u64 = 500;
/// How many sessions one sign-in ends: more than it adds, because the maximum may be exceeded.
const ENDED_AT_ONCE: u64 = 16;

/// A session in the store.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) consent: String,
    pub(crate) user: User,
    pub(crate) client: String,
    pub(crate) server: ServerName,
    pub(crate) scopes: Scopes,
    /// The sealed tokens of Entra.
    pub(crate) provider_tokens: String,
    pub(crate) provider_expires_at: Seconds,
    /// When they are to be refreshed.
    pub(crate) provider_refresh_at: Seconds,
    pub(crate) expires_at: Seconds,
}

/// An authorization code, bound to its request.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) digest: Digest,
    pub(crate) session: String,
    pub(crate) client: String,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
    pub(crate) expires_at: Seconds,
}

/// The transaction of an authorization request. It issues at most one code.
#[derive(Clone, Debug)]
pub(crate) struct SpentTransaction {
    pub(crate) id: String,
    /// When all its forms and cookies have expired.
    pub(crate) expires_at: Seconds,
}

/// The result of beginning a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It has begun. These sessions of its user ended for it.
    Session { ended: Vec<String> },
    /// Its transaction has already issued a code, so there is no session.
    Spent,
}

/// The parameters that a client sends with a code.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    pub(crate) client: String,
    /// `None` for OAuth 2.1, which does without it because of PKCE.
    pub(crate) redirect_uri: Option<String>,
    /// The S256 challenge of its PKCE verifier. `None` if the verifier is malformed.
    pub(crate) challenge: Option<String>,
    /// The server of its `resource`, if there is one.
    pub(crate) server: Option<ServerName>,
}

/// Why a code does not belong to the client that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The client, the redirect URI or the PKCE verifier differs.
    Client,
    /// The server differs.
    Server,
}

/// The result of redeeming a code.
#[derive(Clone, Debug)]
pub(crate) enum RedeemedCode {
    /// The code was valid and is now spent. The session has its first refresh token.
    Granted {
        session: String,
        scopes: Scopes,
    },
    /// The code was sent by another client and is now spent. Its session has ended.
    Refused(String, Misfit),
    /// The code was spent before. The session that it opened has ended.
    Replayed(String),
    Unknown,
}

/// A new refresh token.
#[derive(Clone, Debug)]
pub(crate) struct RefreshToken {
    pub(crate) digest: Digest,
    /// The sealed token, in case the response is lost.
    pub(crate) sealed: String,
    pub(crate) expires_at: Seconds,
}

/// The result of using a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// It is now spent, and the given token is its successor.
    Rotated,
    /// It was spent a moment ago. This is its sealed successor, which was not used yet.
    Repeated(String),
    /// It was spent before, so a copy exists. The session has ended.
    Reused,
    /// The session has ended.
    Gone,
}

/// A refresh token that a client sends.
#[derive(Clone, Debug)]
pub(crate) struct SpentRefreshToken {
    pub(crate) digest: Digest,
    pub(crate) session: String,
}

impl Store {
    /// Stores a new session with its code, and records that its transaction has issued one.
    pub(crate) async fn begin_session(
        &self,
        session: Session,
        code: Code,
        transaction: SpentTransaction,
        now: Seconds,
    ) -> Result<Begun, StoreError> {
        self.run(move |tx| {
            let is_first = tx.execute(
                "INSERT OR IGNORE INTO spent_transactions (id, expires_at) VALUES (?1, ?2)",
                (transaction.id, transaction.expires_at),
            )? > 0;
            if !is_first {
                return Ok(Begun::Spent);
            }
            let ended = end_surplus(tx, &session.user.id(), now)?;
            insert_session(tx, &session)?;
            tx.execute(
                "INSERT INTO codes (digest, session, client, redirect_uri, challenge, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    code.digest,
                    code.session,
                    code.client,
                    code.redirect_uri,
                    code.challenge,
                    code.expires_at,
                ),
            )?;
            Ok(Begun::Session { ended })
        })
        .await
    }

    /// Redeems a code, and gives its session a first refresh token and its full lifetime. Only one
    /// caller ever gets it.
    pub(crate) async fn redeem_code(
        &self,
        digest: Digest,
        presented: Presented,
        token: RefreshToken,
        now: Seconds,
    ) -> Result<RedeemedCode, StoreError> {
        self.run_without_deadline(move |tx| {
            let Some(code) = take_code(tx, digest)? else {
                return replayed(tx, digest);
            };
            tx.execute(
                "INSERT INTO spent_codes (digest, session, expires_at) VALUES (?1, ?2, ?3)",
                (digest, &code.session, now + REPLAY_KNOWN),
            )?;
            let session = find_session(tx, &code.session, now)?;
            let Some(session) = session.filter(|_| code.expires_at > now) else {
                return Ok(RedeemedCode::Unknown);
            };
            if let Err(misfit) = presented.fits(&code, &session) {
                end(tx, &code.session)?;
                return Ok(RedeemedCode::Refused(code.session, misfit));
            }
            prolong(tx, &session.id, token.expires_at)?;
            insert_token(tx, &session.id, &token)?;
            record_use(tx, &session.id, now)?;
            Ok(RedeemedCode::Granted {
                session: session.id,
                scopes: session.scopes,
            })
        })
        .await
    }

    pub(crate) async fn session(
        &self,
        id: &str,
        now: Seconds,
    ) -> Result<Option<Session>, StoreError> {
        let id = id.to_owned();
        self.run(move |tx| find_session(tx, &id, now)).await
    }

    /// Returns the session a refresh token belongs to, spent or not.
    pub(crate) async fn session_of_refresh_token(
        &self,
        digest: Digest,
        now: Seconds,
    ) -> Result<Option<String>, StoreError> {
        self.run(move |tx| {
            tx.query_row(
                "SELECT session FROM refresh_tokens WHERE digest = ?1 AND expires_at > ?2",
                (digest, now),
                |row| row.get(0),
            )
            .optional()
        })
        .await
    }

    /// Spends a refresh token for `next`.
    pub(crate) async fn rotate(
        &self,
        spent: SpentRefreshToken,
        next: RefreshToken,
        now: Seconds,
    ) -> Result<Rotation, StoreError> {
        self.run_without_deadline(move |tx| {
            let first = tx.execute(
                "UPDATE refresh_tokens SET spent_at = ?3, successor = ?4, sealed = ?5
                 WHERE digest = ?1 AND session = ?2 AND spent_at IS NULL AND expires_at > ?3",
                (spent.digest, &spent.session, now, next.digest, &next.sealed),
            )? > 0;
            if !first {
                return repeated(tx, &spent, now);
            }
            prolong(tx, &spent.session, next.expires_at)?;
            insert_token(tx, &spent.session, &next)?;
            record_use(tx, &spent.session, now)?;
            Ok(Rotation::Rotated)
        })
        .await
    }

    /// Stores the tokens of a refresh at Entra, with their expiry and when to refresh them. Returns
    /// false if the session ended meanwhile.
    pub(crate) async fn keep_provider_tokens(
        &self,
        session: String,
        sealed: String,
        (expires_at, refresh_at): (Seconds, Seconds),
    ) -> Result<bool, StoreError> {
        self.run(move |tx| {
            let changed = tx.execute(
                "UPDATE sessions
                 SET upstream = ?2, upstream_expires_at = ?3, upstream_renew_at = ?4
                 WHERE id = ?1",
                (session, sealed, expires_at, refresh_at),
            )?;
            Ok(changed > 0)
        })
        .await
    }

    /// Ends a session with all that belongs to it.
    pub(crate) async fn end_session(&self, id: String) -> Result<(), StoreError> {
        self.run_without_deadline(move |tx| end(tx, &id)).await
    }
}

impl Presented {
    /// Checks that the parameters match the request of the code.
    fn fits(&self, code: &Code, session: &Session) -> Result<(), Misfit> {
        let challenge = self.challenge.as_deref().unwrap_or_default();
        let is_proven: bool = challenge.as_bytes().ct_eq(code.challenge.as_bytes()).into();
        let redirect = self.redirect_uri.as_ref();
        let is_own = self.client == code.client
            && redirect.is_none_or(|redirect| *redirect == code.redirect_uri);
        if !(is_proven && is_own) {
            return Err(Misfit::Client);
        }
        let server = self.server.as_ref();
        match server.is_none_or(|server| *server == session.server) {
            true => Ok(()),
            false => Err(Misfit::Server),
        }
    }
}

fn find_session(tx: &Transaction<'_>, id: &str, now: Seconds) -> rusqlite::Result<Option<Session>> {
    tx.query_row(
        "SELECT sessions.id, consent, profile, client, server, scopes, upstream,
                upstream_expires_at, expires_at, upstream_renew_at
         FROM sessions JOIN people ON people.id = sessions.person
         WHERE sessions.id = ?1 AND expires_at > ?2",
        (id, now),
        read_session,
    )
    .optional()
}

fn take_code(tx: &Transaction<'_>, digest: Digest) -> rusqlite::Result<Option<Code>> {
    tx.query_row(
        "DELETE FROM codes WHERE digest = ?1
         RETURNING session, client, redirect_uri, challenge, expires_at",
        [digest],
        |row| {
            Ok(Code {
                digest,
                session: row.get(0)?,
                client: row.get(1)?,
                redirect_uri: row.get(2)?,
                challenge: row.get(3)?,
                expires_at: row.get(4)?,
            })
        },
    )
    .optional()
}

fn replayed(tx: &Transaction<'_>, digest: Digest) -> rusqlite::Result<RedeemedCode> {
    let session: Option<String> = tx
        .query_row(
            "SELECT session FROM spent_codes WHERE digest = ?1",
            [digest],
            |row| row.get(0),
        )
        .optional()?;
    let Some(session) = session else {
        return Ok(RedeemedCode::Unknown);
    };
    end(tx, &session)?;
    Ok(RedeemedCode::Replayed(session))
}

fn repeated(
    tx: &Transaction<'_>,
    spent: &SpentRefreshToken,
    now: Seconds,
) -> rusqlite::Result<Rotation> {
    let found: Option<(Option<Seconds>, Option<String>, bool)> = tx
        .query_row(
            "SELECT old.spent_at, old.sealed, next.digest IS NOT NULL AND next.spent_at IS NULL
             FROM refresh_tokens AS old
             LEFT JOIN refresh_tokens AS next ON next.digest = old.successor
             WHERE old.digest = ?1 AND old.session = ?2",
            (spent.digest, &spent.session),
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    Ok(match found {
        Some((Some(at), Some(sealed), true)) if now <= at + GRACE => Rotation::Repeated(sealed),
        Some((Some(_), _, _)) => {
            end(tx, &spent.session)?;
            Rotation::Reused
        }
        Some((None, _, _)) | None => Rotation::Gone,
    })
}

fn insert_session(tx: &Transaction<'_>, session: &Session) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO sessions (id, consent, person, client, server, scopes, upstream,
                               upstream_expires_at, expires_at, upstream_renew_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            &session.id,
            &session.consent,
            session.user.id(),
            &session.client,
            session.server.as_str(),
            session.scopes.to_string(),
            &session.provider_tokens,
            session.provider_expires_at,
            session.expires_at,
            session.provider_refresh_at,
        ),
    )
    .map(drop)
}

/// Ends sessions of a user with too many. Returns their ids. Sessions with a code that may still be
/// redeemed stay.
fn end_surplus(tx: &Transaction<'_>, user: &str, now: Seconds) -> rusqlite::Result<Vec<String>> {
    let number: u64 = tx.query_row(
        "SELECT count(*) FROM sessions WHERE person = ?1",
        [user],
        |row| row.get(0),
    )?;
    let surplus = (number + 1).saturating_sub(MAX_SESSIONS_PER_USER);
    let surplus = surplus.min(ENDED_AT_ONCE);
    if surplus == 0 {
        return Ok(Vec::new());
    }
    let mut oldest = tx.prepare_cached(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions
             WHERE person = ?1
               AND NOT EXISTS (SELECT 1 FROM codes WHERE session = sessions.id AND expires_at > ?3)
             ORDER BY expires_at LIMIT ?2)
         RETURNING id",
    )?;
    let ended = oldest.query_map((user, surplus, now), |row| row.get(0))?;
    ended.collect()
}

/// Records that a client got a token.
fn record_use(tx: &Transaction<'_>, session: &str, now: Seconds) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE clients SET used_at = ?2, seen_at = ?2
         WHERE id = (SELECT client FROM sessions WHERE id = ?1)",
        (session, now),
    )
    .map(drop)
}

fn end(tx: &Transaction<'_>, session: &str) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM sessions WHERE id = ?1", [session])
        .map(drop)
}

fn prolong(tx: &Transaction<'_>, session: &str, until: Seconds) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE sessions SET expires_at = ?2 WHERE id = ?1",
        (session, until),
    )
    .map(drop)
}

fn insert_token(tx: &Transaction<'_>, session: &str, token: &RefreshToken) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO refresh_tokens (digest, session, client, expires_at)
         SELECT ?1, id, client, ?3 FROM sessions WHERE id = ?2",
        (token.digest, session, token.expires_at),
    )
    .map(drop)
}

fn read_session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let text = |column: usize| row.get::<_, String>(column);
    let unreadable = |column: usize, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    Ok(Session {
        id: text(0)?,
        consent: text(1)?,
        user: User::from_json(&text(2)?).map_err(|error| unreadable(2, error.into()))?,
        client: text(3)?,
        server: text(4)?
            .parse()
            .map_err(|error: model::NameError| unreadable(4, error.into()))?,
        scopes: Scopes::from_words(&text(5)?),
        provider_tokens: text(6)?,
        provider_expires_at: row.get(7)?,
        expires_at: row.get(8)?,
        provider_refresh_at: row.get(9)?,
    })
}
