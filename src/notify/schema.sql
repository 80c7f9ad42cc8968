-- Tables of the notify room, a step in the migrations of the town's state file.
-- Times are microseconds since 1970-01-01T00:00:00Z.

-- How far the logs of alerts and cases have been followed, and the name that this town's messages carry.
CREATE TABLE notify_progress (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    alert_seq INTEGER NOT NULL,
    case_seq  INTEGER NOT NULL,
    town_key  TEXT    NOT NULL
) STRICT;
INSERT INTO notify_progress (one, alert_seq, case_seq, town_key)
VALUES (1, (SELECT coalesce(max(seq), 0) FROM alert_event), (SELECT coalesce(max(seq), 0) FROM case_event),
        lower(hex(randomblob(8))));

-- The channels of the last run, and how each is.
CREATE TABLE notify_channel (
    name       TEXT PRIMARY KEY,
    merged_at  INTEGER,          -- its last merged message
    hold_until INTEGER,          -- throttled by its service until then
    sent_at    INTEGER,          -- the last success
    failed_at  INTEGER,          -- the last failure, and what it said
    error      TEXT
) STRICT, WITHOUT ROWID;

-- What waits to be told: an alert stands here once at most, a case's event is its version.
CREATE TABLE notify_pending (
    channel  TEXT    NOT NULL,
    what     TEXT    NOT NULL CHECK (what IN ('alert', 'case')),
    number   INTEGER NOT NULL,
    version  INTEGER NOT NULL,   -- 0 for an alert
    event    TEXT    NOT NULL,
    bundle   TEXT    NOT NULL,   -- what is told together
    root     TEXT    NOT NULL,
    severity INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    PRIMARY KEY (channel, what, number, version)
) STRICT, WITHOUT ROWID;

-- Open alerts that a channel was told of, and when it is told again.
CREATE TABLE notify_told (
    channel   TEXT    NOT NULL,
    alert     INTEGER NOT NULL,
    repeats   INTEGER NOT NULL,
    repeat_at INTEGER,
    PRIMARY KEY (channel, alert)
) STRICT, WITHOUT ROWID;

-- When a bundle was told last.
CREATE TABLE notify_bundle (
    channel TEXT    NOT NULL,
    bundle  TEXT    NOT NULL,
    told_at INTEGER NOT NULL,
    PRIMARY KEY (channel, bundle)
) STRICT, WITHOUT ROWID;

-- The outbox.
CREATE TABLE notify_message (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    channel    TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'sending', 'sent', 'failed')),
    severity   INTEGER NOT NULL,  -- the rank of its worst
    merged     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    give_up_at INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    sent_at    INTEGER,
    error      TEXT,              -- what the last attempt said
    answer     TEXT,              -- what the receiver wanted, and what became of it
    notice     TEXT    NOT NULL   -- JSON: what is told
) STRICT;
CREATE INDEX notify_message_unsent ON notify_message (channel, id) WHERE state IN ('waiting', 'sending');
CREATE INDEX notify_message_by_state ON notify_message (state, id);
CREATE INDEX notify_message_by_time ON notify_message (created_at);

-- Everything that a message tells of, also what its text only counts.
CREATE TABLE notify_mention (
    message INTEGER NOT NULL REFERENCES notify_message (id) ON DELETE CASCADE,
    what    TEXT    NOT NULL,
    number  INTEGER NOT NULL,
    PRIMARY KEY (what, number, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX notify_mention_by_message ON notify_mention (message);

-- When each attempt ended (begun and never ended: the hub was killed): a service's limit is kept over a restart too.
CREATE TABLE notify_attempt (
    channel TEXT    NOT NULL,
    message INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    ended   INTEGER,
    PRIMARY KEY (channel, message, attempt)
) STRICT, WITHOUT ROWID;
