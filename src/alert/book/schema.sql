-- The rule book: what the town says about rules, over what the profiles say.
-- Times are microseconds since 1970-01-01T00:00:00Z.

-- One page for each schedule, override and own rule, as JSON.
CREATE TABLE rule_page (
    what       TEXT    NOT NULL CHECK (what IN ('schedule', 'override', 'own')),
    id         TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    changed_by TEXT    NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (what, id)
) STRICT, WITHOUT ROWID;

-- Who changed what, from what to what, and why. A new page has no `before`, a deleted one no `after`.
CREATE TABLE rule_change (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    what    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    version INTEGER NOT NULL,
    before  TEXT,
    after   TEXT,
    why     TEXT    NOT NULL
) STRICT;
CREATE INDEX rule_change_by_page ON rule_change (what, id, seq);

CREATE TRIGGER rule_change_is_never_changed BEFORE UPDATE ON rule_change
BEGIN SELECT RAISE(ABORT, 'rule_change is append-only'); END;
CREATE TRIGGER rule_change_is_never_deleted BEFORE DELETE ON rule_change
BEGIN SELECT RAISE(ABORT, 'rule_change is append-only'); END;
