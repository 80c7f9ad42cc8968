//! Joins the case room to the town: what the sensors say, where things stand, and who hears of a change.

use std::time::Duration;

use crate::alert::Alert;
use crate::case::{Case, Evidence, Missing, Surroundings};
use crate::live::Feed;
use crate::model::{AssetKind, Grade, Sample, Timestamp, ZoneId};
use crate::pipeline::{Present, Station};
use crate::registry::Registry;

/// What the case room knows of the town.
pub(crate) struct Town {
    present: Present,
    registry: Registry,
    feed: Feed,
}

impl Town {
    pub(crate) fn new(present: Present, registry: Registry, feed: Feed) -> Self {
        Town { present, registry, feed }
    }

    /// The newest sample that an alert's rule watches; for a device's silence the newest of all its series.
    fn newest(&self, alert: &Alert, station: &Station) -> Option<Sample> {
        let of = |index: usize| self.present.latest(*station.series.get(index)?);
        match &alert.rule.metric {
            Some(metric) => {
                let (index, _) = station.profile.point(metric.as_str())?;
                of(usize::from(index.0))
            }
            None => {
                (0..station.series.len()).filter_map(of).max_by_key(|sample| sample.observed_at)
            }
        }
    }
}

impl Evidence for Town {
    fn lacking(&self, alert: &Alert, hold: Duration, now: Timestamp) -> Option<Missing> {
        let station = self.present.station(&alert.rule.device);
        let newest = station.as_deref().and_then(|station| self.newest(alert, station));
        if alert.active {
            let value = newest.map(|sample| sample.value).filter(|value| value.is_finite());
            return Some(Missing::Clear { value, clear: alert.clear, unit: alert.unit.clone() });
        }
        let until = alert.cleared_at.map(|cleared| cleared.plus(hold));
        if let Some(until) = until.filter(|until| now < *until) {
            return Some(Missing::Hold { until });
        }
        let is_fresh = |sample: &Sample| {
            station.as_deref().is_some_and(|station| {
                now.since(sample.observed_at) <= station.profile.staleness.stale_after
            })
        };
        match newest {
            Some(sample) if !is_fresh(&sample) => {
                Some(Missing::Fresh { observed_at: Some(sample.observed_at) })
            }
            Some(sample) if sample.quality.grade != Grade::Good => Some(Missing::Good),
            Some(_) => None,
            None => Some(Missing::Fresh { observed_at: None }),
        }
    }
}

impl Surroundings for Town {
    fn place(&self, alert: &Alert) -> (Option<ZoneId>, Option<AssetKind>) {
        let town = self.registry.town();
        let asset = alert.asset.as_ref().and_then(|asset| town.assets.get(asset.as_str()));
        (asset.and_then(|asset| asset.zone.clone()), asset.map(|asset| asset.kind))
    }

    fn changed(&self, case: &Case) {
        self.feed.case(case);
    }
}
