-- A request waits in the form of its page now, and a sign-in in a cookie of the browser.
DROP TABLE authorization_requests;
DROP TABLE sign_ins;
DROP TABLE row_counts;
DROP TRIGGER client_counted;
DROP TRIGGER client_uncounted;

-- How many rows the tables have whose number is limited: to count them reads an index to its end.
CREATE TABLE row_counts (
    name   TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT;

-- Sign-ins that are too long for a cookie.
CREATE TABLE sign_ins (
    digest     BLOB PRIMARY KEY, -- of the state sent to Entra
    browser    BLOB NOT NULL,    -- digest of the browser's id
    network    TEXT NOT NULL,    -- that the browser is in
    sealed     TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_ins_by_end ON sign_ins (expires_at);
CREATE INDEX sign_ins_by_network ON sign_ins (network, expires_at);

-- How many of them each network has: the one with most makes room.
CREATE TABLE sign_in_networks (
    network TEXT PRIMARY KEY,
    number  INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_in_networks_by_number ON sign_in_networks (number);
INSERT INTO row_counts VALUES ('sign_ins', 0);
CREATE TRIGGER sign_in_counted AFTER INSERT ON sign_ins
BEGIN
    UPDATE row_counts SET number = number + 1 WHERE name = 'sign_ins';
    INSERT INTO sign_in_networks VALUES (new.network, 1)
        ON CONFLICT (network) DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER sign_in_uncounted AFTER DELETE ON sign_ins
BEGIN
    UPDATE row_counts SET number = number - 1 WHERE name = 'sign_ins';
    UPDATE sign_in_networks SET number = number - 1 WHERE network = old.network;
    DELETE FROM sign_in_networks WHERE network = old.network AND number = 0;
END;

-- Transactions that brought a code, until every form and cookie of them has expired.
CREATE TABLE spent_transactions (
    id         TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX spent_transactions_by_end ON spent_transactions (expires_at);

-- Clients that registered with the same metadata are one. Those of before stay as they are.
ALTER TABLE clients ADD COLUMN fingerprint BLOB;  -- SHA-256 of the metadata
-- When it last registered or was given a token.
ALTER TABLE clients ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX clients_by_fingerprint ON clients (fingerprint);

-- A client is in use, and `used_at` says since when a token was last given to it, until the last consent
-- to it ends. The others make room, those first that were not seen for longest.
UPDATE clients SET used_at = NULL
    WHERE NOT EXISTS (SELECT 1 FROM consents WHERE client = clients.id);
UPDATE clients SET seen_at = max(registered_at, ifnull(used_at, 0));
CREATE TRIGGER client_without_consent_is_unused AFTER DELETE ON consents
WHEN NOT EXISTS (SELECT 1 FROM consents WHERE client = old.client)
BEGIN UPDATE clients SET used_at = NULL WHERE id = old.client; END;
DROP INDEX clients_by_use;
DROP INDEX unused_clients_by_age;
CREATE INDEX unused_clients ON clients (seen_at) WHERE used_at IS NULL;
INSERT INTO row_counts VALUES
    ('unused_clients', (SELECT count(*) FROM clients WHERE used_at IS NULL));
CREATE TRIGGER unused_client_added AFTER INSERT ON clients WHEN new.used_at IS NULL
BEGIN UPDATE row_counts SET number = number + 1 WHERE name = 'unused_clients'; END;
CREATE TRIGGER unused_client_removed AFTER DELETE ON clients WHEN old.used_at IS NULL
BEGIN UPDATE row_counts SET number = number - 1 WHERE name = 'unused_clients'; END;
CREATE TRIGGER client_is_used AFTER UPDATE OF used_at ON clients
WHEN old.used_at IS NULL AND new.used_at IS NOT NULL
BEGIN UPDATE row_counts SET number = number - 1 WHERE name = 'unused_clients'; END;
CREATE TRIGGER client_is_unused AFTER UPDATE OF used_at ON clients
WHEN old.used_at IS NOT NULL AND new.used_at IS NULL
BEGIN UPDATE row_counts SET number = number + 1 WHERE name = 'unused_clients'; END;

-- Of the sessions of one person those make room that were not renewed for longest.
DROP INDEX sessions_by_person;
CREATE INDEX sessions_by_person ON sessions (person, expires_at);
