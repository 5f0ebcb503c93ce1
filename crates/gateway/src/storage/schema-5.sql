-- From when on the tokens of Entra are renewed: those that live for minutes only a part of their life
-- before they end.
ALTER TABLE sessions ADD COLUMN upstream_renew_at INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET upstream_renew_at = max(0, upstream_expires_at - 300);
