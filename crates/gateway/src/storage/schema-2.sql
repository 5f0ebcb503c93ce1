-- What a limited number of rows is kept of makes room oldest first.
CREATE INDEX authorization_requests_by_end ON authorization_requests (expires_at);
CREATE INDEX sign_ins_by_end ON sign_ins (expires_at);
CREATE INDEX clients_by_age ON clients (registered_at);
