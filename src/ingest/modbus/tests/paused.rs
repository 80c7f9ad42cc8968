//! What a bus does over minutes, in milliseconds: paused time, pipes in memory.

use std::time::Duration;

use tokio::time::Instant;

use super::bench::{Bench, ENDPOINT, Event};
use super::fault_server::{Asked, Wrong};
use super::profile::{FAST, GATE_POINTS, SLOW, TIMEOUT, gate, source, target};
use crate::ingest::modbus::Target;

const MINUTE: Duration = Duration::from_secs(60);

fn targets(units: &[u8]) -> Vec<Target> {
    let gate = gate(source(60, 8));
    units.iter().map(|&unit| target(ENDPOINT, unit, &gate)).collect()
}

/// How many fast polls of `unit` came with nothing but right values.
fn good_polls(events: &[Event], unit: u8) -> usize {
    let is_good = |event: &&Event| matches!(event, Event::Delivered { unit: u, good: 4, faults: 0, .. } if *u == unit);
    events.iter().filter(is_good).count()
}

#[tokio::test(start_paused = true)]
async fn every_point_comes_at_its_own_rate_on_one_connection() {
    let (mut bench, server) = Bench::paused(targets(&[1, 2, 3]));
    bench.during(2 * SLOW).await;
    let events = bench.during(MINUTE).await;
    for unit in 1..=3 {
        assert_eq!(good_polls(&events, unit), 600);
        let slow =
            |e: &&Event| matches!(e, Event::Delivered { unit: u, good: 1, .. } if *u == unit);
        assert_eq!(events.iter().filter(slow).count(), 60);
        assert_eq!(bench.unit(unit).up, Some(true));
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(bench.stats(ENDPOINT).reconnects, 0);
    bench.end().await;
}

/// One wrong answer to unit 1: whatever it was, the unit is down at once, comes back, and unit 2 does not
/// notice. That no wrong value passes is checked by the bench.
#[tokio::test(start_paused = true)]
async fn after_any_wrong_answer_the_unit_recovers_and_its_neighbour_keeps_its_rate() {
    let wrongs = [
        Wrong::Late(TIMEOUT + Duration::from_millis(1)),
        Wrong::Late(2 * FAST),
        Wrong::Short,
        Wrong::Long,
        Wrong::Cut,
        Wrong::ForeignTransaction,
        Wrong::ForeignUnit,
        Wrong::ForeignFunction,
        Wrong::ForeignBeforeRight,
        Wrong::Silent,
        Wrong::CloseMidAnswer,
        Wrong::Garbage,
    ];
    for wrong in wrongs {
        let (mut bench, server) = Bench::paused(targets(&[1, 2]));
        bench.until_up(&[1, 2]).await;
        // Any of the four requests may be hit: each has another table and length.
        for already_asked in 0..4 {
            let connections = server.connections();
            for _ in 0..already_asked {
                bench.until(|e| matches!(e, Event::Delivered { unit: 1, good: 4, .. })).await;
            }
            bench.forget();
            server.once(1, wrong);
            let events = bench.during(3 * SLOW).await;
            let of_1: Vec<_> = events.iter().filter(|e| is_of(e, 1)).copied().collect();
            let downs = of_1.iter().filter(|e| **e == Event::Link { unit: 1, up: false }).count();
            let ups = of_1.iter().filter(|e| **e == Event::Link { unit: 1, up: true }).count();
            let faults = of_1.iter().filter(|e| e.is_all_faults()).count();
            assert_eq!((downs, faults, ups), (1, 1, 1), "{wrong:?}: {of_1:?}");
            assert!(good_polls(&events, 2) >= 29, "{wrong:?}: {}", good_polls(&events, 2));
            assert_eq!(server.connections(), connections + 1, "{wrong:?}");
            assert!(bench.unit(1).last_error.is_some());
        }
        assert_eq!(bench.unit(2).overruns, 0, "{wrong:?}");
        assert_eq!(bench.unit(2).last_error, None, "{wrong:?}");
        bench.end().await;
    }
}

fn is_of(event: &Event, wanted: u8) -> bool {
    match event {
        Event::Link { unit, .. } | Event::Delivered { unit, .. } => *unit == wanted,
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_answer_to_one_question_is_never_the_next_ones_value() {
    let (mut bench, server) = Bench::paused(targets(&[1]));
    server.always(1, Some(Wrong::TwoAnswers));
    let events = bench.during(MINUTE).await;
    assert!(good_polls(&events, 1) > 10);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_exception_costs_its_block_only() {
    let (mut bench, server) = Bench::paused(targets(&[1]));
    bench.until_link(1, true).await;
    server.once(1, Wrong::Exception(2));
    let event = bench.until(|e| matches!(e, Event::Delivered { faults: 1.., .. })).await;
    let Event::Delivered { good, faults, .. } = event else { panic!("{event:?}") };
    assert!(faults < GATE_POINTS && good + faults <= 4, "{event:?}");
    let events = bench.during(SLOW).await;
    assert!(events.iter().all(|e| matches!(e, Event::Delivered { faults: 0, .. })), "{events:?}");
    assert_eq!(server.connections(), 1);
    let unit = bench.unit(1);
    assert_eq!((unit.exceptions, unit.up), (1, Some(true)));
    let error = unit.last_error.unwrap().message;
    assert_eq!(error, "the device answered with exception 2 (Illegal data address)");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_gateways_word_that_a_unit_is_silent_is_a_miss_without_a_reconnect() {
    let (mut bench, server) = Bench::paused(targets(&[1, 2]));
    bench.until_link(1, true).await;
    server.always(1, Some(Wrong::Exception(0x0B)));
    bench.until_link(1, false).await;
    assert!(bench.next().await.is_all_faults());
    bench.during(MINUTE).await;
    assert!(bench.unit(1).requests < 100, "it is left alone");
    server.always(1, None);
    bench.until_link(1, true).await;
    assert_eq!(server.connections(), 1);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_unit_is_reported_once_and_asked_ever_more_rarely() {
    let (mut bench, server) = Bench::paused(targets(&[1, 2]));
    server.always(1, Some(Wrong::Silent));
    let events = bench.during(10 * MINUTE).await;
    let of_1: Vec<_> = events.iter().filter(|e| is_of(e, 1)).collect();
    assert_eq!(of_1.len(), 2, "{of_1:?}");
    assert_eq!(*of_1[0], Event::Link { unit: 1, up: false });
    assert!(of_1[1].is_all_faults());
    let asked: Vec<Instant> = server.asked().iter().filter(|a| a.unit == 1).map(|a| a.at).collect();
    let waits: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((14..=18).contains(&waits.len()), "{waits:?}");
    assert!(waits.iter().all(|w| *w >= SLOW && *w <= MINUTE + TIMEOUT), "{waits:?}");
    let neighbour = good_polls(&events, 2);
    assert!(neighbour >= 5_990, "{neighbour} of 6000");
    assert_eq!(bench.unit(2).overruns, 0);
    assert_eq!(bench.unit(1).timeouts, asked.len() as u64);

    server.always(1, None);
    bench.until_link(1, true).await;
    let next = bench.until(|e| is_of(e, 1)).await;
    assert!(matches!(next, Event::Delivered { faults: 0, .. }), "{next:?}");
    assert_eq!(bench.unit(1).backoff_until, None);
    bench.end().await;
}

/// Ten units behind one gateway at one poll a second and a timeout of a second, one of them dead.
#[tokio::test(start_paused = true)]
async fn one_dead_unit_of_ten_leaves_the_others_their_rate() {
    let mut source = source(60, 8);
    source.timeout = SLOW;
    source.poll.insert("fast".to_owned(), SLOW);
    let gate = gate(source);
    let units: Vec<u8> = (1..=10).collect();
    let targets = units.iter().map(|&unit| target(ENDPOINT, unit, &gate)).collect();
    let (mut bench, server) = Bench::paused(targets);
    server.always(7, Some(Wrong::Silent));
    let events = bench.during(10 * MINUTE).await;
    for unit in units.into_iter().filter(|unit| *unit != 7) {
        let polls = good_polls(&events, unit);
        assert!(polls >= 570, "unit {unit}: {polls} of 600");
    }
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_refuses_is_tried_ever_more_rarely_and_all_units_come_back() {
    let (mut bench, server) = Bench::paused(targets(&[1, 2]));
    bench.until_up(&[1, 2]).await;
    server.refuse(true);
    server.close_after(1);
    let events = bench.during(10 * MINUTE).await;
    for unit in [1, 2] {
        let changes = events.iter().filter(|e| **e == Event::Link { unit, up: false }).count();
        let faults = events.iter().filter(|e| is_of(e, unit) && e.is_all_faults()).count();
        assert_eq!((changes, faults), (1, 1));
    }
    let stats = bench.stats(ENDPOINT);
    assert!(!stats.connected && stats.backoff_until.is_some());
    assert!(stats.last_error.unwrap().message.starts_with("cannot connect: "));
    let tries = server.connect_tries();
    let waits: Vec<Duration> = tries[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((12..=20).contains(&waits.len()), "{waits:?}");
    assert!(waits.iter().all(|w| *w >= SLOW && *w <= MINUTE), "{waits:?}");

    server.refuse(false);
    server.close_after(usize::MAX);
    bench.until_up(&[1, 2]).await;
    assert_eq!(bench.stats(ENDPOINT).backoff_until, None);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_peer_closed_while_idle_costs_nothing() {
    let (mut bench, server) = Bench::paused(targets(&[1]));
    bench.until_link(1, true).await;
    server.close_after(3);
    let events = bench.during(MINUTE).await;
    assert!(events.iter().all(|e| matches!(e, Event::Delivered { faults: 0, .. })), "{events:?}");
    assert_eq!(good_polls(&events, 1), 600);
    assert!(bench.stats(ENDPOINT).reconnects > 500);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_only_ever_closes_is_left_alone() {
    let (mut bench, server) = Bench::paused(targets(&[1]));
    server.always(1, Some(Wrong::Close));
    let events = bench.during(10 * MINUTE).await;
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(server.connections() < 20);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn requests_keep_the_quiet_time_that_the_device_wants() {
    let gap = Duration::from_millis(15);
    let mut source = source(60, 8);
    source.min_request_gap = gap;
    let gate = gate(source);
    let (mut bench, server) = Bench::paused(vec![target(ENDPOINT, 1, &gate)]);
    bench.during(MINUTE).await;
    let asked = server.asked();
    assert!(asked.len() > 1_000);
    assert!(asked.windows(2).all(|pair: &[Asked]| pair[1].at - pair[0].at >= gap));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_too_slow_skips_and_counts_but_does_not_queue() {
    let (mut bench, server) = Bench::paused(targets(&[1, 2, 3, 4]));
    for unit in 1..=4 {
        // Three requests at 20 ms each take more than half the fast period; of four units, twice too much.
        server.always(unit, Some(Wrong::Late(Duration::from_millis(20))));
    }
    bench.during(MINUTE).await;
    let events = bench.during(MINUTE).await;
    let polls: Vec<usize> = (1..=4).map(|unit| good_polls(&events, unit)).collect();
    assert!(polls.iter().all(|&n| n > 150), "each gets its share: {polls:?}");
    for unit in 1..=4 {
        assert!(bench.unit(unit).overruns > 200);
        assert_eq!(bench.unit(unit).timeouts, 0);
    }
    assert!(bench.stats(ENDPOINT).load > 0.95);
    // Once it is fast again nothing old is made up for.
    (1..=4).for_each(|unit| server.always(unit, None));
    bench.during(SLOW).await;
    assert_eq!(good_polls(&bench.during(MINUTE).await, 1), 600);
    assert!(bench.stats(ENDPOINT).load < 0.05);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_sink_slows_the_bus_and_does_not_hold_the_stop() {
    let (mut bench, server) = Bench::paused(targets(&[1]));
    bench.until_link(1, true).await;
    let permits = bench.sink.room.available_permits();
    bench.sink.room.forget_permits(permits);
    bench.during(SLOW).await;
    let asked = server.asked().len();
    bench.during(MINUTE).await;
    assert_eq!(server.asked().len(), asked, "nothing is read that nobody takes");
    bench.sink.room.add_permits(1_000);
    assert!(good_polls(&bench.during(MINUTE).await, 1) >= 599);
    assert!(bench.unit(1).overruns >= 590, "{}", bench.unit(1).overruns);

    let permits = bench.sink.room.available_permits();
    bench.sink.room.forget_permits(permits);
    bench.during(SLOW).await;
    let before = Instant::now();
    bench.end().await;
    assert!(before.elapsed() < SLOW);
}

#[tokio::test(start_paused = true)]
async fn an_update_disturbs_only_what_it_changes() {
    let (mut bench, server) = Bench::paused(targets(&[1, 2]));
    bench.until_up(&[1, 2]).await;
    bench.forget();
    // Unit 3 comes, unit 2 goes, unit 1 stays; its profile is another one with the same content.
    assert_eq!(bench.update(targets(&[3, 1])), []);
    let events = bench.during(10 * SLOW).await;
    assert!(good_polls(&events, 1) >= 99, "{}", good_polls(&events, 1));
    assert!(good_polls(&events, 2) <= 1 && good_polls(&events, 3) >= 99);
    let links: Vec<_> = events.iter().filter(|e| matches!(e, Event::Link { .. })).collect();
    assert_eq!(links, [&Event::Link { unit: 3, up: true }]);
    assert_eq!(server.connections(), 1);
    assert_eq!(bench.stats(ENDPOINT).units.len(), 2);

    // A profile that changed: shorter reads, so more of them; the link stays.
    let short = gate(source(2, 0));
    bench.update(vec![target(ENDPOINT, 1, &short)]);
    let asked = server.asked().len();
    let events = bench.during(10 * SLOW).await;
    assert!(events.iter().all(|e| matches!(e, Event::Delivered { unit: 1, faults: 0, .. })));
    let per_second = (server.asked().len() - asked) / 10;
    assert_eq!(per_second, 41, "four requests at 10 Hz and one at 1 Hz");

    bench.update(Vec::new());
    bench.during(SLOW).await;
    let asked = server.asked().len();
    assert_eq!(bench.during(MINUTE).await, []);
    assert_eq!((server.asked().len(), bench.poller.stats().len()), (asked, 0));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_dies_is_started_again() {
    let (mut bench, _server) = Bench::paused(targets(&[1]));
    bench.until_link(1, true).await;
    *bench.sink.panics.lock().unwrap() = true;
    let events = bench.during(MINUTE).await;
    assert!(good_polls(&events, 1) > 580);
    assert_eq!(bench.stats(ENDPOINT).restarts, 1);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn after_the_shutdown_nothing_is_polled() {
    let (mut bench, server) = Bench::paused(targets(&[1]));
    bench.until_link(1, true).await;
    bench.poller.shutdown().await;
    let asked = server.asked().len();
    bench.forget();
    bench.update(targets(&[1, 2]));
    assert_eq!(bench.during(MINUTE).await, []);
    assert_eq!(server.asked().len(), asked);
    bench.end().await;
}
