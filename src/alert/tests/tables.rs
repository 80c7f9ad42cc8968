//! What is on disk, when, and what people list of it.

use super::*;
use crate::alert::tables::list_sql;
use crate::alert::{AlertError, AlertId};

fn ids(alerts: &[Alert]) -> Vec<u64> {
    alerts.iter().map(|alert| alert.id.0).collect()
}

/// Six alerts of three devices: 1 and 2 closed, 3 returned, 4 acknowledged, 5 and 6 as they were raised.
fn six_alerts() -> Town {
    let mut town = Town::new();
    let critical = rule(2, "high", AlertTest::limit(Side::Above, 2.0, 1.0, Severity::Critical));
    let mut engine =
        town.open(&[above(0, 2.0, 1.0), above(1, 2.0, 1.0), critical, no_data(0, 1000)], at(0));
    let acknowledge_all = |engine: &mut Engine| {
        for alert in engine.open_alerts() {
            engine.acknowledge(alert.id, None, "li", None, at(9)).unwrap();
        }
    };
    town.commit(&mut engine, vec![reading(0, 1, 3.0), reading(1, 1, 3.0)]);
    acknowledge_all(&mut engine);
    town.commit(&mut engine, vec![reading(0, 2, 0.0), reading(1, 2, 0.0)]);
    town.commit(&mut engine, vec![reading(0, 3, 3.0), reading(0, 4, 0.0), reading(1, 3, 3.0)]);
    engine.acknowledge(AlertId(4), None, "li", Some("看到了"), at(9)).unwrap();
    town.commit(&mut engine, vec![reading(2, 5, 3.0)]);
    engine.tick(at(2000));
    engine.commit().unwrap();
    town
}

#[test]
fn the_list_filters_and_pages() {
    let town = six_alerts();
    let db = town.connect();
    let check = |query: AlertQuery, expected: &[u64]| {
        let query = AlertQuery { limit: if query.limit == 0 { 100 } else { query.limit }, ..query };
        assert_eq!(ids(&list(&db, &query).unwrap()), expected, "{query:?}");
    };
    let all = AlertQuery::default;
    check(all(), &[6, 5, 4, 3, 2, 1]);
    check(AlertQuery { open_only: true, ..all() }, &[6, 5, 4, 3]);
    check(AlertQuery { severities: vec![Severity::Critical, Severity::Info], ..all() }, &[5]);
    check(AlertQuery { asset: Some("asset-0".parse().unwrap()), ..all() }, &[6, 3, 1]);
    check(AlertQuery { device: Some("dev-1".parse().unwrap()), open_only: true, ..all() }, &[4]);
    check(AlertQuery { limit: 2, ..all() }, &[6, 5]);
    check(AlertQuery { limit: 2, before: Some(AlertId(5)), ..all() }, &[4, 3]);
    check(AlertQuery { before: Some(AlertId(u64::MAX)), ..all() }, &[6, 5, 4, 3, 2, 1]);
    assert_eq!(list(&db, &AlertQuery { limit: 0, ..all() }).unwrap(), []);
}

#[test]
fn the_list_reads_what_the_engine_has() {
    let town = six_alerts();
    let db = town.connect();
    let mut open =
        list(&db, &AlertQuery { open_only: true, limit: 100, ..AlertQuery::default() }).unwrap();
    open.sort_by_key(|alert| (alert.severity.rank(), std::cmp::Reverse(alert.id)));
    let engine = town.open(&[], at(0));
    assert_eq!(open.iter().filter(|alert| !alert.active).count(), 1);
    // Without rules every active one was cleared; else they are the same.
    assert_eq!(ids(&engine.open_alerts()), [5, 6, 3]);
    let silence = open.iter().find(|alert| alert.kind == "no_data").unwrap();
    assert_eq!((silence.value, silence.limit, silence.unit.as_str()), (None, Some(1000.0), "m"));
}

#[test]
fn every_filter_has_its_index() {
    let town = Town::new();
    let db = town.connect();
    let check = |query: AlertQuery, index: &str| {
        let (sql, values) = list_sql(&query);
        let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(AsRef::as_ref).collect();
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = plan.query_map(&values[..], |row| row.get::<_, String>(3)).unwrap();
        let lines: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(lines.iter().any(|line| line.contains(index)), "{lines:?} has no {index}");
    };
    let all = AlertQuery::default;
    check(AlertQuery { open_only: true, ..all() }, "alert_open");
    check(AlertQuery { asset: Some("a".parse().unwrap()), ..all() }, "alert_by_asset");
    check(AlertQuery { device: Some("d".parse().unwrap()), ..all() }, "alert_by_device");
    check(AlertQuery { severities: vec![Severity::Critical], ..all() }, "alert_by_severity");
    check(AlertQuery { before: Some(AlertId(9)), ..all() }, "INTEGER PRIMARY KEY");
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let mut town = Town::new();
    let mut engine = town.open(&[delays(above(0, 2.0, 1.0), 60, 60), no_data(0, 1000)], at(0));
    let db = town.connect();
    let before = Town::writes(&db);
    for i in 1..100 {
        // In and out of the limit, never for long enough.
        town.commit(&mut engine, vec![reading(0, i, f64::from(i as i32 % 4))]);
        engine.tick(at(i));
        assert!(!engine.is_dirty());
        assert_eq!(engine.commit().unwrap(), []);
    }
    assert_eq!(Town::writes(&db), before);
    assert_eq!(engine.checkpoint().unwrap(), CommitSeq(99));
    assert_ne!(Town::writes(&db), before);
    // Nothing new since: nothing to write.
    let after = Town::writes(&db);
    assert_eq!(engine.checkpoint().unwrap(), CommitSeq(99));
    assert_eq!(Town::writes(&db), after);
    assert_eq!(town.delays(), ["dev-0 high pending since 99 peak Some(3.0)"]);
}

#[test]
fn a_commit_that_fails_loses_nothing() {
    let mut town = Town::new();
    let mut engine = town.open(&[above(0, 2.0, 1.0)], at(0));
    town.commit(&mut engine, vec![reading(0, 1, 3.0)]);
    let db = town.connect();
    db.execute_batch("ALTER TABLE alert_event RENAME TO hidden").unwrap();
    assert!(matches!(engine.commit(), Err(AlertError::Database(_))));
    assert!(matches!(engine.checkpoint(), Err(AlertError::Database(_))));
    assert!(
        town.connect().query_row("SELECT 1 FROM alert", [], |_| Ok(())).is_err(),
        "half written"
    );
    engine.acknowledge(AlertId(1), Some(1), "li", None, at(2)).unwrap();
    assert!(engine.commit().is_err());

    db.execute_batch("ALTER TABLE hidden RENAME TO alert_event").unwrap();
    let changed = engine.commit().unwrap();
    assert_eq!((ids(&changed), changed[0].version), (vec![1], 2));
    assert_eq!(town.alerts(), [(changed[0].clone(), town.alerts()[0].1.clone())]);
    assert_eq!(town.alerts()[0].1.len(), 2);
    assert!(!engine.is_dirty());
}

#[test]
fn a_checkpoint_writes_events_that_the_next_commit_still_reports() {
    let mut town = Town::new();
    let mut engine = town.open(&[above(0, 2.0, 1.0)], at(0));
    town.commit(&mut engine, vec![reading(0, 1, 3.0)]);
    assert_eq!(engine.checkpoint().unwrap(), CommitSeq(1));
    assert_eq!(town.alerts().len(), 1);
    assert!(engine.is_dirty());
    assert_eq!(ids(&engine.commit().unwrap()), [1]);
    assert!(!engine.is_dirty());
}

#[test]
fn the_event_log_is_append_only() {
    let town = six_alerts();
    let db = town.connect();
    for sql in ["UPDATE alert_event SET at = 0", "DELETE FROM alert_event"] {
        let error = db.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}
