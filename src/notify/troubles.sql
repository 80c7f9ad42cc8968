-- The notify room follows the log of the hub's own troubles too.

ALTER TABLE notify_progress ADD COLUMN trouble_seq INTEGER NOT NULL DEFAULT 0;

-- The same table, in which a trouble may wait as well: SQLite cannot change a CHECK.
CREATE TABLE notify_pending_new (
    channel  TEXT    NOT NULL,
    what     TEXT    NOT NULL CHECK (what IN ('alert', 'case', 'trouble')),
    number   INTEGER NOT NULL,
    version  INTEGER NOT NULL,   -- 0 for an alert and a trouble
    event    TEXT    NOT NULL,
    bundle   TEXT    NOT NULL,   -- what is told together
    root     TEXT    NOT NULL,
    severity INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    PRIMARY KEY (channel, what, number, version)
) STRICT, WITHOUT ROWID;
INSERT INTO notify_pending_new (channel, what, number, version, event, bundle, root, severity, since)
SELECT channel, what, number, version, event, bundle, root, severity, since FROM notify_pending;
DROP TABLE notify_pending;
ALTER TABLE notify_pending_new RENAME TO notify_pending;

-- Troubles that a channel was told of and that are not over: it hears of their end.
CREATE TABLE notify_told_trouble (
    channel  TEXT    NOT NULL,
    trouble  INTEGER NOT NULL,
    severity INTEGER NOT NULL,   -- the rank that was told
    PRIMARY KEY (channel, trouble)
) STRICT, WITHOUT ROWID;
