-- The audit log, a step in the migrations of the town's state file. Times are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE audit (
    -- AUTOINCREMENT: SQLite remembers the highest number ever given, so that a tail that was cut off is noticed.
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    detail  TEXT    NOT NULL, -- JSON
    hash    BLOB    NOT NULL CHECK (length(hash) = 32) -- SHA-256 of the hash before and of this row
) STRICT;

CREATE INDEX audit_by_actor   ON audit (actor, seq);
CREATE INDEX audit_by_action  ON audit (action, seq);
CREATE INDEX audit_by_subject ON audit (subject, seq);
CREATE INDEX audit_by_time    ON audit (at, seq);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_grows_at_its_end BEFORE INSERT ON audit
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit)
BEGIN SELECT RAISE(ABORT, 'the audit log grows at its end only'); END;
