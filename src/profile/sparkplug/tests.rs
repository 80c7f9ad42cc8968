//! Births, data and deaths; golden bytes, and what must not get through.

use proptest::prelude::*;
use prost::Message as _;

use super::wire::MetricValue;
use super::*;
use crate::model::PointIndex;
use crate::profile::payload::{Decoder, from_hex};
use crate::profile::testing::shown;

const TIME_MS: u64 = 1_790_000_000_000;
const TIME: &str = "2026-09-21T14:13:20Z";

/// Points 0, 1, 2 ... read these metrics; `name=alias` declares an alias, `name:type` a type.
fn decoder(reads: &[&str]) -> SparkplugDecoder {
    let topic = "spBv1.0/{group}/{type}/{device}/{sub?}".parse().expect("a topic");
    let mut decoder = SparkplugDecoder::new(Some(topic), Encoding::Raw, false);
    for (i, read) in reads.iter().enumerate() {
        let (read, alias) = read
            .split_once('=')
            .map_or((*read, None), |(read, alias)| (read, Some(alias.parse().expect("an alias"))));
        let (name, kind) = read.split_once(':').map_or((read, None), |(name, kind)| {
            (name, DataType::ALL.into_iter().find(|known| known.as_str() == kind))
        });
        let states = [("open".to_owned(), 1.0)].into();
        decoder.add(name, alias, kind, Target { point: PointIndex(i as u16), states });
    }
    decoder
}

/// One metric as its parts.
fn metric(name: Option<&str>, alias: Option<u64>, kind: Option<u32>, value: MetricValue) -> Metric {
    let name = name.map(str::to_owned);
    Metric { name, alias, datatype: kind, value: Some(value), ..Metric::default() }
}

/// A payload of these metrics with a time.
fn message(metrics: &[Metric]) -> Vec<u8> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Payload {
        #[prost(uint64, optional, tag = "1")]
        timestamp: Option<u64>,
        #[prost(message, repeated, tag = "2")]
        metrics: Vec<Metric>,
        #[prost(uint64, optional, tag = "3")]
        seq: Option<u64>,
    }
    Payload { timestamp: Some(TIME_MS), metrics: metrics.to_vec(), seq: Some(3) }.encode_to_vec()
}

/// Sends messages of one station; the last one's outcome.
fn send(
    decoder: SparkplugDecoder,
    messages: &[(&str, Vec<u8>)],
) -> Result<Vec<String>, DecodeError> {
    let decoder = Decoder::Sparkplug(decoder);
    let memory = Memory::default();
    let mut out = Decoded::default();
    let mut result = Ok(());
    for (topic, payload) in messages {
        result = decoder.decode(Message { topic, payload }, &memory, &mut out);
        assert!(result.is_ok() || out.reports().len() == 0, "all or nothing");
    }
    result.map(|()| shown(&out))
}

#[track_caller]
fn check(reads: &[&str], messages: &[(&str, Vec<u8>)], expected: &[&str]) {
    assert_eq!(send(decoder(reads), messages).expect("decodes"), expected);
}

#[track_caller]
fn check_refused(reads: &[&str], messages: &[(&str, Vec<u8>)], reason: &str, words: &str) {
    let error = send(decoder(reads), messages).expect_err("refused");
    assert!(error.reason() == reason && error.to_string().contains(words), "{error}");
}

const BIRTH: &str = "spBv1.0/xizha/NBIRTH/edge-1";
const DATA: &str = "spBv1.0/xizha/NDATA/edge-1";
const SUB_BIRTH: &str = "spBv1.0/xizha/DBIRTH/edge-1/pump-2";
const SUB_DATA: &str = "spBv1.0/xizha/DDATA/edge-1/pump-2";

#[test]
fn a_message_byte_by_byte() {
    // 08 timestamp, 12 a metric of 21 bytes: 0A name "level", 18 its own time, 20 type 9 (Float), 65 fixed32 1.5.
    let hex = b"08 80 D8 C1 A2 8C 34 12 15 0A 05 6C 65 76 65 6C 18 80 D8 C1 A2 8C 34 20 09 65 00 00 C0 3F 18 07";
    let bytes = from_hex(hex).expect("hex");
    check(&["level"], &[(DATA, bytes.clone())], &[&format!("- {TIME} 0=1.5")]);
    for end in 1..bytes.len() {
        let result = send(decoder(&["level"]), &[(DATA, bytes[..end].to_vec())]);
        assert!(result.is_err() || end == 30, "cut off after {end} bytes: {result:?}");
    }
}

#[test]
fn births_teach_aliases_and_types() {
    let birth = message(&[
        metric(Some("Level"), Some(1), Some(2), MetricValue::Int(65_535)),
        metric(Some("Flow"), Some(2), Some(10), MetricValue::Double(2.5)),
        metric(Some("bdSeq"), None, Some(4), MetricValue::Long(0)),
    ]);
    let data = message(&[
        metric(None, Some(1), None, MetricValue::Int(65_534)),
        metric(None, Some(2), None, MetricValue::Double(f64::INFINITY)),
    ]);
    let reads = ["Level", "Flow"];
    check(&reads, &[(BIRTH, birth.clone())], &[&format!("- {TIME} 0=-1 1=2.5")]);
    check(
        &reads,
        &[(BIRTH, birth.clone()), (DATA, data.clone())],
        &[&format!("- {TIME} 0=-2 1=NaN")],
    );
    // On its plain topic a node teaches as well.
    let plain = "devices/edge-1/telemetry";
    check(
        &reads,
        &[(plain, birth.clone()), (plain, data.clone())],
        &[&format!("- {TIME} 0=-2 1=NaN")],
    );
    // The type that a birth gave a name serves data that repeats the name.
    let named = message(&[metric(Some("Level"), None, None, MetricValue::Int(65_533))]);
    check(&reads, &[(BIRTH, birth.clone()), (DATA, named)], &[&format!("- {TIME} 0=-3")]);
    check_refused(
        &reads,
        &[(DATA, data.clone())],
        "unknown_alias",
        "the alias 1 is unknown: no birth",
    );
    // A new birth of the node ends what was known of it.
    let other = message(&[metric(Some("Flow"), Some(1), Some(10), MetricValue::Double(1.0))]);
    check_refused(
        &reads,
        &[(BIRTH, birth), (BIRTH, other), (DATA, data)],
        "unknown_alias",
        "alias 2",
    );
}

#[test]
fn devices_behind_a_node_have_aliases_of_their_own() {
    let birth = |name| message(&[metric(Some(name), Some(1), Some(9), MetricValue::Float(0.5))]);
    let data = message(&[metric(None, Some(1), None, MetricValue::Float(1.5))]);
    let births = [(BIRTH, birth("Level")), (SUB_BIRTH, birth("Flow"))];
    let with = |topic, data: &Vec<u8>| [&births[..], &[(topic, data.clone())]].concat();
    check(&["Level", "Flow"], &with(DATA, &data), &[&format!("- {TIME} 0=1.5")]);
    check(&["Level", "Flow"], &with(SUB_DATA, &data), &[&format!("pump-2 {TIME} 1=1.5")]);
    let reborn = [with(BIRTH, &birth("Level")), vec![(SUB_DATA, data.clone())]].concat();
    check_refused(
        &["Level", "Flow"],
        &reborn,
        "unknown_alias",
        "the alias 1 is unknown for pump-2",
    );
    // A profile whose own topic names the device behind the node is that device's.
    let own = "spBv1.0/{group}/{type}/{node}/{device}".parse().expect("a topic");
    let decoder = SparkplugDecoder { topic: Some(own), ..decoder(&["Flow"]) };
    let found = send(decoder, &[(SUB_BIRTH, birth("Flow")), (SUB_DATA, data)]);
    assert_eq!(found, Ok(vec![format!("- {TIME} 0=1.5")]));
}

#[test]
fn a_profile_may_say_aliases_and_types_itself() {
    let data = message(&[
        metric(None, Some(1), None, MetricValue::Int(200)),
        metric(None, Some(9), None, MetricValue::Int(5)),
    ]);
    check(&["Level:int8=1"], &[(DATA, data.clone())], &[&format!("- {TIME} 0=-56")]);
    // Alias 9 might be the flow.
    check_refused(&["Level=1", "Flow"], &[(DATA, data)], "unknown_alias", "alias 9");
}

#[test]
fn every_kind_of_value() {
    #[track_caller]
    fn value(kind: u32, value: MetricValue, expected: &str) {
        let data = message(&[metric(Some("v"), None, Some(kind), value)]);
        check(&["v"], &[(DATA, data)], &[&format!("- {TIME} 0={expected}")]);
    }
    value(1, MetricValue::Int(0xFF), "-1");
    value(1, MetricValue::Int(0xFFFF_FFFF), "-1");
    value(3, MetricValue::Int(0xFFFF_FFFE), "-2");
    value(5, MetricValue::Int(255), "255");
    value(7, MetricValue::Int(0xFFFF_FFFF), "4294967295");
    value(4, MetricValue::Long(u64::MAX), "-1");
    value(8, MetricValue::Long(u64::MAX), "18446744073709552000");
    value(11, MetricValue::Boolean(true), "1");
    value(12, MetricValue::Text("open".to_owned()), "1");
    value(9, MetricValue::Float(f32::NAN), "NaN");
    let refused = |kind: u32, value: MetricValue, words: &str| {
        let data = message(&[metric(Some("v"), None, Some(kind), value)]);
        check_refused(&["v"], &[(DATA, data)], "wrong_type", words);
    };
    refused(12, MetricValue::Text("ajar".to_owned()), "metric `v` is the text \"ajar\"");
    refused(17, MetricValue::Bytes(vec![1]), "metric `v` is an array");
    refused(19, MetricValue::Template(vec![]), "metric `v` is an object");
}

#[test]
fn no_value_bad_quality_and_history_are_said_so() {
    let base = || metric(Some("v"), None, Some(9), MetricValue::Float(1.0));
    let null = Metric { is_null: Some(true), value: None, ..base() };
    check(&["v"], &[(DATA, message(&[null]))], &[&format!("- {TIME} 0=NaN")]);
    let old = Metric { is_historical: Some(true), timestamp: Some(TIME_MS - 60_000), ..base() };
    let expected = ["- 2026-09-21T14:12:20Z(history) 0=1".to_owned(), format!("- {TIME} 0=1")];
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&["v"], &[(DATA, message(&[base(), old]))], &expected);
    let absurd = Metric { timestamp: Some(u64::MAX), ..base() };
    check(&["v"], &[(DATA, message(&[absurd]))], &["- ? 0=1"]);
    // Property 9: keys "Quality", values a type (3, Int32) and 500 (stale).
    let mut bytes = base().encode_to_vec();
    bytes.extend(from_hex(b"4A 10 0A 07 51 75 61 6C 69 74 79 12 05 08 03 18 F4 03").expect("hex"));
    let stale = Metric::decode(&*bytes).expect("a metric");
    check(&["v"], &[(DATA, message(&[stale]))], &[&format!("- {TIME} 0=1!")]);
    let untimed = [&[0x12, base().encoded_len() as u8][..], &base().encode_to_vec()].concat();
    check(&["v"], &[(DATA, untimed)], &["- ? 0=1"]);
}

#[test]
fn topics_say_what_a_message_is() {
    let data = || message(&[metric(Some("v"), None, Some(9), MetricValue::Float(1.0))]);
    check(&["v"], &[("town/spBv1.0/g/NDATA/edge-1", data())], &[&format!("- {TIME} 0=1")]);
    check(&["v"], &[("spBv1.0/g/NDEATH/edge-1", message(&[]))], &[]);
    check(&["other"], &[(BIRTH, data())], &[]);
    check_refused(&["v"], &[("spBv1.0/g/NCMD/edge-1", data())], "wrong_topic", "`NCMD`");
    check_refused(&["other"], &[(DATA, data())], "no_point", "none");
    check_refused(&["v"], &[(DATA, vec![0xFF])], "not_sparkplug", "payload is not Sparkplug B: ");
    check_refused(&["v"], &[(DATA, Vec::new())], "no_point", "none");
}

#[test]
fn what_births_teach_is_bounded() {
    let mut aliases = Aliases::default();
    for i in 0..20_000u64 {
        let device = (i / 100).to_string();
        let name = i.to_string();
        aliases.learn(&device, &metric(Some(&name), Some(i), Some(9), MetricValue::Float(0.0)));
    }
    assert!(aliases.count <= MAX_METRICS + 1, "{}", aliases.count);
    let counted: usize = aliases.devices.values().map(Births::len).sum();
    assert_eq!(aliases.count, counted);
    aliases.forget("3");
    assert_eq!(aliases.count, counted - 200);
    aliases.forget("");
    assert_eq!((aliases.count, aliases.devices.len()), (0, 0));
}

proptest! {
    #[test]
    fn no_bytes_crash_it(payload in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = send(decoder(&["v"]), &[(BIRTH, payload.clone()), (DATA, payload)]);
    }

    #[test]
    fn no_flipped_bit_crashes_it(at in 0usize..64, bit in 0u8..8) {
        let mut bytes = message(&[
            metric(Some("v"), Some(1), Some(9), MetricValue::Float(1.0)),
            metric(None, Some(1), None, MetricValue::Text("open".to_owned())),
        ]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = send(decoder(&["v"]), &[(BIRTH, bytes.clone()), (SUB_DATA, bytes)]);
    }
}
