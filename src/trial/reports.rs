//! Messages that hold several reports: of several times, or of several devices.

use std::collections::BTreeMap;

use super::{RECEIVED_AT, judge};
use crate::model::{Measurement, SeriesId};
use crate::normalize::{self, Track};
use crate::profile::{
    DecodeError, Decoded, Fixture, Memory, Message, Profile, Report, ReportFixture,
};

/// Decodes a fixture's message as the hub does when those before it came first.
pub(super) fn decode(
    profile: &Profile,
    fixture: &Fixture,
    payload: &[u8],
    out: &mut Decoded,
) -> Result<(), DecodeError> {
    let memory = Memory::default();
    for (topic, payload) in &fixture.before {
        // Whether these decode is said by their own fixtures.
        let _ = profile.decode_message(Message { topic, payload }, &memory, out);
    }
    profile.decode_message(Message { topic: &fixture.topic, payload }, &memory, out)
}

/// Each report's measurements, on devices that were never heard before. The message comes with its newest report.
pub(super) fn normalize<'d>(
    profile: &Profile,
    decoded: &'d Decoded,
) -> Vec<(&'d Report, Vec<Measurement>)> {
    let series: Vec<SeriesId> = (0..profile.points.len() as u32).map(SeriesId).collect();
    // One without a time is of the moment of receipt.
    let times = decoded.reports().map(|(report, _)| report.time.at().unwrap_or(RECEIVED_AT));
    let received_at = times.max().unwrap_or(RECEIVED_AT);
    let mut tracks = BTreeMap::new();
    let mut measured = Vec::new();
    for (report, readings) in decoded.reports() {
        let track = tracks.entry(&report.device).or_insert_with(|| Track::new(profile));
        let mut out = Vec::new();
        normalize::normalize(profile, track, &series, report.time, readings, received_at, &mut out);
        measured.push((report, out));
    }
    measured
}

/// What came out otherwise than the fixture says, report by report.
pub(super) fn compare(
    profile: &Profile,
    expected: &[ReportFixture],
    decoded: &Decoded,
) -> Vec<String> {
    let measured = normalize(profile, decoded);
    if measured.len() != expected.len() {
        return vec![format!("expected {} reports, found {}", expected.len(), measured.len())];
    }
    let mut failures = Vec::new();
    for (i, (expected, (report, measurements))) in expected.iter().zip(measured).enumerate() {
        let named = |device: Option<&str>| device.map_or("none".to_owned(), |d| format!("`{d}`"));
        if expected.device.as_deref() != report.device.as_deref() {
            let [expected, found] =
                [expected.device.as_deref(), report.device.as_deref()].map(named);
            failures.push(format!("report {i}: expected the device {expected}, found {found}"));
        }
        let found = judge(profile, &expected.alone, measurements, report.time.at());
        failures.extend(found.into_iter().map(|failure| format!("report {i}: {failure}")));
    }
    failures
}
