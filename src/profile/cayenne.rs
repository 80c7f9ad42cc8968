//! Cayenne Low Power Payload: channel, type, value, one after the other.
//!
//! The types are those of the specification by myDevices (IPSO object numbers less 3200) and those that the widely used
//! libraries added. A frame does not say how long a value of an unknown type is, so such a frame is refused as a whole.

use std::collections::{BTreeMap, HashMap};

use super::decode::{DecodeError, Decoded, DeviceTime};
use super::payload::{Encoding, Target};
use super::time::written;
use super::value::Value;

/// A type of the specification: its number, its spelling in profiles, and what its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LppType {
    number: u8,
    name: &'static str,
    /// Bytes of one component.
    size: usize,
    is_signed: bool,
    /// Names of the components; "" for the only one.
    components: &'static [Component],
}

/// One number of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    name: &'static str,
    /// What the whole number is divided by.
    divisor: u32,
}

const fn one(divisor: u32) -> [Component; 1] {
    [Component { name: "", divisor }]
}

const fn three(names: [&'static str; 3], divisors: [u32; 3]) -> [Component; 3] {
    [
        Component { name: names[0], divisor: divisors[0] },
        Component { name: names[1], divisor: divisors[1] },
        Component { name: names[2], divisor: divisors[2] },
    ]
}

static ONES: [Component; 1] = one(1);
static HALVES: [Component; 1] = one(2);
static TENTHS: [Component; 1] = one(10);
static HUNDREDTHS: [Component; 1] = one(100);
static THOUSANDTHS: [Component; 1] = one(1_000);
static XYZ_THOUSANDTHS: [Component; 3] = three(["x", "y", "z"], [1_000; 3]);
static XYZ_HUNDREDTHS: [Component; 3] = three(["x", "y", "z"], [100; 3]);
static PLACE: [Component; 3] = three(["latitude", "longitude", "altitude"], [10_000, 10_000, 100]);
static RGB: [Component; 3] = three(["red", "green", "blue"], [1; 3]);

const fn unsigned(
    number: u8,
    name: &'static str,
    size: usize,
    components: &'static [Component],
) -> LppType {
    LppType { number, name, size, is_signed: false, components }
}

const fn signed(
    number: u8,
    name: &'static str,
    size: usize,
    components: &'static [Component],
) -> LppType {
    LppType { number, name, size, is_signed: true, components }
}

/// Every type that is understood.
static TYPES: [LppType; 25] = [
    unsigned(0, "digital_input", 1, &ONES),
    unsigned(1, "digital_output", 1, &ONES),
    signed(2, "analog_input", 2, &HUNDREDTHS),
    signed(3, "analog_output", 2, &HUNDREDTHS),
    unsigned(100, "generic", 4, &ONES),
    unsigned(101, "illuminance", 2, &ONES),
    unsigned(102, "presence", 1, &ONES),
    signed(103, "temperature", 2, &TENTHS),
    unsigned(104, "humidity", 1, &HALVES),
    signed(113, "accelerometer", 2, &XYZ_THOUSANDTHS),
    unsigned(115, "barometer", 2, &TENTHS),
    unsigned(116, "voltage", 2, &HUNDREDTHS),
    unsigned(117, "current", 2, &THOUSANDTHS),
    unsigned(118, "frequency", 4, &ONES),
    unsigned(120, "percentage", 1, &ONES),
    signed(121, "altitude", 2, &ONES),
    unsigned(125, "concentration", 2, &ONES),
    unsigned(128, "power", 2, &ONES),
    unsigned(130, "distance", 4, &THOUSANDTHS),
    unsigned(131, "energy", 4, &THOUSANDTHS),
    unsigned(132, "direction", 2, &ONES),
    unsigned(133, "unix_time", 4, &ONES),
    signed(134, "gyrometer", 2, &XYZ_HUNDREDTHS),
    unsigned(135, "colour", 1, &RGB),
    signed(136, "location", 3, &PLACE),
];

/// A type as Cayenne's `unix_time`.
const UNIX_TIME: u8 = 133;

impl LppType {
    /// The names of every type.
    pub(super) fn names() -> Vec<&'static str> {
        TYPES.iter().map(|kind| kind.name).collect()
    }

    /// The type of this name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        TYPES.iter().copied().find(|kind| kind.name == name)
    }

    fn of_number(number: u8) -> Option<&'static LppType> {
        TYPES.binary_search_by_key(&number, |kind| kind.number).ok().map(|at| &TYPES[at])
    }

    /// The names of its components; none when it has only one.
    pub(super) fn components(self) -> Vec<&'static str> {
        self.components.iter().map(|part| part.name).filter(|name| !name.is_empty()).collect()
    }

    fn read(&self, component: usize, bytes: &[u8]) -> f64 {
        let start = component * self.size;
        let bytes = bytes.get(start..start + self.size).unwrap_or_default();
        let first = bytes.first().copied().unwrap_or_default();
        let sign = if self.is_signed && first & 0x80 != 0 { -1 } else { 0 };
        let whole = bytes.iter().fold(sign, |value: i64, byte| value << 8 | i64::from(*byte));
        whole as f64 / f64::from(self.components.get(component).map_or(1, |part| part.divisor))
    }
}

/// Reads the values that a profile names.
#[derive(Debug, Default)]
pub(super) struct CayenneDecoder {
    /// By channel and number of the type.
    slots: HashMap<(u8, u8), Vec<Slot>>,
    /// The channel that holds the device's own time.
    time: Option<u8>,
    untimed: DeviceTime,
    encoding: Encoding,
}

#[derive(Debug)]
struct Slot {
    target: Target,
    component: usize,
}

impl CayenneDecoder {
    /// The decoder of frames that travel so.
    pub(super) fn new(encoding: Encoding) -> Self {
        CayenneDecoder { encoding, ..CayenneDecoder::default() }
    }

    /// Says which channel holds the device's own time (type 133).
    pub(super) fn set_time(&mut self, channel: u8, is_optional: bool) {
        self.time = Some(channel);
        self.untimed = if is_optional { DeviceTime::Unsaid } else { DeviceTime::Unreadable };
    }

    /// Adds a value to read.
    pub(super) fn add(&mut self, channel: u8, kind: LppType, component: usize, target: Target) {
        self.slots.entry((channel, kind.number)).or_default().push(Slot { target, component });
    }

    /// Reads one frame into `out`. Where a channel comes twice with one type, the later value counts.
    pub(super) fn decode(&self, payload: &[u8], out: &mut Decoded) -> Result<(), DecodeError> {
        let frame = self.encoding.open(payload)?;
        let mut found: BTreeMap<(u8, u8), (&LppType, &[u8])> = BTreeMap::new();
        let mut time = self.untimed;
        let mut at = 0;
        while let Some([channel, number]) = frame.get(at..at + 2) {
            let kind = LppType::of_number(*number)
                .ok_or_else(|| DecodeError::NotLpp(unknown_type(*number, at + 1)))?;
            let length = kind.size * kind.components.len();
            let Some(bytes) = frame.get(at + 2..at + 2 + length) else {
                return Err(DecodeError::NotLpp(cut_off(kind, at + 2, frame.len())));
            };
            if *number == UNIX_TIME && self.time == Some(*channel) {
                let seconds = kind.read(0, bytes) as i64;
                time = written(seconds * 1_000_000).map_or(DeviceTime::Unreadable, DeviceTime::At);
            }
            if self.slots.contains_key(&(*channel, *number)) {
                found.insert((*channel, *number), (kind, bytes));
            }
            at += 2 + length;
        }
        if at != frame.len() {
            return Err(DecodeError::NotLpp(format!("byte {at} is a channel without a type")));
        }
        out.open(None, time)?;
        for (key, (kind, bytes)) in found {
            for Slot { target, component } in self.slots.get(&key).into_iter().flatten() {
                let value = Value::Float(kind.read(*component, bytes));
                let place = || format!("channel {} ({})", key.0, kind.name);
                target.take(value, place, out)?;
            }
        }
        if out.is_empty() { Err(DecodeError::NoPoint) } else { Ok(()) }
    }
}

#[cold]
fn unknown_type(number: u8, at: usize) -> String {
    format!("byte {at} is the type {number}, whose length nobody knows")
}

#[cold]
fn cut_off(kind: &LppType, at: usize, length: usize) -> String {
    let needed = kind.size * kind.components.len();
    format!("the {} at byte {at} has {needed} bytes; the frame ends at {length}", kind.name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::PointIndex;
    use crate::profile::payload::{Decoder, Memory, Message, from_hex};
    use crate::profile::testing::shown;

    /// `channel type.component`, as points 0, 1, 2 ...; `time` on channel 9.
    fn decoder(reads: &[&str]) -> Decoder {
        let mut decoder = CayenneDecoder::new(Encoding::Raw);
        for (i, read) in reads.iter().enumerate() {
            let (channel, kind) = read.split_once(' ').expect("channel type");
            let (kind, component) = kind.split_once('.').unwrap_or((kind, ""));
            let kind = LppType::of_name(kind).expect(read);
            let component = kind.components.iter().position(|part| part.name == component);
            let target = Target { point: PointIndex(i as u16), states: [].into() };
            decoder.add(channel.parse().expect("a channel"), kind, component.expect(read), target);
        }
        decoder.set_time(9, true);
        Decoder::Cayenne(decoder)
    }

    fn decode(reads: &[&str], hex: &str) -> Result<Vec<String>, DecodeError> {
        let payload = from_hex(hex.as_bytes()).expect("hex");
        let mut out = Decoded::default();
        let message = Message { topic: "", payload: &payload };
        decoder(reads).decode(message, &Memory::default(), &mut out)?;
        let mut lines = shown(&out);
        // One report, whose readings come in no order of their own.
        let mut words: Vec<_> = lines.remove(0).split(' ').map(str::to_owned).collect();
        words.sort();
        Ok(words)
    }

    #[track_caller]
    fn check(reads: &[&str], hex: &str, expected: &str) {
        assert_eq!(decode(reads, hex).expect(hex).join(" "), expected, "{hex}");
    }

    #[track_caller]
    fn check_refused(hex: &str, reason: &str, words: &str) {
        let error = decode(&["1 temperature"], hex).expect_err(hex);
        assert!(error.reason() == reason && error.to_string().contains(words), "{hex}: {error}");
    }

    #[test]
    fn the_examples_of_the_specification_decode() {
        // "Device with 2 temperature sensors": 272 and 255 tenths.
        check(
            &["3 temperature", "5 temperature"],
            "03 67 01 10 05 67 00 FF",
            "- 0=27.2 1=25.5 now",
        );
        // "Device with temperature and acceleration sensors": -4.1 C; 1.234, -1.234, 0 G.
        let reads =
            ["1 temperature", "6 accelerometer.x", "6 accelerometer.y", "6 accelerometer.z"];
        check(&reads, "01 67 FF D7 06 71 04 D2 FB 2E 00 00", "- 0=-4.1 1=1.234 2=-1.234 3=0 now");
        // "Device with GPS": 42.3519, -87.9094, 10 m.
        let reads = ["1 location.latitude", "1 location.longitude", "1 location.altitude"];
        check(&reads, "01 88 06 76 5F F2 96 0A 00 03 E8", "- 0=42.3519 1=-87.9094 2=10 now");
    }

    #[test]
    fn every_type_has_its_length_and_scale() {
        assert!(TYPES.is_sorted_by_key(|kind| kind.number));
        check(
            &["1 digital_input", "2 digital_output", "3 presence"],
            "01 00 01 02 01 00 03 66 01",
            "- 0=1 1=0 2=1 now",
        );
        check(
            &["1 analog_input", "1 analog_output"],
            "01 02 FF 9C 01 03 04 D2",
            "- 0=-1 1=12.34 now",
        );
        check(
            &["1 humidity", "1 barometer", "1 illuminance"],
            "01 68 7D 01 73 27 8D 01 65 FF FF",
            "- 0=62.5 1=1012.5 2=65535 now",
        );
        check(
            &["1 voltage", "1 current", "1 power"],
            "01 74 01 4A 01 75 01 F4 01 80 00 64",
            "- 0=3.3 1=0.5 2=100 now",
        );
        check(
            &["1 distance", "1 energy", "1 frequency", "1 generic"],
            "01 82 00 00 06 40 01 83 FF FF FF FF 01 76 00 00 00 32 01 64 00 00 00 07",
            "- 0=1.6 1=4294967.295 2=50 3=7 now",
        );
        check(
            &["1 percentage", "1 altitude", "1 concentration", "1 direction"],
            "01 78 64 01 79 FF FE 01 7D 01 90 01 84 01 0E",
            "- 0=100 1=-2 2=400 3=270 now",
        );
        check(
            &["1 gyrometer.z", "1 colour.green"],
            "01 86 00 00 00 00 FF 9C 01 87 01 02 03",
            "- 0=-1 1=2 now",
        );
    }

    #[test]
    fn the_time_and_the_later_value_count() {
        check(
            &["1 temperature"],
            "09 85 6A B1 3B 80 01 67 00 01 01 67 00 02",
            "- 0=0.2 2026-09-21T14:13:20Z",
        );
        check(&["8 unix_time"], "08 85 00 00 00 01", "- 0=1 now");
    }

    #[test]
    fn a_refusal_says_where() {
        check_refused(
            "01 67 01",
            "not_lpp",
            "the temperature at byte 2 has 2 bytes; the frame ends at 3",
        );
        check_refused("01 67 01 10 05", "not_lpp", "byte 4 is a channel without a type");
        check_refused("01 67 01 10 05 FA 00", "not_lpp", "byte 5 is the type 250");
        check_refused("02 67 01 10", "no_point", "none");
        check_refused("", "no_point", "none");
    }

    proptest! {
        #[test]
        fn no_bytes_crash_it(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut out = Decoded::default();
            let message = Message { topic: "", payload: &payload };
            let result = decoder(&["1 temperature"]).decode(message, &Memory::default(), &mut out);
            prop_assert_eq!(result.is_err(), out.is_empty());
        }
    }
}
