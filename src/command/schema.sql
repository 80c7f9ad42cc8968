-- Tables of the command room, a step in the migrations of the town's state file.
-- Times are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE command (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    version   INTEGER NOT NULL,
    device    TEXT    NOT NULL,
    asset     TEXT,
    emergency INTEGER NOT NULL CHECK (emergency IN (0, 1)),
    state     TEXT    NOT NULL,
    nonce     BLOB    NOT NULL, -- what the challenges are made with
    body      TEXT    NOT NULL, -- the command as people see it, JSON
    open      INTEGER GENERATED ALWAYS AS (state IN ('selected', 'confirmed', 'executing')) STORED
) STRICT;

-- One at a time per device, whatever the program does.
CREATE UNIQUE INDEX command_one_per_device ON command (device) WHERE open = 1 AND emergency = 0;
CREATE INDEX command_open      ON command (id) WHERE open = 1;
CREATE INDEX command_by_device ON command (device, id);
CREATE INDEX command_by_asset  ON command (asset, id);

-- One row per step; the key makes a repeated one impossible.
CREATE TABLE command_event (
    command INTEGER NOT NULL REFERENCES command (id),
    version INTEGER NOT NULL,
    what    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    cause   TEXT,
    PRIMARY KEY (command, version)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER command_event_is_never_changed BEFORE UPDATE ON command_event
BEGIN SELECT RAISE(ABORT, 'command_event is append-only'); END;
CREATE TRIGGER command_event_is_never_deleted BEFORE DELETE ON command_event
BEGIN SELECT RAISE(ABORT, 'command_event is append-only'); END;

-- Messages that wait until their device has taken them.
CREATE TABLE command_outbox (
    command    INTEGER PRIMARY KEY REFERENCES command (id),
    device     TEXT    NOT NULL,
    payload    BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX command_outbox_by_device ON command_outbox (device, command);
