//! The poller against pymodbus: every type in every word order, over TCP and over RTU on a pair of pseudo-terminals, and
//! every function that writes. The registers are encoded by pymodbus, not by us.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use townhub::clock::Clock;
use townhub::ingest::modbus::{PollSink, Poller, Target, WriteError};
use townhub::model::{DeviceId, Reading, Timestamp};
use townhub::profile::{MaskWrite, Profile, RegisterWrite, Table, read_text};
use townhub::registry::ModbusAddress;

use crate::peers_that_we_did_not_write_are_served::{Running, peer, python};

const ORDERS: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A value: its type and order, and what it must read as.
struct Value {
    kind: &'static str,
    order: &'static str,
    value: serde_json::Value,
    words: u16,
    read: f64,
}

fn values() -> Vec<Value> {
    let mut values = Vec::new();
    for order in ORDERS {
        let numbers = [
            ("u32", json!(3_000_000_001_u32), 2, 3_000_000_001.0),
            ("i32", json!(-123_456_789), 2, -123_456_789.0),
            ("f32", json!(-12.625), 2, -12.625),
            ("u64", json!(9_007_199_254_740_991_u64), 4, 9_007_199_254_740_991.0),
            ("i64", json!(-5_000_000_000_i64), 4, -5_000_000_000.0),
            ("f64", json!(1_234.567_8), 4, 1_234.567_8),
        ];
        values.extend(numbers.map(|(kind, value, words, read)| Value {
            kind,
            order,
            value,
            words,
            read,
        }));
    }
    let short = |kind, value, words, read| Value { kind, order: "ABCD", value, words, read };
    values.push(short("u16", json!(65_535), 1, 65_535.0));
    values.push(short("i16", json!(-200), 1, -200.0));
    values.push(short("text", json!("AUTO"), 2, 7.0));
    values
}

fn profile(values: &[Value]) -> Arc<Profile> {
    let mut text = r#"
        profile = 1
        id = "types"
        name = "types"
        manufacturer = "pymodbus"
        model = "types"
        kind = "pipe"
        source.modbus = { timeout = "1s", max_gap = 0, poll = { all = "100ms" } }
        staleness.stale_after = "10s"
    "#
    .to_owned();
    let mut address = 0;
    for (i, Value { kind, order, words, .. }) in values.iter().enumerate() {
        let (more, states) = match *kind {
            "text" => (", length = 2", "states = { 7 = { name = \"auto\", text = \"AUTO\" } }"),
            _ => ("", "unit = \"1\""),
        };
        let order = if *words > 1 { format!(", word_order = \"{order}\"") } else { String::new() };
        text += &format!(
            "[points.p{i}]\nlabel = \"p\"\n{states}\n\
             read = {{ table = \"holding\", address = {address}, type = \"{kind}\"{order}{more} }}\n"
        );
        address += words;
    }
    let file = read_text("types.toml", &text).unwrap_or_else(|errors| panic!("{errors:?}"));
    Arc::new(file.profile)
}

struct Sink(mpsc::UnboundedSender<Vec<Reading>>);

impl PollSink for Sink {
    async fn deliver(&self, _device: &DeviceId, _received_at: Timestamp, readings: &[Reading]) {
        let _ = self.0.send(readings.to_vec());
    }

    fn link(&self, _device: &DeviceId, _up: bool) {}
}

/// Reads every value rightly from `endpoint`, and writes by every function.
async fn read_and_write(endpoint: String) {
    let values = values();
    let (sender, mut delivered) = mpsc::unbounded_channel();
    let poller = Poller::new(Clock::system(), Arc::new(Sink(sender)));
    let device: DeviceId = "types".parse().expect("an id");
    let address = ModbusAddress { endpoint, unit: 1 };
    let target = Target { device: device.clone(), address, profile: profile(&values) };
    assert_eq!(poller.update(vec![target]), []);
    let all_right = async {
        loop {
            let readings = delivered.recv().await.expect("the poller runs");
            if readings.iter().all(|reading| reading.comm_fault) {
                continue;
            }
            assert_eq!(readings.len(), values.len());
            for reading in readings {
                let Value { kind, order, read, .. } = &values[usize::from(reading.point.0)];
                assert_eq!(reading.raw, *read, "{kind} {order}");
            }
            return;
        }
    };
    timeout(PATIENCE, all_right).await.expect("it is read");

    let write =
        |table, address, values: &[u16]| RegisterWrite { table, address, values: values.to_vec() };
    let writes = vec![
        write(Table::Holding, 500, &[7]),
        write(Table::Holding, 501, &[0x1234, 2, 3]),
        write(Table::Coil, 1, &[1]),
        write(Table::Coil, 3, &[1, 0, 1]),
    ];
    poller.write(&device, writes).await.expect("functions 6, 16, 5 and 15");
    let mask = MaskWrite { address: 501, mask: 0x00F0, value: 0x0050 };
    poller.mask_write(&device, mask).await.expect("function 22");
    let both = write(Table::Holding, 504, &[9]);
    let read = poller.write_and_read(&device, both, 500, 5).await.expect("function 23");
    assert_eq!(read, [7, 0x1254, 2, 3, 9]);
    let refused = poller.write(&device, vec![write(Table::Holding, 9_000, &[1])]).await;
    assert!(matches!(refused, Err(WriteError::Refused { done: 0, code: 2, .. })), "{refused:?}");
    poller.shutdown().await;
}

fn pymodbus(more: &[&str]) -> Running {
    let values: Vec<_> = values()
        .into_iter()
        .map(|Value { kind, order, value, .. }| json!(["v", kind, order, value]))
        .collect();
    let values = serde_json::Value::from(values).to_string();
    let mut command = Command::new(python());
    Running::start(command.arg(peer("pymodbus_types.py")).args(["--values", &values]).args(more))
}

#[tokio::test(flavor = "multi_thread")]
async fn pymodbus_is_read_and_written_over_tcp() {
    let mut server = pymodbus(&[]);
    let port = server.line_with("READY").split_whitespace().nth(1).expect("a port").to_owned();
    read_and_write(format!("127.0.0.1:{port}")).await;
}

/// Two pseudo-terminals that are joined: what is a cable with two ports elsewhere.
struct Cable {
    socat: Child,
    ends: [PathBuf; 2],
}

impl Cable {
    fn lay(folder: &Path) -> Self {
        let ends = ["a", "b"].map(|end| folder.join(end));
        let pty = |end: &Path| format!("pty,raw,echo=0,link={}", end.display());
        let mut socat = Command::new("socat");
        socat.args(ends.each_ref().map(|end| pty(end))).stdin(Stdio::null());
        Cable { socat: socat.spawn().expect("socat is installed"), ends }
    }

    /// The names of both ends, once they are there.
    async fn ends(&self) -> [String; 2] {
        let there = async {
            while !self.ends.iter().all(|end| end.exists()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, there).await.expect("socat makes both ends");
        self.ends.each_ref().map(|end| end.display().to_string())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.socat.kill();
        let _ = self.socat.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pymodbus_is_read_and_written_over_a_serial_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cable = Cable::lay(folder.path());
    let [near, far] = cable.ends().await;
    let mut server = pymodbus(&["--serial", &far]);
    server.line_with("READY");
    read_and_write(format!("rtu://{near}?baud=19200&parity=none&stop=1")).await;
}
