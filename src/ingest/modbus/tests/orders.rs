//! Orders: writes go out once, say what became of them, and go before polls.

use tokio::time::Instant;

use super::super::{ReadError, WriteError};
use super::bench::{Bench, ENDPOINT, Event};
use super::fault_server::{FaultServer, Wrong};
use super::profile::{SLOW, TIMEOUT, device, gate, right_value, source, target};
use crate::model::PointIndex;
use crate::profile::{MaskWrite, RegisterWrite, Table};

async fn bench() -> (Bench, FaultServer) {
    let gate = gate(source(60, 8));
    let targets = [1, 2].map(|unit| target(ENDPOINT, unit, &gate)).into();
    let (mut bench, server) = Bench::paused(targets);
    bench.until_up(&[1, 2]).await;
    (bench, server)
}

fn setpoint(value: u16) -> Vec<RegisterWrite> {
    vec![RegisterWrite { table: Table::Holding, address: 200, values: vec![value] }]
}

async fn write(bench: &Bench, value: u16) -> Result<(), WriteError> {
    bench.poller.write(&device(1), setpoint(value)).await
}

#[tokio::test(start_paused = true)]
async fn every_function_writes_what_it_says() {
    let (bench, server) = bench().await;
    let poller = &bench.poller;
    let write =
        |table, address, values: &[u16]| RegisterWrite { table, address, values: values.into() };
    let all = vec![
        write(Table::Holding, 900, &[7]),
        write(Table::Holding, 910, &[1, 2, 3]),
        write(Table::Coil, 5, &[1]),
        write(Table::Coil, 8, &[1, 0, 1]),
    ];
    poller.write(&device(1), all).await.unwrap();
    let mask = MaskWrite { address: 911, mask: 0x00F0, value: 0x0050 };
    poller.mask_write(&device(1), mask).await.unwrap();
    let read =
        poller.write_and_read(&device(1), write(Table::Holding, 912, &[9]), 910, 3).await.unwrap();
    assert_eq!(read, [1, 0x52, 9]);
    let functions: Vec<u8> = server.written().iter().map(|write| write.function).collect();
    assert_eq!(functions, [6, 16, 5, 15, 22, 23]);
    assert_eq!(server.holding(1, 900), 7);
    assert_eq!([5, 8, 9, 10].map(|coil| server.coil(1, coil)), [true, true, false, true]);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_says_what_became_of_it_and_is_never_sent_twice() {
    let (mut bench, server) = bench().await;
    for wrong in [
        Wrong::Silent,
        Wrong::Late(2 * TIMEOUT),
        Wrong::Close,
        Wrong::CloseMidAnswer,
        Wrong::Garbage,
        Wrong::ForeignUnit,
    ] {
        server.on_write(wrong);
        let before = server.written().len();
        let error = write(&bench, 800).await.unwrap_err();
        assert!(matches!(error, WriteError::Unknown { done: 0, .. }), "{wrong:?}: {error}");
        assert_eq!(server.written().len(), before + 1, "{wrong:?}");
        bench.poller.read_now(&device(1), &[PointIndex(0)]).await.unwrap();
    }
    server.on_write(Wrong::Exception(4));
    let error = write(&bench, 801).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused { done: 0, code: 4, .. }), "{error}");
    // A device that does not know function 6 does nothing and gets function 16.
    server.on_write(Wrong::Exception(1));
    write(&bench, 802).await.unwrap();
    assert_eq!(server.written().last().map(|write| write.function), Some(16));

    server.refuse(true);
    server.close_after(0);
    bench.during(SLOW).await;
    let before = server.written().len();
    let error = write(&bench, 803).await.unwrap_err();
    assert!(matches!(error, WriteError::NotSent { .. }), "{error}");
    assert_eq!(server.written().len(), before);
    let error = bench.poller.write(&device(9), setpoint(1)).await.unwrap_err();
    assert!(matches!(error, WriteError::NotSent { .. }), "{error}");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_goes_before_the_polls_that_are_due() {
    let (mut bench, server) = bench().await;
    // Each answer takes almost the timeout, so that every poll is overdue.
    let slow = TIMEOUT * 8 / 10;
    (1..=2).for_each(|unit| server.always(unit, Some(Wrong::Late(slow))));
    bench.during(5 * SLOW).await;
    let given_at = Instant::now();
    let readings = bench.poller.read_now(&device(2), &[PointIndex(0)]).await.unwrap();
    assert!(
        given_at.elapsed() <= 2 * slow,
        "one question may be on its way: {:?}",
        given_at.elapsed()
    );
    assert_eq!(readings.len(), 1);
    assert_eq!(readings[0].raw, right_value(2, PointIndex(0)));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_read_at_once_is_delivered_as_well() {
    let (mut bench, server) = bench().await;
    bench.forget();
    let asked = server.asked().len();
    let readings =
        bench.poller.read_now(&device(1), &[PointIndex(2), PointIndex(4)]).await.unwrap();
    let points: Vec<u16> = readings.iter().map(|reading| reading.point.0).collect();
    assert_eq!(points, [2, 4]);
    assert_eq!(
        server.asked().len(),
        asked + 2,
        "the block of level and motor, and the set point's"
    );
    let event = bench.next().await;
    assert!(matches!(event, Event::Delivered { unit: 1, good: 3, faults: 0, .. }), "{event:?}");
    let none = bench.poller.read_now(&device(1), &[PointIndex(77)]).await;
    assert!(matches!(none, Err(ReadError::NotAsked { .. })), "{none:?}");
    server.always(1, Some(Wrong::Silent));
    let none = bench.poller.read_now(&device(1), &[PointIndex(0)]).await;
    assert!(matches!(none, Err(ReadError::NoAnswer { .. })), "{none:?}");
    bench.end().await;
}
