//! `[source.lorawan]`: the codec beside the profile, ports and envelope; and what its fixtures send.

use std::ops::Range;
use std::path::{Component, Path};
use std::sync::Arc;

use super::fixture;
use super::mqtt::{TimePlace, compile_json_time, json_decoder};
use super::point::Placed;
use crate::codec::{Codec, MAX_SOURCE_BYTES};
use crate::profile::error::Problems;
use crate::profile::fixture::Input;
use crate::profile::lorawan::TOPICS;
use crate::profile::raw::{RawLorawan, RawTest};
use crate::profile::spanned::Spanned;
use crate::profile::{EnvelopeKind, LorawanSource, Read, TopicTemplate};

/// LoRaWAN's ports for applications (TS001, section 4.3.2).
const PORTS: std::ops::RangeInclusive<i64> = 1..=223;

/// The source before its points are known.
pub(in crate::profile) struct Draft {
    topics: Vec<TopicTemplate>,
    ports: Vec<u8>,
    envelope: Option<EnvelopeKind>,
    codec: Arc<Codec>,
    time: Option<TimePlace>,
    each: Option<String>,
}

pub(super) fn compile(raw: Spanned<RawLorawan>, problems: &mut Problems<'_>) -> Option<Draft> {
    let at = raw.span();
    let raw = raw.into_inner();
    let codec = problems.require(raw.codec, &at, "codec", "\"parkio-p1.js\"");
    let codec = codec.and_then(|file| read_codec(&file, problems));
    let ports = raw.ports.map(|ports| compile_ports(&ports, problems)).unwrap_or_default();
    let envelope = raw
        .envelope
        .and_then(|e| problems.choose(&e, "envelope", &EnvelopeKind::ALL, EnvelopeKind::as_str));
    let topics = match raw.topic {
        Some(topic) => problems.check(&topic.span(), topic.get_ref().parse()).into_iter().collect(),
        None => TOPICS.iter().filter_map(|topic| topic.parse().ok()).collect(),
    };
    let time = raw.time.and_then(|time| compile_json_time(time, problems));
    let each = raw.each.map(Spanned::into_inner);
    Some(Draft { topics, ports, envelope, codec: codec?, time, each })
}

fn compile_ports(ports: &Spanned<Vec<i64>>, problems: &mut Problems<'_>) -> Vec<u8> {
    let mut good = Vec::new();
    for port in ports.get_ref() {
        match u8::try_from(*port).ok().filter(|_| PORTS.contains(port)) {
            Some(port) => good.push(port),
            None => {
                let message = format!("{port} is no port between 1 and 223");
                problems.report(&ports.span(), message);
            }
        }
    }
    good
}

/// Reads the codec beside the profile. It may lie in a folder below, but never above: a profile that was handed in by
/// somebody must not name a file of the machine.
fn read_codec(file: &Spanned<String>, problems: &mut Problems<'_>) -> Option<Arc<Codec>> {
    let name = file.get_ref();
    let path = Path::new(name);
    let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_inside || name.is_empty() {
        let message = format!("`{name}` is not a file beside the profile or in a folder below it");
        problems.report(&file.span(), message);
        return None;
    }
    // A text that is no file is checked without its codec, and runs nothing.
    let Some(folder) = problems.folder() else { return Some(Arc::new(Codec::new(name, ""))) };
    match read_source(&folder.join(path)) {
        Ok(source) => Some(Arc::new(Codec::new(name, &source))),
        Err(message) => {
            problems.report(&file.span(), format_args!("codec `{name}`: {message}"));
            None
        }
    }
}

fn read_source(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    // A pipe or a device would never end, or never begin.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err("no plain file".to_owned());
    }
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_SOURCE_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() > MAX_SOURCE_BYTES {
        return Err(format!("larger than {} KiB", MAX_SOURCE_BYTES >> 10));
    }
    let source = String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))?;
    Ok(source.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(source))
}

/// Joins the source with its points.
pub(super) fn finish(
    draft: Draft,
    points: &[Placed],
    problems: &mut Problems<'_>,
) -> LorawanSource {
    let Draft { topics, ports, envelope, codec, time, each } = draft;
    let reads_radio = |placed: &Placed| matches!(&placed.point.read, Read::Json(path) if path.starts_with("/rx/"));
    LorawanSource {
        topics,
        ports,
        envelope,
        codec,
        reads_radio: points.iter().any(reads_radio),
        decoder: json_decoder(time, points, problems),
        each,
    }
}

/// A fixture's frame (`port`, `hex`) or whole envelope (`payload`).
pub(super) fn compile_frame(
    raw: &mut RawTest,
    at: &Range<usize>,
    source: &LorawanSource,
    problems: &mut Problems<'_>,
) -> Option<Input> {
    if let Some(registers) = &raw.registers {
        let message = "`registers` are for modbus; this profile's source is lorawan";
        problems.report(&registers.span(), message);
    }
    let device = fixture::compile_device(raw.device.take(), problems);
    if let Some(topic) = &raw.topic {
        fixture::check_topic(topic, device.as_ref(), &source.topics, problems);
    }
    if let Some(payload) = raw.payload.take() {
        if let Some(hex) = &raw.hex {
            problems.report(&hex.span(), "a test has one of `payload` and `hex`");
        }
        return Some(Input::Message(payload.into_inner().into_bytes()));
    }
    let port = match raw.port.take() {
        Some(port) => compile_port(&port, problems)?,
        None => source.ports.first().copied().unwrap_or(1),
    };
    let hex = problems.require(raw.hex.take(), at, "hex", "\"01 0CE4 00D7\"")?;
    let bytes = parse_hex(hex.get_ref());
    if bytes.is_none() {
        problems.report(&hex.span(), "hexadecimal digits in pairs, for example \"A5 01\"");
    }
    Some(Input::Frame { port, bytes: bytes? })
}

fn compile_port(port: &Spanned<i64>, problems: &mut Problems<'_>) -> Option<u8> {
    let good = u8::try_from(*port.get_ref()).ok();
    if good.is_none() {
        let message = format!("{} is no port between 1 and 223", port.get_ref());
        problems.report(&port.span(), message);
    }
    good
}

/// Bytes of hexadecimal digits, spaces between them as people like.
fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The key of a fixture that only this source has.
pub(super) fn refuse_port(port: &Spanned<i64>, source: &str, problems: &mut Problems<'_>) {
    let message = format!("`port` is for lorawan; this profile's source is {source}");
    problems.report(&port.span(), message);
}
