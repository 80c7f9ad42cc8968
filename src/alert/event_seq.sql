-- The log of alerts gets a number of its own, so that the case room can follow it: "everything after N".

CREATE TABLE alert_event_numbered (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    alert   INTEGER NOT NULL REFERENCES alert (id),
    version INTEGER NOT NULL,
    what    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT,
    note    TEXT,
    UNIQUE (alert, version)
) STRICT;

INSERT INTO alert_event_numbered (alert, version, what, at, actor, note)
SELECT alert, version, what, at, actor, note FROM alert_event ORDER BY at, alert, version;

DROP TABLE alert_event;
ALTER TABLE alert_event_numbered RENAME TO alert_event;
CREATE INDEX alert_event_by_time ON alert_event (at);

CREATE TRIGGER alert_event_is_never_changed BEFORE UPDATE ON alert_event
BEGIN SELECT RAISE(ABORT, 'alert_event is append-only'); END;
CREATE TRIGGER alert_event_is_never_deleted BEFORE DELETE ON alert_event
BEGIN SELECT RAISE(ABORT, 'alert_event is append-only'); END;
