-- Times are seconds since 1970. `digest` is the SHA-256 of a secret that the store never sees.
-- `sealed` is AES-256-GCM under a key that is not in this file.

CREATE TABLE clients (
    id            TEXT PRIMARY KEY,
    name          TEXT,
    website       TEXT,
    redirect_uris TEXT NOT NULL, -- a JSON array
    registered_at INTEGER NOT NULL,
    used_at       INTEGER        -- when it last got a session
) STRICT;

CREATE TABLE people (
    id      TEXT PRIMARY KEY,    -- {tenant}.{object id}
    profile TEXT NOT NULL        -- JSON
) STRICT;

CREATE TABLE authorization_requests (
    digest     BLOB PRIMARY KEY,
    browser    BLOB NOT NULL,    -- digest of the browser's id
    sealed     TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sign_ins (
    digest     BLOB PRIMARY KEY, -- of the state sent to Entra
    approval   BLOB NOT NULL,    -- digest of the approving browser's id
    sealed     TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE consents (
    id         TEXT PRIMARY KEY,
    person     TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    client     TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    redirect   TEXT NOT NULL,    -- as registered
    server     TEXT NOT NULL,
    scopes     TEXT NOT NULL,    -- separated by spaces
    granted_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (person, client, redirect, server)
) STRICT;

CREATE TABLE sessions (
    id                  TEXT PRIMARY KEY,
    consent             TEXT NOT NULL REFERENCES consents (id) ON DELETE CASCADE,
    person              TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    client              TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    server              TEXT NOT NULL,
    scopes              TEXT NOT NULL,
    upstream            TEXT NOT NULL, -- sealed
    upstream_expires_at INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_consent ON sessions (consent);

CREATE TABLE codes (
    digest       BLOB PRIMARY KEY,
    session      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    client       TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,  -- as asked for
    challenge    TEXT NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

-- What a replayed code would have opened.
CREATE TABLE spent_codes (
    digest     BLOB PRIMARY KEY,
    session    TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE refresh_tokens (
    digest     BLOB PRIMARY KEY,
    session    TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    client     TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    spent_at   INTEGER,
    successor  BLOB,             -- digest
    sealed     TEXT              -- the successor, for a reply that was lost
) STRICT;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session);
