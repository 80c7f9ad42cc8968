//! What a device refuses is found once and left alone.

use super::bench::{Bench, ENDPOINT, Event};
use super::fault_server::FaultServer;
use super::profile::{SLOW, gate, source, target};
use crate::profile::Table;

fn bench() -> (Bench, FaultServer) {
    Bench::paused(vec![target(ENDPOINT, 1, &gate(source(60, 8)))])
}

#[tokio::test(start_paused = true)]
async fn a_hole_between_two_points_is_learned_and_costs_no_value() {
    let (mut bench, server) = bench();
    // Level stands at 10 and 11, motor at 14; 12 and 13 are nothing.
    server.forbid(Table::Input, 12..=12);
    let events = bench.during(10 * SLOW).await;
    let late: Vec<_> = events.iter().skip(10).collect();
    assert!(late.iter().all(|e| matches!(e, Event::Delivered { faults: 0, .. })), "{late:?}");
    let unit = bench.unit(1);
    assert_eq!(unit.left_alone, ["input 12-13"]);
    assert!(
        unit.plan.iter().any(|line| line.ends_with("input 10-11 2 registers")),
        "{:?}",
        unit.plan
    );
    assert_eq!(unit.exceptions, 2, "asked for twice and never again");
    bench.during(60 * SLOW).await;
    assert_eq!(bench.unit(1).exceptions, 2);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_point_is_given_up_and_its_neighbours_are_not() {
    let (mut bench, server) = bench();
    server.forbid(Table::Input, 14..=14);
    bench.during(10 * SLOW).await;
    let exceptions = bench.unit(1).exceptions;
    assert!(exceptions <= 4, "{exceptions}");
    let events = bench.during(10 * SLOW).await;
    let fast = events.iter().filter(|e| matches!(e, Event::Delivered { good: 3, faults: 1, .. }));
    assert_eq!(fast.count(), 100, "the motor is a comm fault, the level is not");
    assert_eq!(bench.unit(1).exceptions, exceptions);
    assert_eq!(bench.unit(1).left_alone, ["input 12-14"]);

    // The profile changes: all is asked again.
    server.forbid(Table::Input, 99..=99);
    let mut changed = source(60, 8);
    changed.timeout *= 2;
    bench.update(vec![target(ENDPOINT, 1, &gate(changed))]);
    bench.during(SLOW).await;
    let events = bench.during(10 * SLOW).await;
    assert!(events.iter().all(|e| matches!(e, Event::Delivered { faults: 0, .. })), "{events:?}");
    assert!(bench.unit(1).left_alone.is_empty());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_refuses_all_is_not_given_up() {
    let (mut bench, server) = bench();
    for table in Table::ALL {
        server.forbid(table, 0..=65_535);
    }
    bench.during(10 * SLOW).await;
    assert!(bench.unit(1).left_alone.is_empty());
    for table in Table::ALL {
        server.forbid(table, 60_000..=60_000);
    }
    let events = bench.during(10 * SLOW).await;
    let good = events.iter().filter(|e| matches!(e, Event::Delivered { good: 4, .. })).count();
    assert!(good >= 99, "{good}");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_too_long_for_the_device_is_halved() {
    let (mut bench, server) = bench();
    server.longest(2);
    bench.during(10 * SLOW).await;
    let exceptions = bench.unit(1).exceptions;
    let events = bench.during(10 * SLOW).await;
    assert!(events.iter().all(|e| matches!(e, Event::Delivered { faults: 0, .. })), "{events:?}");
    assert_eq!(bench.unit(1).exceptions, exceptions);
    bench.end().await;
}
