//! History as a table: RFC 4180, one header line, times in RFC 3339.

use csv::Writer;

use super::{Aggregate, Found};
use crate::api::points::finite;
use crate::store::Bucket;

const COLUMNS: [Aggregate; 7] = [
    Aggregate::Mean,
    Aggregate::Min,
    Aggregate::Max,
    Aggregate::Last,
    Aggregate::Count,
    Aggregate::TimeMean,
    Aggregate::OccupiedShare,
];

/// The table; steps have the wanted column only, or all of them.
pub(super) fn write(found: &Found) -> Result<Vec<u8>, csv::Error> {
    let mut table = Writer::from_writer(Vec::new());
    match found {
        Found::Readings { samples, .. } => {
            table.write_record(["observed_at", "value", "grade", "reason"])?;
            for sample in samples {
                table.write_record([
                    sample.observed_at.to_string(),
                    finite(*sample).map(|value| value.to_string()).unwrap_or_default(),
                    sample.quality.grade.to_string(),
                    sample
                        .quality
                        .reason
                        .map(|reason| reason.as_str().to_owned())
                        .unwrap_or_default(),
                ])?;
            }
        }
        Found::Steps { agg, buckets, .. } => {
            let wanted =
                || COLUMNS.into_iter().filter(|column| agg.is_none_or(|agg| agg == *column));
            let start = std::iter::once("start".to_owned());
            let names = wanted().map(|column| name(column).to_owned());
            let good = std::iter::once("good_share".to_owned());
            table.write_record(start.chain(names).chain(good))?;
            for bucket in buckets {
                let start = std::iter::once(bucket.start.to_string());
                let values = wanted().map(|column| value(bucket, column));
                let good = std::iter::once(bucket.good_share.to_string());
                table.write_record(start.chain(values).chain(good))?;
            }
        }
    }
    table.into_inner().map_err(|error| error.into_error().into())
}

fn name(column: Aggregate) -> &'static str {
    match column {
        Aggregate::Mean => "mean",
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Last => "last",
        Aggregate::Count => "count",
        Aggregate::TimeMean => "time_mean",
        Aggregate::OccupiedShare => "occupied_share",
    }
}

/// The column's value; empty when the step has no number (only bad readings).
fn value(bucket: &Bucket, column: Aggregate) -> String {
    let number = match column {
        Aggregate::Mean => bucket.mean,
        Aggregate::Min => bucket.min,
        Aggregate::Max => bucket.max,
        Aggregate::Last => bucket.last,
        Aggregate::TimeMean => bucket.time_mean,
        Aggregate::OccupiedShare => bucket.occupied_share,
        Aggregate::Count => return bucket.count.to_string(),
    };
    if number.is_finite() { number.to_string() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Quality, Reason, Sample, Timestamp};

    fn text(found: &Found) -> String {
        String::from_utf8(write(found).unwrap()).unwrap()
    }

    #[test]
    fn readings_become_rows() {
        let sample = |ms, value, quality| Sample {
            observed_at: Timestamp::from_millis(ms),
            received_at: Timestamp::from_millis(ms),
            value,
            quality,
        };
        let samples = vec![
            sample(0, 0.25, Quality::GOOD),
            sample(1500, f64::NAN, Quality::bad(Reason::Sentinel)),
        ];
        let expected = "observed_at,value,grade,reason\n\
             1970-01-01T00:00:00Z,0.25,good,\n\
             1970-01-01T00:00:01.5Z,,bad,sentinel\n";
        assert_eq!(text(&Found::Readings { samples, truncated: false }), expected);
    }

    #[test]
    fn steps_have_all_columns_or_the_wanted_one() {
        let bucket = Bucket {
            start: Timestamp::from_secs(60),
            count: 2,
            mean: 1.5,
            min: 1.0,
            max: 2.0,
            last: f64::NAN,
            good_share: 0.5,
            time_mean: 1.25,
            occupied_share: f64::NAN,
        };
        let step = Duration::from_secs(60);
        let found = |agg| Found::Steps { step, agg, source: "raw", buckets: vec![bucket] };
        let all = "start,mean,min,max,last,count,time_mean,occupied_share,good_share\n\
                   1970-01-01T00:01:00Z,1.5,1,2,,2,1.25,,0.5\n";
        assert_eq!(text(&found(None)), all);
        let one = "start,max,good_share\n1970-01-01T00:01:00Z,2,0.5\n";
        assert_eq!(text(&found(Some(Aggregate::Max))), one);
    }
}
