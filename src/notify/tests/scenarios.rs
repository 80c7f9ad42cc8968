//! Who is told what, and when.

use super::*;
use crate::alert::Shelf;
use crate::case::{Deadlines, Step};
use crate::notify::{MessageQuery, NotifyError, State, find, list};
use EventKind::{
    Acknowledged, CaseClosed, CaseDispatched, CaseEscalated, CaseOpened, CaseOverdue, Raised,
    Reminder, Returned,
};

#[test]
fn an_alert_is_told_once_then_again_while_nobody_acknowledges_it_and_its_end_once() {
    let town = Town::new();
    let mut post = town.open(&one_hook(""), at(0));
    town.raise(raised(1, Severity::Major, "west:a"), at(0));
    assert_eq!(told(&mut post, at(0)), NOTHING);
    assert_eq!(told(&mut post, at(9)), NOTHING);
    assert_eq!(told(&mut post, at(10)), [vec![(Raised, 1)]]);
    let minutes = |n: u64| at(10 + 60 * n);
    let mut reminders = Vec::new();
    for minute in 1..=1_000 {
        if told(&mut post, minutes(minute)) == [vec![(Reminder, 1)]] {
            reminders.push(minute);
        }
    }
    // A reminder waits like everything else, so it comes with the next look: after 30 min, 1 h, 2 h, then every 4 h.
    assert_eq!(reminders, [31, 92, 213, 454, 695, 936]);
    town.acknowledge(1, minutes(1_000));
    assert_eq!(told(&mut post, minutes(1_001)), NOTHING);
    assert_eq!(told(&mut post, minutes(1_002)), [vec![(Acknowledged, 1)]]);
    for minute in 1_003..2_000 {
        assert_eq!(told(&mut post, minutes(minute)), NOTHING);
    }
    town.clear(1, minutes(2_000));
    assert_eq!(told(&mut post, minutes(2_000)), NOTHING);
    assert_eq!(told(&mut post, minutes(2_001)), [vec![(Returned, 1)]]);
}

#[test]
fn what_is_over_or_seen_before_it_is_told_is_not_told() {
    let town = Town::new();
    let mut post = town.open(&one_hook(""), at(0));
    for id in 1..=3 {
        town.raise(raised(id, Severity::Major, "west:a"), at(0));
    }
    assert_eq!(told(&mut post, at(0)), NOTHING);
    town.clear(1, at(2));
    town.acknowledge(2, at(2));
    assert_eq!(told(&mut post, at(10)), [vec![(Raised, 3)]]);
    town.acknowledge(1, at(11));
    town.clear(2, at(11));
    assert_eq!(
        told(&mut post, at(1_000)),
        NOTHING,
        "nobody heard of 1 and 2, so nobody hears of their end"
    );
    // A case that is closed before anybody heard that it is late.
    town.case_event(7, 1, &opened("west", Severity::Major, None), at(1_000));
    town.case_event(7, 2, &Happened::Overdue { step: Step::Fix }, at(1_000));
    town.case_event(7, 3, &Happened::Escalated { level: 1 }, at(1_000));
    let closed = Happened::Closed { proof: crate::case::Proof::Sensor };
    town.case_event(7, 4, &closed, at(1_000));
    assert_eq!(told(&mut post, at(1_100)), NOTHING);
    assert_eq!(told(&mut post, at(1_101)), [vec![(CaseOpened, 7), (CaseClosed, 7)]]);
}

#[test]
fn worse_again_and_back_from_the_shelf_count_as_new_but_not_milder_or_chattering() {
    let town = Town::new();
    let mut post = town.open(&one_hook("interval = '10s'"), at(0));
    town.raise(raised(1, Severity::Minor, "west:a"), at(0));
    told(&mut post, at(0));
    assert_eq!(told(&mut post, at(10)), [vec![(Raised, 1)]]);
    town.event(1, "severity_up", "severity = 1, worst = 1", at(20));
    told(&mut post, at(20));
    assert_eq!(told(&mut post, at(21)), [vec![(Raised, 1)]], "a critical one waits a second only");
    town.event(1, "severity_down", "severity = 3", at(30));
    assert_eq!(told(&mut post, at(60)), NOTHING);
    let shelf = Shelf { by: "li".into(), reason: "pump test".into(), at: at(60), until: at(5_000) };
    let shelved = Standing { shelved: Some(shelf), ..Standing::default() };
    town.stand(1, "shelved", &shelved, at(60));
    town.event(1, "severity_up", "severity = 2", at(61));
    assert_eq!(told(&mut post, at(4_000)), NOTHING, "not even a reminder");
    town.stand(1, "unshelved", &Standing::default(), at(5_000));
    told(&mut post, at(5_000));
    assert_eq!(told(&mut post, at(5_010)), [vec![(Raised, 1)]]);
    town.event(1, "chattering", "chattering = 1", at(5_100));
    told(&mut post, at(5_100));
    assert_eq!(told(&mut post, at(5_110)), [vec![(Raised, 1)]]);
    town.event(1, "returned", "active = 0", at(5_200));
    told(&mut post, at(5_200));
    town.event(1, "raised_again", "active = 1", at(5_201));
    assert_eq!(told(&mut post, at(5_300)), NOTHING, "chattering is said once");
}

#[test]
fn a_critical_one_of_the_same_root_and_a_silent_gateway_hold_others_back_and_let_them_go() {
    let town = Town::new();
    let mut post = town.open(&one_hook("interval = '10s'"), at(0));
    town.raise(raised(1, Severity::Critical, "west:a"), at(0));
    town.raise(raised(2, Severity::Minor, "west:a"), at(0));
    town.raise(raised(3, Severity::Minor, "west:b"), at(0));
    let silent =
        |id, device| Fault { id, severity: Severity::Major, asset: None, device, kind: "no_data" };
    town.raise(silent(4, "g1"), at(0));
    town.raise(silent(5, "g1.x"), at(0));
    town.raise(silent(6, "g1.y"), at(0));
    town.raise(silent(7, "g2.y"), at(0));
    told(&mut post, at(0));
    assert_eq!(told(&mut post, at(1)), [vec![(Raised, 1), (Raised, 3)]], "3 goes along, 2 is held");
    let mut next = told(&mut post, at(10));
    next.sort();
    assert_eq!(next, [vec![(Raised, 4)], vec![(Raised, 7)]]);
    // A restart forgets nothing of what is held.
    let mut post = town.open(&one_hook("interval = '10s'"), at(20));
    assert_eq!(told(&mut post, at(20)), NOTHING);
    town.clear(5, at(30));
    town.clear(1, at(30));
    town.clear(4, at(30));
    let mut rest: Vec<_> = told(&mut post, at(30)).into_iter().flatten().collect();
    assert!(rest.contains(&(Raised, 2)) && rest.contains(&(Raised, 6)), "{rest:?}");
    rest.extend(told(&mut post, at(60)).into_iter().flatten());
    rest.sort();
    assert_eq!(rest, [(Raised, 2), (Raised, 6), (Returned, 1), (Returned, 4)]);
}

#[test]
fn routes_choose_by_zone_severity_and_hours_and_each_channel_hears_once() {
    let settings = settings(
        "[channels.day]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\n\
         [channels.all]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\n\
         [[routes]]\nchannels = ['all']\nfrom = 'minor'\n\
         [[routes]]\nchannels = ['all', 'day']\nzones = ['west']\nhours = '08:00-20:00'",
    );
    let town = Town::new();
    // 22:13 in the town.
    let mut post = town.open(&settings, at(0));
    town.raise(raised(1, Severity::Major, "west:a"), at(0));
    told(&mut post, at(0));
    assert_eq!(told(&mut post, at(10)), [vec![(Raised, 1)]], "at night only `all`");
    let morning = 12 * 3_600;
    town.acknowledge(1, at(morning));
    town.raise(raised(2, Severity::Major, "west:b"), at(morning));
    town.raise(raised(3, Severity::Info, "west:b"), at(morning));
    told(&mut post, at(morning));
    assert_eq!(told(&mut post, at(morning + 10)), [vec![(Raised, 2)], vec![(Raised, 2)]]);
}

#[test]
fn a_dispatch_goes_to_the_units_people_and_an_escalation_to_its_level() {
    let settings = settings(
        "[channels.crew]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\n\
         [channels.head]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\n\
         [[routes]]\nchannels = ['crew']\nlevel = 1\n\
         [[routes]]\nchannels = ['head']\nlevel = 2\nevents = ['case.escalated']",
    );
    let town = Town::new();
    town.db
        .execute(
            "INSERT INTO unit VALUES ('w', '西片', 'West', '[]', '[]', '[\"zhang\", \"li\"]', 1)",
            [],
        )
        .unwrap();
    let mut post = town.open(&settings, at(0));
    town.case_event(1, 1, &opened("west", Severity::Major, None), at(0));
    let unit = "w".parse().unwrap();
    let deadlines =
        Deadlines { dispatched_at: at(0), accept: Some(at(900)), arrive: None, fix: at(9_000) };
    town.case_event(1, 2, &Happened::Dispatched { unit, person: None, deadlines }, at(0));
    told(&mut post, at(0));
    let jobs = post.step(at(1), &Map).unwrap();
    assert_eq!(entries(&jobs[0]), [(CaseDispatched, 1)]);
    assert_eq!(jobs[0].notice.people, ["zhang", "li"]);
    post.done(&jobs[0], Ok(None), at(1)).unwrap();
    town.case_event(1, 3, &Happened::Overdue { step: Step::Accept }, at(900));
    told(&mut post, at(900));
    let jobs = post.step(at(901), &Map).unwrap();
    assert_eq!(
        (entries(&jobs[0]), jobs[0].notice.people.as_slice()),
        (vec![(CaseOverdue, 1)], &["zhang".to_owned()][..])
    );
    post.done(&jobs[0], Ok(None), at(901)).unwrap();
    town.case_event(1, 4, &Happened::Escalated { level: 1 }, at(2_000));
    told(&mut post, at(2_000));
    assert_eq!(told(&mut post, at(2_001)), [vec![(CaseEscalated, 1)]], "level 1 is the crew's");
    town.case_event(1, 5, &Happened::Escalated { level: 2 }, at(3_000));
    told(&mut post, at(3_000));
    assert_eq!(told(&mut post, at(3_001)).len(), 2, "level 2 is the head's too");
}

#[test]
fn a_failure_is_tried_with_growing_pauses_for_a_day_and_then_is_seen_and_retried_by_hand() {
    let town = Town::new();
    let mut post = town.open(&one_hook(""), at(0));
    let id = post.test("hook", "wang", at(0)).unwrap();
    let mut tries = Vec::new();
    // Every second of the first hour and a bit, then a coarser look.
    for second in (0..4_000).chain((4_000..=25 * 3_600).step_by(20)) {
        for job in post.step(at(second), &Map).unwrap() {
            tries.push(second);
            post.done(&job, later("connection refused"), at(second)).unwrap();
        }
    }
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([5, 10, 20, 40, 80, 160, 320, 600, 600]) {
        assert!((least..=least + least / 4 + 1).contains(pause), "{pauses:?}");
    }
    assert!(
        *tries.last().unwrap() > 23 * 3_600 && *tries.last().unwrap() < 24 * 3_600,
        "{tries:?}"
    );
    let message = find(&town.db, id).unwrap().unwrap();
    assert_eq!((message.state, message.attempts as usize), (State::Failed, tries.len()));
    assert_eq!(message.error.as_deref(), Some("connection refused"));
    let failed = MessageQuery { state: Some(State::Failed), limit: 10, ..MessageQuery::default() };
    assert_eq!(list(&town.db, &failed).unwrap().len(), 1);
    let state = &post.channels(at(90_001)).unwrap()[0];
    assert!(state.failing && state.failed == 1 && state.waiting == 0, "{state:?}");

    post.retry(id, "wang", at(90_001)).unwrap();
    let job = post.step(at(90_001), &Map).unwrap().remove(0);
    assert_eq!((job.id, job.key.as_str()), (id, message.key.as_str()), "the same message");
    assert!(matches!(post.retry(id, "wang", at(90_001)), Err(NotifyError::NotUnsent { .. })));
    post.done(&job, Ok(None), at(90_002)).unwrap();
    assert!(matches!(post.retry(id, "wang", at(90_003)), Err(NotifyError::NotUnsent { .. })));
    assert!(matches!(
        post.retry(crate::notify::MessageId(99), "wang", at(0)),
        Err(NotifyError::NoMessage(_))
    ));
    assert!(matches!(post.test("pager", "wang", at(0)), Err(NotifyError::NoChannel { .. })));
    assert!(!post.channels(at(90_003)).unwrap()[0].failing);
    let audited: i64 = town
        .db
        .query_row(
            "SELECT count(*) FROM audit WHERE action LIKE 'notification.%' AND actor = 'wang'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(audited, 2);
}

#[test]
fn a_refused_message_fails_at_once_and_a_throttled_channel_rests() {
    let town = Town::new();
    let mut post = town.open(&one_hook(""), at(0));
    let refused = post.test("hook", "wang", at(0)).unwrap();
    let job = post.step(at(0), &Map).unwrap().remove(0);
    post.done(&job, Err(Failure::Refused("too large".into())), at(0)).unwrap();
    assert_eq!(find(&town.db, refused).unwrap().unwrap().state, State::Failed);
    post.test("hook", "wang", at(1)).unwrap();
    let job = post.step(at(1), &Map).unwrap().remove(0);
    let throttled =
        Failure::Throttled { why: "20 a minute".into(), wait: Duration::from_secs(600) };
    post.done(&job, Err(throttled), at(1)).unwrap();
    post.test("hook", "wang", at(2)).unwrap();
    assert_eq!(post.step(at(600), &Map).unwrap(), []);
    // A restart does not wake it.
    let mut post = town.open(&one_hook(""), at(600));
    assert_eq!(post.step(at(600), &Map).unwrap(), []);
    assert_eq!(post.channels(at(600)).unwrap()[0].hold_until, Some(at(601)));
    assert_eq!(post.step(at(601), &Map).unwrap().len(), 1);
}

#[test]
fn channels_that_come_and_go_are_not_told_of_the_past_and_leave_nothing_hidden() {
    let town = Town::new();
    town.raise(raised(1, Severity::Major, "west:a"), at(0));
    let mut none = town.open(&Settings::default(), at(0));
    assert_eq!(none.step(at(1), &Map).unwrap(), []);
    assert_eq!(none.channels(at(1)).unwrap(), []);
    town.raise(raised(2, Severity::Major, "west:a"), at(2));
    let mut post = town.open(&one_hook(""), at(3));
    assert_eq!(told(&mut post, at(1_000)), NOTHING, "nobody asked to be told of these");
    let id = post.test("hook", "wang", at(1_000)).unwrap();
    town.open(&Settings::default(), at(1_001));
    let message = find(&town.db, id).unwrap().unwrap();
    assert_eq!(message.state, State::Failed);
    assert_eq!(message.error.as_deref(), Some("the channel is not configured any more"));
}
