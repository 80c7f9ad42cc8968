//! Over real sockets and in real time: fault injection again, and tokio-modbus's own server.

use std::collections::HashSet;
use std::future::{Ready, ready};
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};

use super::super::link::Links;
use super::bench::{Bench, Event, PATIENCE};
use super::fault_server::{FaultServer, Wrong};
use super::profile::{TIMEOUT, bit, gate, source, target, word};

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    (listener, endpoint)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unit_recovers_from_its_fault_and_no_wrong_value_passes() {
    let wrongs = [
        Wrong::Late(TIMEOUT * 3 / 2),
        Wrong::Late(TIMEOUT * 4),
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
    let (listener, endpoint) = listener().await;
    let server = FaultServer::default();
    let serving = tokio::spawn(server.clone().listen(listener));
    let gate = gate(source(60, 8));
    let mut bench = Bench::new(Links);
    let units = 1..=wrongs.len() as u8;
    for (unit, wrong) in units.clone().zip(wrongs) {
        server.once(unit, wrong);
    }
    assert_eq!(bench.update(units.clone().map(|u| target(&endpoint, u, &gate)).collect()), []);
    // On a busy machine a healthy answer may be late as well: that costs time, never a value.
    let recovered = async {
        let (mut down, mut back) = (HashSet::new(), HashSet::new());
        while back.len() < wrongs.len() {
            match bench.next().await {
                Event::Link { unit, up: false } => down.extend([unit]),
                Event::Link { unit, up: true } if down.contains(&unit) => back.extend([unit]),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, recovered).await.expect("every unit fails once and recovers");
    assert!(bench.stats(&endpoint).reconnects >= wrongs.len() as u64);
    bench.end().await;
    serving.abort();
}

/// A gate behind every unit number, except that unit 9 refuses.
struct Gates;

impl Service for Gates {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, asked: Self::Request) -> Self::Future {
        let unit = asked.slave;
        let words = |is_input, from: u16, n: u16| {
            (from..from + n).map(|address| word(unit, is_input, address)).collect()
        };
        ready(match asked.request {
            _ if unit == 9 => Err(ExceptionCode::ServerDeviceFailure),
            Request::ReadHoldingRegisters(from, n) => {
                Ok(Response::ReadHoldingRegisters(words(false, from, n)))
            }
            Request::ReadInputRegisters(from, n) => {
                Ok(Response::ReadInputRegisters(words(true, from, n)))
            }
            Request::ReadDiscreteInputs(from, n) => {
                let bits = (from..from + n).map(|address| bit(unit, address)).collect();
                Ok(Response::ReadDiscreteInputs(bits))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_implementations_server_is_read_rightly() {
    let (listener, endpoint) = listener().await;
    let serving = tokio::spawn(async move {
        let on_connected = |stream, address: SocketAddr| async move {
            tokio_modbus::server::tcp::accept_tcp_connection(stream, address, |_| Ok(Some(Gates)))
        };
        Server::new(listener).serve(&on_connected, |error| panic!("{error}")).await
    });
    let gate = gate(source(60, 8));
    let mut bench = Bench::new(Links);
    bench.update([1, 2, 9].map(|unit| target(&endpoint, unit, &gate)).into());
    for unit in [1, 2] {
        // The slow poll's one point and the fast one's four; the bench checks the values.
        for points in [1, 4] {
            let is_it = |e: &Event| matches!(e, Event::Delivered { unit: u, good, .. } if (*u, *good) == (unit, points));
            bench.until(is_it).await;
        }
    }
    bench.until(|e| matches!(e, Event::Delivered { unit: 9, good: 0, faults: 4, .. })).await;
    assert!(bench.stats(&endpoint).connected);
    bench.end().await;
    serving.abort();
}
