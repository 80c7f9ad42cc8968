-- Tables of the trouble room, a step in the migrations of the town's state file.
-- Times are microseconds since 1970-01-01T00:00:00Z.

-- What is, or was, wrong with the hub itself. Its words are made from code, subject and facts when somebody reads them.
CREATE TABLE trouble (
    id        INTEGER PRIMARY KEY,  -- given by the room, which counts on while the disk takes nothing
    code      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,     -- an address, a channel, a file; '' when there is one only
    severity  INTEGER NOT NULL,     -- the rank
    since     INTEGER NOT NULL,
    raised_at INTEGER NOT NULL,
    ended_at  INTEGER,
    facts     TEXT    NOT NULL      -- JSON
) STRICT;
CREATE INDEX trouble_open ON trouble (id) WHERE ended_at IS NULL;

-- What people are told of.
CREATE TABLE trouble_event (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    trouble INTEGER NOT NULL REFERENCES trouble (id) ON DELETE CASCADE,
    what    TEXT    NOT NULL CHECK (what IN ('raised', 'worse', 'ended')),
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX trouble_event_by_trouble ON trouble_event (trouble);
