-- Each column that names a row of another table has an index: without one, the removal of that row
-- reads this whole table.
CREATE INDEX consents_by_client ON consents (client);
CREATE INDEX sessions_by_client ON sessions (client);
CREATE INDEX sessions_by_person ON sessions (person);
CREATE INDEX codes_by_session ON codes (session);

-- What has expired is removed a few rows at a time, the oldest first.
CREATE INDEX consents_by_end ON consents (expires_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX codes_by_end ON codes (expires_at);
CREATE INDEX spent_codes_by_end ON spent_codes (expires_at);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);
CREATE INDEX clients_by_use ON clients (used_at);
DROP INDEX clients_by_age;
CREATE INDEX unused_clients_by_age ON clients (registered_at) WHERE used_at IS NULL;

-- A sealed successor is needed for a moment after its token was spent.
CREATE INDEX refresh_tokens_by_use ON refresh_tokens (spent_at) WHERE sealed IS NOT NULL;

-- A person is known for as long as a consent of theirs is.
DELETE FROM people WHERE NOT EXISTS (SELECT 1 FROM consents WHERE person = people.id);
CREATE TRIGGER forget_person_without_consent AFTER DELETE ON consents
WHEN NOT EXISTS (SELECT 1 FROM consents WHERE person = old.person)
BEGIN
    DELETE FROM people WHERE id = old.person;
END;

-- How many rows the tables have whose number is limited: to count them reads an index to its end.
CREATE TABLE row_counts (
    name   TEXT PRIMARY KEY, -- of the table
    number INTEGER NOT NULL
) STRICT;
INSERT INTO row_counts VALUES
    ('clients', (SELECT count(*) FROM clients)),
    ('authorization_requests', (SELECT count(*) FROM authorization_requests)),
    ('sign_ins', (SELECT count(*) FROM sign_ins));
CREATE TRIGGER client_counted AFTER INSERT ON clients
BEGIN UPDATE row_counts SET number = number + 1 WHERE name = 'clients'; END;
CREATE TRIGGER client_uncounted AFTER DELETE ON clients
BEGIN UPDATE row_counts SET number = number - 1 WHERE name = 'clients'; END;
CREATE TRIGGER request_counted AFTER INSERT ON authorization_requests
BEGIN UPDATE row_counts SET number = number + 1 WHERE name = 'authorization_requests'; END;
CREATE TRIGGER request_uncounted AFTER DELETE ON authorization_requests
BEGIN UPDATE row_counts SET number = number - 1 WHERE name = 'authorization_requests'; END;
CREATE TRIGGER sign_in_counted AFTER INSERT ON sign_ins
BEGIN UPDATE row_counts SET number = number + 1 WHERE name = 'sign_ins'; END;
CREATE TRIGGER sign_in_uncounted AFTER DELETE ON sign_ins
BEGIN UPDATE row_counts SET number = number - 1 WHERE name = 'sign_ins'; END;
