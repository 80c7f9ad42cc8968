-- The registry's tables in the town's state file (migration 1). Never edit a released migration: add the next one.

-- Counters by which another process on the same file (a command of the CLI beside the running hub) is noticed.
CREATE TABLE versions (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    town     INTEGER NOT NULL,  -- counts changes of assets, devices, zones and their secrets, from 1
    accounts INTEGER NOT NULL   -- counts changes of users, sessions and tokens
) STRICT;
INSERT INTO versions (id, town, accounts) VALUES (1, 1, 1);

CREATE TABLE zones (
    id       TEXT PRIMARY KEY,
    name_zh  TEXT NOT NULL,
    name_en  TEXT NOT NULL,
    geometry TEXT NOT NULL      -- GeoJSON MultiPolygon, WGS-84
) STRICT, WITHOUT ROWID;

CREATE TABLE assets (
    -- AUTOINCREMENT: a number is kept for life and never given to another asset.
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    name_zh    TEXT NOT NULL,
    name_en    TEXT NOT NULL,
    -- Only a zone that was given by name; the one that contains the asset is worked out, not stored.
    zone       TEXT REFERENCES zones (id),
    -- Deferred: in an import a bay may stand before its lot.
    parent     TEXT REFERENCES assets (id) DEFERRABLE INITIALLY DEFERRED,
    geometry   TEXT NOT NULL,   -- GeoJSON geometry, WGS-84
    properties TEXT NOT NULL    -- JSON object
) STRICT;

CREATE TABLE devices (
    id              TEXT PRIMARY KEY,
    name_zh         TEXT NOT NULL,
    name_en         TEXT NOT NULL,
    profile         TEXT NOT NULL,
    asset           TEXT REFERENCES assets (id),
    modbus_endpoint TEXT,
    modbus_unit     INTEGER,
    secret          BLOB NOT NULL, -- 16 bytes of salt, then SHA-256 of salt and secret
    CHECK ((modbus_endpoint IS NULL) = (modbus_unit IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE service_accounts (
    name      TEXT PRIMARY KEY,
    publish   TEXT NOT NULL,    -- JSON array of topic filters
    subscribe TEXT NOT NULL,    -- JSON array of topic filters
    secret    BLOB NOT NULL     -- as for devices
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL,
    password   TEXT NOT NULL,   -- argon2id, PHC string
    created_at INTEGER NOT NULL -- microseconds since 1970, as every time in this file
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY, -- SHA-256 of the cookie's value
    user       TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user, expires_at);

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       BLOB NOT NULL UNIQUE, -- SHA-256 of the token
    user       TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    label      TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
