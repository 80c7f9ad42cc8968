-- Roles, zones and the life of accounts, a step in the migrations of the town's state file.

ALTER TABLE users ADD COLUMN zones TEXT;              -- JSON array of zone ids; null: the whole town
ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1));
-- Somebody else knows the password: a session may only choose a new one.
ALTER TABLE users ADD COLUMN must_change INTEGER NOT NULL DEFAULT 0 CHECK (must_change IN (0, 1));

ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT ''; -- the browser, as it calls itself

ALTER TABLE tokens ADD COLUMN scope TEXT;             -- JSON array of rights; null: all that its user has
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;     -- null: never, for tokens from before this step
ALTER TABLE tokens ADD COLUMN used_at INTEGER;
