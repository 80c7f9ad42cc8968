-- Gateways, rotation of secrets, and devices that register themselves.

-- The device that may publish for this one, and what it calls it (NULL: its id). That a name is given once at each
-- gateway is checked on the way in: an import may swap two of them, which a unique index would refuse half-way.
ALTER TABLE devices ADD COLUMN gateway TEXT REFERENCES devices (id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devices ADD COLUMN address TEXT;

-- The secret before the present one, while it still opens the door.
ALTER TABLE devices ADD COLUMN former_secret BLOB;
ALTER TABLE devices ADD COLUMN former_until INTEGER;

CREATE TABLE enrolments (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    hash        BLOB NOT NULL UNIQUE, -- SHA-256 of the key
    label       TEXT NOT NULL,
    profile     TEXT,                 -- the profile of the devices that it brings, unless the approval says another
    zone        TEXT REFERENCES zones (id),
    max_devices INTEGER NOT NULL,
    used        INTEGER NOT NULL,     -- how many devices it has brought
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;

CREATE TABLE waiting_devices (
    id          TEXT PRIMARY KEY,
    enrolment   INTEGER NOT NULL REFERENCES enrolments (id),
    secret      BLOB NOT NULL,        -- as for devices: what it chose itself
    peer        TEXT NOT NULL,        -- where it came from first
    since       INTEGER NOT NULL,
    rejected_at INTEGER
) STRICT, WITHOUT ROWID;
