//! The feed on the wire: server-sent events with flat arrays in them.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{AssetState, Cursor, ValueChange};

/// One server-sent event. `data` must be one line, which JSON without pretty printing is.
pub fn event(name: &str, id: Cursor, data: &str) -> Bytes {
    debug_assert!(!data.contains('\n'), "a line break would end the data field");
    Bytes::from(format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
}

/// `[[asset, severity, acknowledged, freshness, state|null, grade], ...]`
pub(super) fn states<'a>(changed: impl IntoIterator<Item = &'a AssetState>) -> String {
    let mut out = String::from("[");
    for s in changed {
        separate(&mut out);
        let acknowledged = u8::from(s.acknowledged);
        let freshness = s.freshness as u8;
        // Writing to a String cannot fail.
        let _ = write!(out, "[{},{},{acknowledged},{freshness},", s.asset.0, s.severity);
        number(&mut out, s.state);
        let _ = write!(out, ",{}]", s.grade as u8);
    }
    out.push(']');
    out
}

/// `[asset, device, metric, value|null, grade, reason|null, observed_at_ms]`
pub(super) fn value(change: &ValueChange<'_>) -> String {
    let sample = &change.sample;
    // Device ids and metric names have no character that JSON would escape.
    let mut out = format!("[{},\"{}\",\"{}\",", change.asset.0, change.device, change.metric);
    number(&mut out, Some(sample.value));
    let _ = write!(out, ",{},", sample.quality.grade as u8);
    match sample.quality.reason {
        Some(reason) => drop(write!(out, "\"{}\"", reason.as_str())),
        None => out.push_str("null"),
    }
    let _ = write!(out, ",{}]", sample.observed_at.as_millis());
    out
}

/// Joins encoded rows to one array.
pub(super) fn rows<'a>(rows: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from("[");
    for row in rows {
        separate(&mut out);
        out.push_str(row);
    }
    out.push(']');
    out
}

fn separate(out: &mut String) {
    if out.len() > 1 {
        out.push(',');
    }
}

/// JSON has no NaN and no infinity: they are null.
fn number(out: &mut String, value: Option<f64>) {
    match value.filter(|value| value.is_finite()) {
        Some(value) => drop(write!(out, "{value}")),
        None => out.push_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Freshness;
    use crate::model::{AssetNumber, Grade, Quality, Reason, Sample, Timestamp};

    #[test]
    fn states_are_flat_arrays() {
        let quiet = AssetState {
            asset: AssetNumber(3),
            severity: 0,
            acknowledged: false,
            freshness: Freshness::Fresh,
            state: Some(1.0),
            grade: Grade::Good,
        };
        let loud = AssetState {
            asset: AssetNumber(12),
            severity: 1,
            acknowledged: true,
            freshness: Freshness::Dead,
            state: None,
            grade: Grade::Bad,
        };
        assert_eq!(states(&[quiet, loud]), "[[3,0,0,0,1,0],[12,1,1,2,null,2]]");
        assert_eq!(states(&[]), "[]");
    }

    #[test]
    fn a_value_without_a_number_is_null() {
        let mut change = ValueChange {
            asset: AssetNumber(3),
            device: "mh-014",
            metric: "level",
            sample: Sample {
                observed_at: Timestamp::from_millis(1_790_000_000_000),
                received_at: Timestamp::from_millis(1_790_000_000_100),
                value: 0.25,
                quality: Quality::GOOD,
            },
        };
        assert_eq!(value(&change), r#"[3,"mh-014","level",0.25,0,null,1790000000000]"#);
        change.sample.value = f64::NAN;
        change.sample.quality = Quality::bad(Reason::Sentinel);
        assert_eq!(value(&change), r#"[3,"mh-014","level",null,2,"sentinel",1790000000000]"#);
        assert_eq!(rows(["[1]", "[2]"]), "[[1],[2]]");
    }

    #[test]
    fn an_event_ends_with_an_empty_line() {
        let bytes = event("beat", Cursor { epoch: 7, seq: 1 }, "{}");
        assert_eq!(bytes, "id: 7-1\nevent: beat\ndata: {}\n\n");
    }
}
