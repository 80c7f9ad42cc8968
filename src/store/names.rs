//! What a series is called in a store of others: one naming, which the remote stores write by and the dashboards in
//! `dashboards/grafana/` ask by.
//!
//! A reading is one line of InfluxDB's line protocol, which InfluxDB 2 and VictoriaMetrics both take:
//!
//! ```text
//! level,device=mh-014 value=1.243,quality=0i 1790000000000000
//! ```
//!
//! - The *measurement* is the metric's key as its profile has it (`level`): lower case letters, digits and `_`, so that
//!   nothing has to be escaped, and a name that Prometheus knows. The value stands in the unit of the device's profile, which
//!   is not in the name: models may differ (a battery in V and in %), so what is averaged over devices is of one model.
//! - The one *tag* is `device`. Store rooms know no profile, asset or zone, and a device that gets another asset must
//!   not begin another series; who groups by zone asks the hub's API for the devices of the zone.
//! - The *fields*: `value` (float), when the reading is Good or Uncertain; `bad` (float) in its place, when it is Bad, so that
//!   no average and no picture of `value` ever has one; `quality` (integer), always:
//!   [`Quality::to_byte`](crate::model::Quality::to_byte), from which the reason comes back.
//!   `lag` (integer), when the reading came a second or more after it was observed: by how many seconds.
//! - The *time* is `observed_at` in microseconds; in VictoriaMetrics, which keeps no shorter ones, in milliseconds, rounded
//!   down. The same series and time written again is the same point.
//!
//! VictoriaMetrics joins measurement and field: `level_value{device="mh-014"}` ([`promql_name`]).
//!
//! What the queue had to give up in a long outage is sent as the rollups of the minutes and hours concerned: fields of the
//! same measurement, at the start of the window ([`rollup`]): `level,device=mh-014 mean_1m=1.2,min_1m=1.1,...,count_1m=4i`.

use super::Tier;
use crate::model::MetricName;

/// The tag that every reading has.
pub const DEVICE: &str = "device";
/// The field of a Good or Uncertain reading.
pub const VALUE: &str = "value";
/// The field of a Bad reading.
pub const BAD: &str = "bad";
/// The field of a reading's quality.
pub const QUALITY: &str = "quality";
/// The field of the whole seconds between a reading and its arrival.
pub const LAG: &str = "lag";

/// The field of a window's figure: `mean_1m`, `count_1h`.
pub fn rollup(tier: Tier, figure: &str) -> String {
    format!("{figure}_{tier}")
}

/// The measurement of a metric.
pub fn measurement(metric: &MetricName) -> &str {
    metric.as_str()
}

/// What VictoriaMetrics calls a field of a metric.
pub fn promql_name(metric: &MetricName, field: &str) -> String {
    format!("{}_{field}", measurement(metric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_prometheus_knows() {
        let level: MetricName = "level".parse().expect("a name");
        assert_eq!(promql_name(&level, VALUE), "level_value");
    }
}
