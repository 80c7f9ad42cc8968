-- Alerts that go up and down a ladder, chatter, and are put aside.

ALTER TABLE alert ADD COLUMN worst          INTEGER NOT NULL DEFAULT 4 CHECK (worst BETWEEN 1 AND 4);
ALTER TABLE alert ADD COLUMN chattering     INTEGER NOT NULL DEFAULT 0 CHECK (chattering IN (0, 1));
ALTER TABLE alert ADD COLUMN first_in_group INTEGER NOT NULL DEFAULT 0 CHECK (first_in_group IN (0, 1));
ALTER TABLE alert ADD COLUMN raised_count   INTEGER NOT NULL DEFAULT 1;
-- JSON; NULL when nothing keeps the alert from ringing.
ALTER TABLE alert ADD COLUMN standing       TEXT;

UPDATE alert SET worst = severity, raised_count = max(1,
    (SELECT count(*) FROM alert_event e WHERE e.alert = alert.id AND e.what IN ('raised', 'raised_again')));

-- The alert after the event: its severity (by rank) and whether it is active; the rest as JSON.
DROP TRIGGER alert_event_is_never_changed;
DROP TRIGGER alert_event_is_never_deleted;
ALTER TABLE alert_event ADD COLUMN severity INTEGER NOT NULL DEFAULT 4 CHECK (severity BETWEEN 1 AND 4);
ALTER TABLE alert_event ADD COLUMN active   INTEGER NOT NULL DEFAULT 0 CHECK (active IN (0, 1));
ALTER TABLE alert_event ADD COLUMN detail   TEXT;

-- Events of before: the last edge at or before an event says whether the alert was active; the severity is that of today.
UPDATE alert_event SET
    severity = (SELECT a.severity FROM alert a WHERE a.id = alert_event.alert),
    active = coalesce((SELECT e.what IN ('raised', 'raised_again') FROM alert_event e
        WHERE e.alert = alert_event.alert AND e.version <= alert_event.version
          AND e.what IN ('raised', 'raised_again', 'returned', 'rule_removed')
        ORDER BY e.version DESC LIMIT 1), 1);

CREATE TRIGGER alert_event_is_never_changed BEFORE UPDATE ON alert_event
BEGIN SELECT RAISE(ABORT, 'alert_event is append-only'); END;
CREATE TRIGGER alert_event_is_never_deleted BEFORE DELETE ON alert_event
BEGIN SELECT RAISE(ABORT, 'alert_event is append-only'); END;

-- A delay belongs to one step of a ladder, named by its severity's rank; 0 is the only step of a rule of before.
CREATE TABLE alert_condition_by_rung (
    device TEXT    NOT NULL,
    metric TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    rung   INTEGER NOT NULL CHECK (rung BETWEEN 0 AND 4),
    state  TEXT    NOT NULL CHECK (state IN ('normal', 'pending', 'active', 'returning')),
    since  INTEGER,
    value  REAL,
    peak   REAL,
    PRIMARY KEY (device, metric, name, rung)
) STRICT, WITHOUT ROWID;

INSERT INTO alert_condition_by_rung (device, metric, name, rung, state, since, value, peak)
SELECT device, metric, name, 0, state, since, value, peak FROM alert_condition;

DROP TABLE alert_condition;
ALTER TABLE alert_condition_by_rung RENAME TO alert_condition;

-- How often a rule was raised of late: JSON of the times.
CREATE TABLE alert_flap (
    device TEXT NOT NULL,
    metric TEXT NOT NULL,
    name   TEXT NOT NULL,
    state  TEXT NOT NULL,
    PRIMARY KEY (device, metric, name)
) STRICT, WITHOUT ROWID;

-- The newest readings of series that flat lines and expressions look at, 512 series to a row.
CREATE TABLE alert_memory (
    chunk   INTEGER PRIMARY KEY,
    entries BLOB NOT NULL
) STRICT;
