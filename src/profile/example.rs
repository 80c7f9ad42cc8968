//! What somebody may send to see a device of a profile for the first time: an ordinary message of its fixtures, as if
//! it were observed now.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::fixture::{Fixture, Input};
use super::lorawan::{EnvelopeKind, LorawanSource};
use super::payload::{Memory, Message, from_hex};
use super::set::read_text;
use super::{Decoded, MqttSource, Profile, Source};
use crate::model::Timestamp;

/// Stands in a topic and in a payload for the device's id.
const DEVICE: &str = "{device}";

/// A message to try a device with.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Where to publish it.
    pub topic: String,
    /// What to publish.
    pub payload: Vec<u8>,
    /// The time that the payload says, when it could not be made now's.
    pub observed_at: Option<Timestamp>,
}

/// The example of a profile whose file has this text; `None` when its fixtures have no ordinary message.
pub fn example(profile: &Profile, text: &str, now: Timestamp) -> Option<Example> {
    match &profile.source {
        Source::Mqtt(source) => of_mqtt(profile, source, text, now),
        Source::Lorawan(source) => of_lorawan(source, text, now),
        Source::Modbus(_) => None,
    }
}

fn of_mqtt(profile: &Profile, source: &MqttSource, text: &str, now: Timestamp) -> Option<Example> {
    let file = read_text(profile.id.as_str(), text).ok()?;
    let mut messages: Vec<(&Fixture, &[u8])> = file
        .fixtures
        .iter()
        .filter(|fixture| fixture.error.is_none() && fixture.before.is_empty())
        .filter_map(|fixture| match &fixture.input {
            Input::Message(payload) => Some((fixture, payload.as_slice())),
            _ => None,
        })
        .collect();
    // The quietest first: no alerts, nothing bad, one report. The sort keeps the order of the file.
    messages.sort_by_key(|(fixture, _)| {
        let noise = fixture.alerts.len() + fixture.bad.len() + fixture.uncertain.len();
        (fixture.reports.as_ref().map_or(1, Vec::len), noise, fixture.missing.len())
    });
    messages.into_iter().find_map(|(fixture, payload)| {
        let own = own_topic(source, &fixture.topic);
        let usual = Some(format!("devices/{DEVICE}/telemetry"));
        // Where levels of the topic mean something, the message means nothing elsewhere.
        let is_bound = topic_means(source);
        let places = if is_bound { [own, usual] } else { [usual, own] };
        places.into_iter().flatten().find_map(|topic| message(profile, topic, payload, now))
    })
}

/// Whether a topic of this profile says what a message is, as Sparkplug's does.
fn topic_means(source: &MqttSource) -> bool {
    source.topic.as_ref().is_some_and(|topic| topic.as_str().contains("{type}"))
}

/// The fixture's topic with its device's place left open.
fn own_topic(source: &MqttSource, topic: &str) -> Option<String> {
    let device = source.topic.as_ref()?.device_in(topic)?;
    let levels = topic.split('/').map(|level| if level == device { DEVICE } else { level });
    Some(levels.collect::<Vec<_>>().join("/"))
}

/// The message under this topic, if the profile reads it there.
fn message(profile: &Profile, topic: String, payload: &[u8], now: Timestamp) -> Option<Example> {
    let said = read(profile, &topic, payload)?;
    let mut payload = payload.to_vec();
    if let Some(names) = said.names() {
        payload = replaced(&payload, names.as_bytes(), DEVICE.as_bytes());
    }
    let mut fresh = payload.clone();
    for time in &said.times {
        fresh = renewed(&fresh, *time, now);
    }
    let is_fresh = read(profile, &topic, &fresh).is_some_and(|said| said.is_about(now));
    if is_fresh {
        return Some(Example { topic, payload: fresh, observed_at: None });
    }
    let observed_at = said.times.first().copied();
    Some(Example { topic, payload, observed_at })
}

/// Whom and which times a message names.
struct Said {
    devices: Vec<Box<str>>,
    times: Vec<Timestamp>,
}

impl Said {
    /// The one device that it names.
    fn names(&self) -> Option<&str> {
        match self.devices.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether all is of now, or says no time. Devices write whole seconds.
    fn is_about(&self, now: Timestamp) -> bool {
        self.times.iter().all(|time| (time.as_millis() - now.as_millis()).abs() < 2_000)
    }
}

fn read(profile: &Profile, topic: &str, payload: &[u8]) -> Option<Said> {
    let mut decoded = Decoded::default();
    profile.decode_message(Message { topic, payload }, &Memory::default(), &mut decoded).ok()?;
    if decoded.is_empty() {
        return None;
    }
    let mut said = Said { devices: Vec::new(), times: Vec::new() };
    for (report, _) in decoded.reports() {
        said.devices.extend(report.device.clone());
        said.times.extend(report.time.at());
    }
    said.devices.sort_unstable();
    said.devices.dedup();
    said.times.sort_unstable();
    said.times.dedup();
    Some(said)
}

/// The payload with `then` replaced by `now` in every spelling that devices use.
fn renewed(payload: &[u8], then: Timestamp, now: Timestamp) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let is_text = std::str::from_utf8(&payload).is_ok();
    let spell = if is_text { texts } else { numbers };
    for (old, new) in spell(then).into_iter().zip(spell(now)) {
        payload = replaced(&payload, &old, &new);
    }
    payload
}

/// Longer spellings first: milliseconds begin with the seconds.
fn texts(time: Timestamp) -> Vec<Vec<u8>> {
    let seconds = time.as_millis().div_euclid(1000);
    let whole = Timestamp::from_secs(seconds);
    // A fraction of a second, as some write it: the seconds before the point are made now's, and that is near enough.
    let mut texts =
        vec![time.as_micros().to_string(), time.as_millis().to_string(), seconds.to_string()];
    texts.push(whole.to_string());
    // A clock on a wall, wherever the wall stands.
    for pattern in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"] {
        texts.extend((-12..=14).filter_map(|hours| {
            let there = jiff::Timestamp::from_second(seconds + hours * 3600).ok()?;
            Some(there.strftime(pattern).to_string())
        }));
    }
    texts.into_iter().map(String::into_bytes).collect()
}

/// As binary frames have it: seconds in 32 bits, milliseconds in 64, and Protobuf's varint of them.
fn numbers(time: Timestamp) -> Vec<Vec<u8>> {
    let millis = time.as_millis() as u64;
    let seconds = (millis / 1000) as u32;
    vec![
        millis.to_be_bytes().to_vec(),
        millis.to_le_bytes().to_vec(),
        varint(millis),
        seconds.to_be_bytes().to_vec(),
        seconds.to_le_bytes().to_vec(),
    ]
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn replaced(payload: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    let mut rest = payload;
    while !rest.is_empty() {
        match rest.strip_prefix(old) {
            Some(after) if !old.is_empty() => {
                out.extend_from_slice(new);
                rest = after;
            }
            _ => {
                out.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// The first ordinary frame, wrapped as the network's server would. The codec that reads it lies beside the file, so
/// the file is looked at as it is written.
fn of_lorawan(source: &LorawanSource, text: &str, now: Timestamp) -> Option<Example> {
    let file: toml::Table = text.parse().ok()?;
    let tests = file.get("test")?.as_array()?;
    let (port, frame) =
        tests.iter().filter(|test| test.get("error").is_none()).find_map(|test| {
            let port = test.get("port").and_then(toml::Value::as_integer).unwrap_or(1);
            let frame = from_hex(test.get("hex")?.as_str()?.as_bytes()).ok()?;
            Some((port, frame))
        })?;
    let data = STANDARD.encode(&frame);
    let payload = match source.envelope {
        Some(EnvelopeKind::Raw) => frame,
        Some(EnvelopeKind::Tts) => json!({
            "end_device_ids": { "device_id": DEVICE, "dev_eui": DEVICE },
            "uplink_message": { "f_port": port, "frm_payload": data, "received_at": now.to_string() },
        })
        .to_string()
        .into_bytes(),
        Some(EnvelopeKind::Chirpstack) | None => json!({
            "deviceInfo": { "devEui": DEVICE }, "time": now.to_string(), "fPort": port, "data": data,
        })
        .to_string()
        .into_bytes(),
    };
    Some(Example { topic: format!("devices/{DEVICE}/telemetry"), payload, observed_at: None })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::profile::{find_files, read_file};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn shipped(name: &str) -> Option<Example> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles").join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        example(&read_file(&path).unwrap().profile, &text, NOW)
    }

    #[test]
    fn an_example_is_of_now_and_leaves_the_device_open() {
        let found = shipped("wz-mh1.toml").unwrap();
        let text = String::from_utf8(found.payload).unwrap();
        assert_eq!(found.topic, "devices/{device}/telemetry");
        assert!(text.contains("1800000000000") && text.contains("1243"), "{text}");
        let named = shipped("hx-sn1.toml").unwrap();
        let text = String::from_utf8(named.payload).unwrap();
        assert!(text.contains("{device}") && text.contains("1800000000"), "{text}");
        // Sparkplug's topic is part of the message.
        let found = shipped("hx-sp4.toml").unwrap();
        assert_eq!(found.topic, "spBv1.0/wuzhen/NBIRTH/{device}");
    }

    #[test]
    fn every_shipped_profile_that_publishes_has_an_example_of_now() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles");
        for path in find_files(&folder).unwrap() {
            let Ok(file) = read_file(&path) else { continue };
            let text = std::fs::read_to_string(&path).unwrap();
            let found = example(&file.profile, &text, NOW);
            let publishes = !matches!(file.profile.source, Source::Modbus(_));
            assert_eq!(found.is_some(), publishes, "{}", path.display());
            if let Some(found) = found {
                assert_eq!(found.observed_at, None, "{}", path.display());
            }
        }
    }
}
