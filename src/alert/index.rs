//! The rules in force, laid out for the hot path: dense tables by series, no hashing and no allocation per reading.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::rule::{Rule, RuleKey};
use crate::model::{DeviceId, SeriesId, Timestamp};
use crate::profile::{AlertTest, Side};

/// Series per row of the table that keeps the times of the last readings: 512 x 8 bytes are one SQLite page.
pub(super) const CHUNK: usize = 512;

/// Before every reading.
pub(super) const NEVER: Timestamp = Timestamp::from_micros(i64::MIN);

const NO_DEVICE: u32 = u32::MAX;

/// What the judge must know of a series: one cache line's worth at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// When the last reading that was judged was observed: older ones are history.
    pub(super) last_news: Timestamp,
    /// Its device in [`Index::devices`]; out of range when no rule watches its silence.
    pub(super) device: u32,
    /// Its limit and state rules stand together in [`Index::rules`], from here on.
    pub(super) first_rule: u32,
    /// So many of them.
    pub(super) rules: u32,
}

/// The part of a limit or state rule that decides whether a reading needs a closer look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate {
    raise: Raise,
    /// The condition is normal: only a value beyond the limit can move it.
    pub(super) is_normal: bool,
}

#[derive(Debug, Clone, Copy)]
enum Raise {
    Above(f64),
    Below(f64),
    Equals(f64),
}

/// A device whose silence is watched.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// When it was last heard; [`NEVER`] if not since the hub started.
    pub(super) last_heard: Timestamp,
    /// Since when its silence counts: the hub's start, or the rule's first sight.
    pub(super) watched_from: Timestamp,
    /// Its silence rules stand together in [`Index::rules`], from here on.
    pub(super) first_rule: u32,
    /// So many of them.
    pub(super) rules: u32,
    /// So many of them are active.
    pub(super) silent: u32,
}

/// The rules and the tables over them.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The rules: limits and states first, by series, then silence, by device; otherwise as they were given.
    pub(super) rules: Vec<Rule>,
    /// By rule, limits and states only.
    pub(super) gates: Vec<Gate>,
    /// By series.
    pub(super) watches: Vec<Watch>,
    /// By the number in [`Watch::device`].
    pub(super) devices: Vec<Device>,
    /// By rule less the number of gates: the device of a silence rule.
    silence: Vec<u32>,
    /// By chunk of series: whether a time in it has changed since it was last written.
    pub(super) touched: Vec<bool>,
}

impl Gate {
    /// Whether a reading of this value changes nothing.
    pub(super) fn ignores(&self, value: f64) -> bool {
        let is_beyond = match self.raise {
            Raise::Above(limit) => value > limit,
            Raise::Below(limit) => value < limit,
            Raise::Equals(code) => value == code,
        };
        self.is_normal && !is_beyond
    }
}

impl Watch {
    const NONE: Watch = Watch { last_news: NEVER, device: NO_DEVICE, first_rule: 0, rules: 0 };
}

impl Device {
    /// Since when nothing was heard, as far as this hub can know.
    pub(super) fn silent_since(&self) -> Timestamp {
        self.last_heard.max(self.watched_from)
    }
}

impl Index {
    /// Lays out `rules`. Devices are watched from `now` on.
    pub(super) fn new(rules: Vec<Rule>, now: Timestamp) -> Self {
        let mut known: HashSet<RuleKey> = HashSet::with_capacity(rules.len());
        let mut limits = Vec::with_capacity(rules.len());
        let mut silences = Vec::new();
        for rule in rules.into_iter().filter(|rule| known.insert(rule.key.clone())) {
            match Raise::of(&rule.spec.test) {
                Some(raise) => limits.push((rule, raise)),
                None => silences.push(rule),
            }
        }
        // Both sorts are stable: rules of one series keep the order of the profile.
        limits.sort_by_key(|(rule, _)| rule.series.first().copied());
        silences.sort_by(|a, b| a.key.device.cmp(&b.key.device));

        let mut index = Index::default();
        for (rule, raise) in limits {
            index.add_limit(rule, raise);
        }
        for rule in silences {
            index.add_silence(rule, now);
        }
        index.touched = vec![true; index.watches.len().div_ceil(CHUNK)];
        index
    }

    /// Takes over from `old`: who was heard when, and which readings were judged. Devices that are watched anew keep
    /// their own start.
    pub(super) fn carry_over(&mut self, old: &Index) {
        let heard: HashMap<&DeviceId, &Device> = old.named_devices().collect();
        let names: Vec<DeviceId> = self.named_devices().map(|(name, _)| name.clone()).collect();
        for (name, device) in names.iter().zip(&mut self.devices) {
            if let Some(known) = heard.get(name) {
                device.last_heard = known.last_heard;
                device.watched_from = known.watched_from;
            }
        }
        for (watch, old) in self.watches.iter_mut().zip(&old.watches) {
            watch.last_news = old.last_news;
        }
    }

    /// The silence rule's device and how long it may be silent; `None` for a limit or a state.
    pub(super) fn silence(&self, rule: u32) -> Option<(&Device, Duration)> {
        let device = (rule as usize).checked_sub(self.gates.len()).map(|i| self.silence[i])?;
        let AlertTest::NoData { after, .. } = self.rules[rule as usize].spec.test else {
            return None;
        };
        Some((&self.devices[device as usize], after))
    }

    /// The silence rule's device.
    pub(super) fn device_mut(&mut self, rule: u32) -> Option<&mut Device> {
        let device = (rule as usize).checked_sub(self.gates.len()).map(|i| self.silence[i])?;
        self.devices.get_mut(device as usize)
    }

    fn named_devices(&self) -> impl Iterator<Item = (&DeviceId, &Device)> {
        self.devices
            .iter()
            .map(|device| (&self.rules[device.first_rule as usize].key.device, device))
    }

    fn add_limit(&mut self, rule: Rule, raise: Raise) {
        let number = self.rules.len() as u32;
        if let Some(&series) = rule.series.first() {
            let watch = self.watch_mut(series);
            if watch.rules == 0 {
                watch.first_rule = number;
            }
            watch.rules += 1;
        }
        self.gates.push(Gate { raise, is_normal: true });
        self.rules.push(rule);
    }

    fn add_silence(&mut self, rule: Rule, now: Timestamp) {
        let number = self.rules.len() as u32;
        let is_known = self.silence.last().is_some_and(|_| {
            self.rules.last().is_some_and(|last| last.key.device == rule.key.device)
        });
        if !is_known {
            self.devices.push(Device {
                last_heard: NEVER,
                watched_from: now,
                first_rule: number,
                rules: 0,
                silent: 0,
            });
        }
        let device = self.devices.len() - 1;
        self.devices[device].rules += 1;
        self.silence.push(device as u32);
        for &series in &rule.series {
            self.watch_mut(series).device = device as u32;
        }
        self.rules.push(rule);
    }

    fn watch_mut(&mut self, series: SeriesId) -> &mut Watch {
        let i = series.index();
        if i >= self.watches.len() {
            self.watches.resize(i + 1, Watch::NONE);
        }
        &mut self.watches[i]
    }
}

impl Raise {
    fn of(test: &AlertTest) -> Option<Self> {
        match test {
            AlertTest::Limit { side, rungs, .. } => match side {
                Side::Above => Some(Raise::Above(rungs.first()?.limit)),
                Side::Below => Some(Raise::Below(rungs.first()?.limit)),
            },
            AlertTest::Equals { code, .. } => Some(Raise::Equals(*code)),
            AlertTest::Flat { .. } | AlertTest::Holds { .. } | AlertTest::NoData { .. } => None,
        }
    }
}
