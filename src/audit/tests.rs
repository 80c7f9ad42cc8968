//! The log under honest writers and under dishonest ones.

use std::path::Path;

use proptest::prelude::*;
use rusqlite::{Connection, TransactionBehavior};
use serde_json::json;

use super::*;

const T: Timestamp = Timestamp::from_secs(1_790_000_000);

fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db
}

fn log() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(include_str!("schema.sql")).unwrap();
    db
}

fn entry<'a>(actor: &'a str, action: &'a str, subject: &'a str) -> Entry<'a> {
    Entry { at: T, actor, action, subject, detail: json!({ "n": 1.5, "a": "镇" }) }
}

fn write(db: &mut Connection, entry: &Entry<'_>) {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    append(&tx, entry).unwrap();
    tx.commit().unwrap();
}

/// A log of five entries that somebody then tampers with, triggers dropped.
fn tampered(sql: &str) -> Connection {
    let mut db = log();
    for subject in ["a", "b", "c", "d", "e"] {
        write(&mut db, &entry("ann", "user.add", subject));
    }
    for trigger in ["audit_is_never_changed", "audit_is_never_deleted", "audit_grows_at_its_end"] {
        db.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    db.execute_batch(sql).unwrap();
    db
}

#[test]
fn a_row_that_somebody_touched_is_named() {
    let check = |sql: &str, seq, fault| {
        let found = verify(&tampered(sql), None).unwrap_err();
        let VerifyError::Broken { seq: at, fault: why } = found else { panic!("{sql}: {found}") };
        assert_eq!((at, why), (seq, fault), "{sql}");
    };
    check("UPDATE audit SET detail = '{}' WHERE seq = 3", 3, Fault::Hash);
    check("UPDATE audit SET at = at + 1 WHERE seq = 1", 1, Fault::Hash);
    check("UPDATE audit SET actor = 'bob' WHERE seq = 5", 5, Fault::Hash);
    check("UPDATE audit SET hash = zeroblob(32) WHERE seq = 2", 2, Fault::Hash);
    check("UPDATE audit SET actor = 'an', action = 'nuser.add' WHERE seq = 4", 4, Fault::Hash);
    check("DELETE FROM audit WHERE seq = 1", 1, Fault::Missing);
    check("DELETE FROM audit WHERE seq = 4", 4, Fault::Missing);
    check("DELETE FROM audit WHERE seq >= 4", 4, Fault::Missing);
    check("DELETE FROM audit", 1, Fault::Missing);
    check("UPDATE audit SET seq = 9 WHERE seq = 5", 5, Fault::Missing);
    check(
        "INSERT INTO audit SELECT 6, at, actor, action, subject, detail, hash FROM audit WHERE seq = 5",
        6,
        Fault::Hash,
    );
    assert_eq!(verify(&tampered(""), None).unwrap().entries, 5);
}

#[test]
fn the_triggers_refuse_every_change_but_the_next_entry() {
    let mut db = log();
    write(&mut db, &entry("ann", "user.add", "bob"));
    let check = |sql: &str, said: &str| {
        let refused = db.execute_batch(sql).unwrap_err().to_string();
        assert!(refused.contains(said), "{sql}: {refused}");
    };
    check("UPDATE audit SET actor = 'x'", "append-only");
    check("DELETE FROM audit", "append-only");
    check("INSERT INTO audit VALUES (7, 0, '', '', '', '', zeroblob(32))", "at its end only");
    check("REPLACE INTO audit VALUES (1, 0, '', '', '', '', zeroblob(32))", "at its end only");
}

#[test]
fn a_log_that_was_rewritten_to_its_end_is_found_by_a_noted_head() {
    let mut db = log();
    for subject in ["a", "b", "c"] {
        write(&mut db, &entry("ann", "user.add", subject));
    }
    let noted = verify(&db, None).unwrap();
    let anchor = Some(Anchor { seq: noted.last, hash: noted.head });
    write(&mut db, &entry("ann", "user.add", "d"));
    assert_eq!(verify(&db, anchor).unwrap().entries, 4);

    // The whole log anew, each hash right: only the noted head tells.
    let mut rewritten = log();
    for subject in ["a", "X", "c", "d"] {
        write(&mut rewritten, &entry("ann", "user.add", subject));
    }
    verify(&rewritten, None).unwrap();
    let found = verify(&rewritten, anchor).unwrap_err();
    assert!(matches!(found, VerifyError::Broken { seq: 3, fault: Fault::Anchor }), "{found}");
    let found = verify(&log(), anchor).unwrap_err();
    assert!(matches!(found, VerifyError::Broken { seq: 1, fault: Fault::Missing }), "{found}");
}

#[test]
fn an_export_is_verified_without_the_database() {
    let mut db = log();
    for n in 0..2_500 {
        write(&mut db, &entry("ann", "user.add", &n.to_string()));
    }
    let mut lines = Vec::new();
    assert_eq!(export(&db, 0, &mut lines).unwrap(), 2_500);
    let verified = verify_export(&lines[..], None).unwrap();
    assert_eq!(verified, verify(&db, None).unwrap());

    let text = String::from_utf8(lines).unwrap();
    let changed = text.replacen("\"1000\"", "\"1001\"", 1);
    let found = verify_export(changed.as_bytes(), None).unwrap_err();
    assert!(matches!(found, VerifyError::Broken { seq: 1001, fault: Fault::Hash }), "{found}");
    let found = verify_export(&b"{}"[..], None).unwrap_err();
    assert!(matches!(found, VerifyError::Broken { seq: 1, fault: Fault::Form }), "{found}");
}

#[test]
fn a_page_is_filtered_newest_first_and_goes_on() {
    let mut db = log();
    for (n, (actor, action, subject)) in [
        ("ann", "user.add", "bob"),
        ("bob", "session.open", "bob"),
        ("ann", "user.role", "bob"),
        ("ann", "users", "x"),
    ]
    .into_iter()
    .enumerate()
    {
        let at = Timestamp::from_secs(n as i64);
        write(&mut db, &Entry { at, ..entry(actor, action, subject) });
    }
    let check = |query: Query, expected: &[i64]| {
        let found: Vec<_> = page(&db, &query).unwrap().iter().map(|record| record.seq).collect();
        assert_eq!(found, expected, "{query:?}");
    };
    let all = Query { limit: 10, ..Query::default() };
    check(all.clone(), &[4, 3, 2, 1]);
    check(Query { limit: 2, before: Some(4), ..all.clone() }, &[3, 2]);
    check(Query { actor: Some("bob".into()), ..all.clone() }, &[2]);
    check(Query { action: Some("user.".into()), ..all.clone() }, &[3, 1]);
    check(Query { action: Some("user.add".into()), ..all.clone() }, &[1]);
    check(Query { subject: Some("bob".into()), ..all.clone() }, &[3, 2, 1]);
    let from = Some(Timestamp::from_secs(1));
    check(Query { from, to: Some(Timestamp::from_secs(3)), ..all }, &[3, 2]);
}

#[test]
fn what_is_too_long_is_cut_and_still_fits() {
    let mut db = log();
    let long = "井".repeat(MAX_NAME_CHARS + 1);
    let detail = json!({ "text": "x".repeat(MAX_DETAIL_BYTES) });
    write(&mut db, &Entry { detail, ..entry(&long, &long, &long) });
    let record = &page(&db, &Query { limit: 1, ..Query::default() }).unwrap()[0];
    assert_eq!(record.actor.chars().count(), MAX_NAME_CHARS);
    assert!(record.detail["too_long"]["size_bytes"].as_u64() > Some(MAX_DETAIL_BYTES as u64));
    assert_eq!(verify(&db, None).unwrap().entries, 1);
}

#[test]
fn a_transaction_that_read_an_older_log_cannot_append() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("town.db");
    let (mut one, mut other) = (open(&path), open(&path));
    one.execute_batch(include_str!("schema.sql")).unwrap();
    let deferred = one.transaction().unwrap();
    deferred.query_row("SELECT count(*) FROM audit", (), |_| Ok(())).unwrap();
    write(&mut other, &entry("bob", "user.add", "b"));
    append(&deferred, &entry("ann", "user.add", "a")).unwrap_err();
    drop(deferred);
    assert_eq!(verify(&one, None).unwrap().entries, 1);
}

/// What one of several writers does next.
#[derive(Debug, Clone)]
enum Step {
    Append { entries: usize, commit: bool },
    Verify,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_usize, prop::bool::weighted(0.8))
            .prop_map(|(entries, commit)| Step::Append { entries, commit }),
        1 => Just(Step::Verify),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Connections take turns in any order, some give up: the chain always holds and counts what was committed.
    #[test]
    fn any_order_of_writers_leaves_a_chain_that_holds(
        steps in prop::collection::vec((0..3_usize, step(), "\\PC{0,12}"), 1..24),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("town.db");
        let mut writers = [open(&path), open(&path), open(&path)];
        writers[0].execute_batch(include_str!("schema.sql")).unwrap();
        let mut expected = 0;
        for (writer, step, text) in steps {
            let db = &mut writers[writer];
            match step {
                Step::Append { entries, commit } => {
                    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
                    for _ in 0..entries {
                        append(&tx, &entry(&text, "x.y", &text)).unwrap();
                    }
                    if commit {
                        tx.commit().unwrap();
                        expected += entries as u64;
                    }
                }
                Step::Verify => prop_assert_eq!(verify(db, None).unwrap().entries, expected),
            }
        }
        prop_assert_eq!(verify(&writers[0], None).unwrap().entries, expected);
        let mut lines = Vec::new();
        export(&writers[1], 0, &mut lines).unwrap();
        prop_assert_eq!(verify_export(&lines[..], None).unwrap().entries, expected);
    }
}

#[test]
fn writers_at_the_same_time_leave_a_chain_that_holds() {
    const WRITERS: usize = 4;
    const EACH: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("town.db");
    open(&path).execute_batch(include_str!("schema.sql")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                let mut db = open(path);
                db.pragma_update(None, "synchronous", "OFF").unwrap();
                for n in 0..EACH {
                    write(&mut db, &entry(&writer.to_string(), "x.y", &n.to_string()));
                }
            });
        }
    });
    assert_eq!(verify(&open(&path), None).unwrap().entries, (WRITERS * EACH) as u64);
}
