//! kill -9: the engine is dropped without a word, opened again, and the store replayed from its watermark.

use super::*;
use crate::alert::AlertId;

#[test]
fn silence_is_judged_afresh_after_a_restart() {
    let mut town = Town::new();
    let rules = [no_data(0, 60), no_data(1, 60)];
    let mut engine = town.open(&rules, at(0));
    town.commit(&mut engine, vec![reading(1, 50, 0.0)]);
    engine.tick(at(60));
    assert_eq!(engine.commit().unwrap().len(), 1);

    // Down for an hour: nobody is blamed for it, and who was silent still is.
    let mut engine = town.open(&rules, at(3660));
    town.replay(&mut engine);
    assert_eq!(engine.next_deadline(), Some(at(3720)));
    engine.tick(at(3719));
    assert_eq!(engine.commit().unwrap(), []);
    assert_eq!(engine.open_alerts().len(), 1);
    engine.tick(at(3720));
    let raised = engine.commit().unwrap();
    assert_eq!((raised.len(), raised[0].since), (1, at(3660)));

    town.commit(&mut engine, vec![reading(0, 3730, 0.0)]);
    assert!(!engine.commit().unwrap()[0].active);
}

#[test]
fn a_device_heard_before_the_crash_is_not_silent_after_the_replay() {
    let mut town = Town::new();
    let rules = [no_data(0, 60)];
    let mut engine = town.open(&rules, at(0));
    engine.tick(at(60));
    engine.commit().unwrap();
    // The store has it, the judge has not committed it.
    town.commit(&mut engine, vec![reading(0, 61, 0.0)]);
    let mut engine = town.open(&rules, at(300));
    assert!(engine.open_alerts()[0].active);
    town.replay(&mut engine);
    assert!(!engine.open_alerts()[0].active);
    // And a reading of before the alert does not clear it: that commit was judged.
    let mut town = Town::new();
    let mut engine = town.open(&rules, at(0));
    town.commit(&mut engine, vec![reading(0, 1, 0.0)]);
    engine.tick(at(61));
    engine.commit().unwrap();
    let mut engine = town.open(&rules, at(300));
    assert_eq!(engine.watermark(), CommitSeq(0));
    town.replay(&mut engine);
    assert!(engine.open_alerts()[0].active && !engine.is_dirty());
}

#[test]
fn a_running_delay_survives() {
    let mut town = Town::new();
    let rules = [delays(above(0, 2.0, 1.0), 60, 0), delays(above(1, 2.0, 1.0), 0, 60)];
    let mut engine = town.open(&rules, at(0));
    town.commit(&mut engine, vec![reading(0, 10, 3.0), reading(1, 10, 3.0), reading(1, 11, 0.0)]);
    engine.checkpoint().unwrap();

    let mut engine = town.open(&rules, at(20));
    assert_eq!(engine.watermark(), CommitSeq(1));
    assert_eq!(engine.next_deadline(), Some(at(70)));
    engine.tick(at(70));
    assert_eq!(engine.commit().unwrap()[0].since, at(10));
    engine.tick(at(71));
    assert_eq!(engine.commit().unwrap()[0].cleared_at, Some(at(71)));
}

#[test]
fn an_old_reading_is_still_old_after_a_crash() {
    let mut town = Town::new();
    // Far apart, so that the times stand in two rows.
    let rules = [above(0, 2.0, 1.0), above(700, 2.0, 1.0)];
    let mut engine = town.open(&rules, at(0));
    town.commit(&mut engine, vec![reading(0, 100, 0.0), reading(700, 100, 0.0)]);
    engine.checkpoint().unwrap();
    let mut engine = town.open(&rules, at(200));
    town.commit(&mut engine, vec![reading(0, 99, 3.0), reading(700, 99, 3.0)]);
    assert!(!engine.is_dirty());
    town.commit(&mut engine, vec![reading(700, 101, 3.0)]);
    assert_eq!(engine.commit().unwrap().len(), 1);
}

#[test]
fn what_was_judged_is_not_judged_again() {
    let mut town = Town::new();
    let rules = [above(0, 2.0, 1.0)];
    let mut engine = town.open(&rules, at(0));
    let batch = vec![reading(0, 1, 3.0), reading(0, 2, 0.0)];
    town.commit(&mut engine, batch.clone());
    engine.judge(CommitSeq(1), &batch);
    engine.commit().unwrap();
    engine.judge(CommitSeq(1), &batch);
    engine.checkpoint().unwrap();
    engine.judge(CommitSeq(1), &[reading(0, 9, 3.0)]);
    engine.judge(CommitSeq(0), &[reading(0, 9, 3.0)]);
    assert!(!engine.is_dirty());
    assert_eq!(town.alerts()[0].1.len(), 2);
}

#[test]
fn a_crash_in_the_middle_of_the_replay_repeats_nothing() {
    let mut town = Town::new();
    let rules = [above(0, 2.0, 1.0)];
    let mut engine = town.open(&rules, at(0));
    for (time, value) in [(1, 3.0), (2, 0.0), (3, 0.0)] {
        town.commit(&mut engine, vec![reading(0, time, value)]);
    }
    engine.commit().unwrap();

    let mut engine = town.open(&rules, at(10));
    engine.judge(CommitSeq(1), &town.commits[0]);
    assert_eq!(engine.checkpoint().unwrap(), CommitSeq(1));
    let mut engine = town.open(&rules, at(20));
    assert_eq!(engine.watermark(), CommitSeq(1));
    engine.judge(CommitSeq(2), &town.commits[1]);
    // Judged before; would raise if it were taken for new.
    engine.judge(CommitSeq(3), &[reading(0, 3, 9.0)]);
    assert!(!engine.is_dirty());
}

#[test]
fn a_rule_that_is_gone_at_the_start_is_cleared() {
    let mut town = Town::new();
    let waiting = delays(above(1, 2.0, 1.0), 60, 0);
    let mut engine = town.open(&[above(0, 2.0, 1.0), waiting.clone()], at(0));
    town.commit(&mut engine, vec![reading(0, 1, 3.0), reading(1, 1, 3.0)]);
    engine.commit().unwrap();
    assert_eq!(town.delays().len(), 1);

    let mut engine = town.open(&[], at(50));
    assert!(engine.is_dirty());
    assert_eq!(engine.commit().unwrap()[0].cleared_at, Some(at(50)));
    assert_eq!(town.delays(), [""; 0]);
    // Nobody has seen it yet, so it stays on the list; the delay is forgotten.
    let mut engine = town.open(&[above(0, 2.0, 1.0), waiting], at(60));
    assert_eq!(engine.open_alerts().len(), 1);
    engine.tick(at(1000));
    assert!(!engine.is_dirty());
    engine.acknowledge(AlertId(1), None, "li", None, at(61)).unwrap();
    assert!(!engine.commit().unwrap()[0].is_open());
}

#[test]
fn a_store_from_a_backup_is_judged_on() {
    let mut town = Town::new();
    let rules = [above(0, 2.0, 1.0)];
    let mut engine = town.open(&rules, at(0));
    for i in 1..=10 {
        town.commit(&mut engine, vec![reading(0, i, 0.0)]);
    }
    engine.checkpoint().unwrap();
    town.commits.truncate(4);
    let mut engine = town.open(&rules, at(100));
    engine.align(CommitSeq(4));
    assert_eq!(engine.watermark(), CommitSeq(4));
    town.commit(&mut engine, vec![reading(0, 101, 3.0)]);
    assert_eq!(engine.commit().unwrap().len(), 1);
    assert_eq!(engine.checkpoint().unwrap(), CommitSeq(5));
    assert_eq!(town.open(&rules, at(200)).watermark(), CommitSeq(5));
}
