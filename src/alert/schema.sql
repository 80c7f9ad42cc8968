-- Tables of the alert room, a step in the migrations of the town's state file.
-- Times are microseconds since 1970-01-01T00:00:00Z. A metric of '' is the device's own silence.

CREATE TABLE alert (
    id              INTEGER PRIMARY KEY,
    version         INTEGER NOT NULL,
    device          TEXT    NOT NULL,
    metric          TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    asset           TEXT,
    asset_number    INTEGER,
    severity        INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 4), -- the rank: 1 critical .. 4 info
    text_zh         TEXT    NOT NULL,
    text_en         TEXT    NOT NULL,
    value           REAL,
    peak            REAL,
    limit_value     REAL,
    clear_value     REAL,
    unit            TEXT    NOT NULL,
    active          INTEGER NOT NULL CHECK (active IN (0, 1)),
    since           INTEGER NOT NULL,
    raised_at       INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    note            TEXT,
    cleared_at      INTEGER,
    open            INTEGER GENERATED ALWAYS AS (active = 1 OR acknowledged_at IS NULL) STORED
) STRICT;

CREATE INDEX alert_open        ON alert (id) WHERE open = 1;
CREATE INDEX alert_by_asset    ON alert (asset, id);
CREATE INDEX alert_by_device   ON alert (device, id);
CREATE INDEX alert_by_severity ON alert (severity, id);

-- One row per version of an alert; the key makes a repeated event impossible.
CREATE TABLE alert_event (
    alert   INTEGER NOT NULL REFERENCES alert (id),
    version INTEGER NOT NULL,
    what    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT,
    note    TEXT,
    PRIMARY KEY (alert, version)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER alert_event_is_never_changed BEFORE UPDATE ON alert_event
BEGIN SELECT RAISE(ABORT, 'alert_event is append-only'); END;
CREATE TRIGGER alert_event_is_never_deleted BEFORE DELETE ON alert_event
BEGIN SELECT RAISE(ABORT, 'alert_event is append-only'); END;

-- Delays that are running. An active condition without one is just its active alert; a normal one has no row.
CREATE TABLE alert_condition (
    device TEXT    NOT NULL,
    metric TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    state  TEXT    NOT NULL CHECK (state IN ('pending', 'returning')),
    since  INTEGER NOT NULL,
    value  REAL,
    peak   REAL,
    PRIMARY KEY (device, metric, name)
) STRICT, WITHOUT ROWID;

-- The time of the last reading that was judged, 512 series to a row, 8 bytes little-endian each.
CREATE TABLE alert_news (
    chunk INTEGER PRIMARY KEY,
    times BLOB NOT NULL
) STRICT;

-- How far the judgement on disk has come, in store commits: see the room's header.
CREATE TABLE alert_progress (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    judged      INTEGER NOT NULL,
    replay_from INTEGER NOT NULL,
    next_alert  INTEGER NOT NULL
) STRICT;
INSERT INTO alert_progress (one, judged, replay_from, next_alert) VALUES (1, 0, 0, 1);
