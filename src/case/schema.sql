-- Tables of the case room, a step in the migrations of the town's state file.
-- Times are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE unit (
    id      TEXT PRIMARY KEY,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    zones   TEXT NOT NULL,  -- JSON array of zone ids; empty is every zone
    kinds   TEXT NOT NULL,  -- JSON array of asset kinds; empty is every kind
    members TEXT NOT NULL,  -- JSON array of login names, the first is told first
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The log: what a case is follows from its events, and from nothing else.
CREATE TABLE case_event (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id  INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    actor    TEXT,
    note     TEXT,
    what     TEXT NOT NULL,
    happened TEXT NOT NULL,   -- JSON: what happened, with all that it says
    UNIQUE (case_id, version)
) STRICT;

CREATE TRIGGER case_event_is_never_changed BEFORE UPDATE ON case_event
BEGIN SELECT RAISE(ABORT, 'case_event is append-only'); END;
CREATE TRIGGER case_event_is_never_deleted BEFORE DELETE ON case_event
BEGIN SELECT RAISE(ABORT, 'case_event is append-only'); END;
CREATE INDEX case_event_by_time ON case_event (at);

-- A copy of what the log tells, for lists.
CREATE TABLE town_case (
    id          INTEGER PRIMARY KEY,
    version     INTEGER NOT NULL,
    root        TEXT    NOT NULL,   -- asset:ID or device:ID, or case:ID when it has neither
    stage       TEXT    NOT NULL,
    severity    INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 4),  -- the rank: 1 critical .. 4 info
    zone        TEXT,
    asset       TEXT,
    kind        TEXT,
    unit        TEXT,
    overdue     TEXT,
    opened_at   INTEGER NOT NULL,
    closed_at   INTEGER,
    due_at      INTEGER,
    state       TEXT    NOT NULL,   -- JSON of the whole case
    is_open     INTEGER GENERATED ALWAYS AS (closed_at IS NULL) STORED
) STRICT;

-- One open case for each root: what comes twice from one cause is one case, whatever crashes.
CREATE UNIQUE INDEX case_open_root ON town_case (root) WHERE is_open = 1;
CREATE INDEX case_by_asset  ON town_case (asset, id);
CREATE INDEX case_by_zone   ON town_case (zone, id);
CREATE INDEX case_by_closed ON town_case (root, closed_at);

-- Which case an alert belongs to.
CREATE TABLE case_alert (
    alert   INTEGER PRIMARY KEY,
    case_id INTEGER NOT NULL REFERENCES town_case (id)
) STRICT;

CREATE TABLE case_photo (
    name    TEXT PRIMARY KEY,     -- SHA-256 of the bytes, with the type's extension
    case_id INTEGER NOT NULL REFERENCES town_case (id),
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    type    TEXT    NOT NULL,
    bytes   BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- How far the alerts' log has been followed.
CREATE TABLE case_progress (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    alert_seq INTEGER NOT NULL,
    next_case INTEGER NOT NULL
) STRICT;
INSERT INTO case_progress (one, alert_seq, next_case) VALUES (1, 0, 1);
