//! The map of a moment that has passed: values from the store, alerts from the log.
//!
//! It shows what is known now of that moment: readings that came late are in it. The things themselves, their places and
//! their profiles are today's.

use std::collections::HashMap;
use std::time::Duration;

use super::feature::{Headline, Shown};
use crate::alert::{self, Alert};
use crate::api::devices::freshness_of;
use crate::api::error::Problem;
use crate::api::sight::Sight;
use crate::api::state::AppState;
use crate::live::{AssetState, Freshness};
use crate::model::{AssetNumber, Grade, Sample, SeriesId, Timestamp};
use crate::pipeline::{Station, StationTable};
use crate::registry::{Asset, Town};

/// The most observed assets in one map of the past: each costs a read of the store.
pub(super) const MAX_OBSERVED: usize = 5_000;

/// A value older than this is not looked for: whatever it was, the map hatches it.
const MAX_LOOK_BACK: Duration = Duration::from_secs(48 * 3600);

/// The town at a moment.
pub(super) struct Past<'a> {
    hub: &'a AppState,
    at: Timestamp,
    alerts: Vec<Alert>,
    by_asset: HashMap<AssetNumber, (u8, bool)>,
}

impl<'a> Past<'a> {
    pub(super) fn read(
        hub: &'a AppState,
        town: &Town,
        sight: &Sight,
        at: Timestamp,
    ) -> Result<Self, Problem> {
        let mut alerts = hub.tables.read(|db| Ok(alert::past::at(db, at)?))?;
        alerts.retain(|alert| sight.may_see_alert(town, alert));
        let mut by_asset: HashMap<AssetNumber, (u8, bool)> = HashMap::new();
        for alert in &alerts {
            let Some(number) = alert.asset_number else { continue };
            let rank = alert.severity.rank();
            let (worst, acknowledged) = by_asset.entry(number).or_insert((rank, true));
            *worst = rank.min(*worst);
            *acknowledged &= alert.acknowledged_at.is_some();
        }
        Ok(Past { hub, at, alerts, by_asset })
    }

    /// The alerts that stood.
    pub(super) fn into_alerts(self) -> Vec<Alert> {
        self.alerts
    }

    /// An asset as it was shown.
    pub(super) fn shown<'b>(
        &self,
        asset: &'b Asset,
        stations: &'b StationTable,
    ) -> Result<Shown<'b>, Problem> {
        let observers = stations.of_asset(asset.number);
        let Some(first) = observers.first() else {
            return Ok(Shown { asset, state: None, headline: None });
        };
        let index = usize::from(first.profile.headline.0);
        let point = first.profile.points.get(index);
        let sample =
            first.series.get(index).map(|series| self.value(first, *series)).transpose()?;
        let sample = sample.flatten();
        let mut freshness = Freshness::Fresh;
        for station in observers {
            freshness = freshness.max(self.freshness(station)?);
        }
        let (severity, acknowledged) =
            self.by_asset.get(&asset.number).copied().unwrap_or((0, false));
        let is_state = point.is_some_and(|point| point.states.is_some());
        let state = AssetState {
            asset: asset.number,
            severity,
            acknowledged,
            freshness,
            state: sample.filter(|s| is_state && s.value.is_finite()).map(|s| s.value),
            grade: sample.map_or(Grade::Good, |s| s.quality.grade),
        };
        let headline = point
            .zip(sample)
            .map(|(point, sample)| Headline::new(first.device.id.as_str(), point, sample));
        Ok(Shown { asset, state: Some(state), headline })
    }

    /// The newest sample that the series had, as far back as its device counts as alive. Most devices spoke lately, so the
    /// short look comes first.
    fn value(&self, station: &Station, series: SeriesId) -> Result<Option<Sample>, Problem> {
        let staleness = &station.profile.staleness;
        let to = self.at.plus(Duration::from_micros(1));
        let far = staleness.dead_after.min(MAX_LOOK_BACK);
        for back in [staleness.stale_after.min(far), far] {
            let found = self.hub.store.range(series, self.at.minus(back), to, usize::MAX)?;
            if let Some(newest) = found.last() {
                return Ok(Some(*newest));
            }
        }
        Ok(None)
    }

    /// How old its values were: by its headline, and by its other points only when that is not fresh.
    fn freshness(&self, station: &Station) -> Result<Freshness, Problem> {
        let staleness = &station.profile.staleness;
        let index = usize::from(station.profile.headline.0);
        let headline = station.series.get(index).copied();
        let others = station.series.iter().copied().filter(|series| Some(*series) != headline);
        let mut newest: Option<Timestamp> = None;
        for series in headline.into_iter().chain(others) {
            let seen = self.value(station, series)?.map(|sample| sample.observed_at);
            newest = newest.max(seen);
            let freshness = freshness_of(newest, staleness, self.at);
            if freshness == Freshness::Fresh {
                return Ok(freshness);
            }
        }
        Ok(match newest {
            Some(_) => freshness_of(newest, staleness, self.at),
            // It may have spoken long before, or not yet.
            None => Freshness::Dead,
        })
    }
}
