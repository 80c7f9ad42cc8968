-- What is silenced: shelves and out-of-service marks of rules, and maintenance windows.
-- They outlive the alerts that they were put on. A metric of '' is none; a name of '' in alert_out_of_service is the whole
-- device. Times are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE alert_shelf (
    device TEXT    NOT NULL,
    metric TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    by     TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (device, metric, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE alert_out_of_service (
    device TEXT    NOT NULL,
    metric TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    by     TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (device, metric, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE maintenance (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    zone      TEXT,
    asset     TEXT,
    device    TEXT,
    begins_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL,
    reason    TEXT    NOT NULL,
    by        TEXT    NOT NULL,
    made_at   INTEGER NOT NULL,
    -- Set when it was ended before its time.
    ended_by  TEXT,
    ended_at  INTEGER,
    CHECK ((zone IS NOT NULL) + (asset IS NOT NULL) + (device IS NOT NULL) = 1)
) STRICT;
