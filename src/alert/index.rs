//! The rules in force, laid out for the hot path: dense tables by series, no hashing and no allocation per reading.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::rule::{Rule, RuleKey};
use super::sense::{Memory, NEVER, Sense, Window};
use crate::model::{DeviceId, SeriesId, Timestamp};
use crate::profile::{AlertTest, Side, Signal};

/// Series per row of the table that keeps the times of the last readings: 512 x 8 bytes are one SQLite page.
pub(super) const CHUNK: usize = 512;

const NO_DEVICE: u32 = u32::MAX;
const NO_MEMORY: u32 = u32::MAX;

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
    /// The rules that keep more than a value stand together in [`Index::listeners`], from here on.
    first_listener: u32,
    /// So many of them.
    pub(super) listeners: u32,
    /// Its newest reading in [`Index::memories`]; out of range when nobody needs it.
    pub(super) memory: u32,
}

/// The part of a limit or state rule that decides whether a reading needs a closer look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate {
    raise: Raise,
    /// Every step is normal: only a value beyond the nearest limit can move it.
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
    /// The rules: limits and states first, by series, then those that keep more than a value, then silence, by device;
    /// otherwise as they were given.
    pub(super) rules: Vec<Rule>,
    /// By rule, limits and states only.
    pub(super) gates: Vec<Gate>,
    /// By rule less the number of gates: what rules keep of past readings.
    pub(super) senses: Vec<Sense>,
    /// Rules by series: see [`Watch::listeners`].
    listeners: Vec<u32>,
    /// The newest readings of series that flat lines and expressions look at, by series.
    pub(super) memories: Vec<Memory>,
    /// By series.
    pub(super) watches: Vec<Watch>,
    /// By the number in [`Watch::device`].
    pub(super) devices: Vec<Device>,
    /// By rule less the number of gates and senses: the device of a silence rule.
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
    const NONE: Watch = Watch {
        last_news: NEVER,
        device: NO_DEVICE,
        first_rule: 0,
        rules: 0,
        first_listener: 0,
        listeners: 0,
        memory: NO_MEMORY,
    };
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
        let (mut sensing, mut silences) = (Vec::new(), Vec::new());
        for rule in rules.into_iter().filter(|rule| known.insert(rule.key.clone())) {
            match (Raise::of(&rule.spec.test), &rule.spec.test) {
                (Some(raise), _) => limits.push((rule, raise)),
                (None, AlertTest::NoData { .. }) => silences.push(rule),
                (None, _) => sensing.push(rule),
            }
        }
        // Both sorts are stable: rules of one series keep the order of the profile.
        limits.sort_by_key(|(rule, _)| rule.series.first().copied());
        silences.sort_by(|a, b| a.key.device.cmp(&b.key.device));

        let mut index = Index::default();
        for (rule, raise) in limits {
            index.add_limit(rule, raise);
        }
        index.add_sensing(sensing);
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
        for memory in &mut self.memories {
            if let Ok(at) = old.memories.binary_search_by_key(&memory.series, |old| old.series) {
                *memory = old.memories[at];
            }
        }
        let windows: HashMap<&RuleKey, &Window> = old.sensing().collect();
        let first = self.gates.len();
        for (rule, sense) in self.rules[first..].iter().zip(&mut self.senses) {
            if let Sense::Window(window) = sense
                && let Some(known) = windows.get(&rule.key).filter(|known| known.is_like(window))
            {
                window.clone_from(known);
            }
        }
    }

    /// The window of a listener, if it has one over this very series, and the time of the last reading that counted.
    pub(super) fn window_mut(&mut self, watch: Watch, n: u32) -> Option<(Timestamp, &mut Window)> {
        let rule = self.listener(watch, n)? as usize;
        let counted = self.memories.get(watch.memory as usize).map_or(NEVER, |m| m.counted);
        match self.senses.get_mut(rule.checked_sub(self.gates.len())?)? {
            Sense::Window(window) => {
                Some((if window.is_flat() { counted } else { watch.last_news }, window))
            }
            Sense::Inputs(_) => None,
        }
    }

    /// The rules that keep more than a value of this series.
    pub(super) fn listener(&self, watch: Watch, n: u32) -> Option<u32> {
        self.listeners.get((watch.first_listener + n) as usize).copied()
    }

    /// What a rule keeps, and its test.
    pub(super) fn sense_mut(&mut self, rule: u32) -> Option<(&mut Sense, &Rule, &[Memory])> {
        let at = (rule as usize).checked_sub(self.gates.len())?;
        let sense = self.senses.get_mut(at)?;
        Some((sense, &self.rules[rule as usize], &self.memories))
    }

    /// The memories that changed since they were written, by chunk of series.
    pub(super) fn touched_memories(&self) -> Vec<(usize, &[Memory])> {
        let chunk = |memory: &Memory| memory.series.index() / CHUNK;
        let chunks = self.memories.chunk_by(|a, b| chunk(a) == chunk(b));
        let chunks = chunks.map(|memories| (chunk(&memories[0]), memories));
        chunks.filter(|(chunk, _)| self.touched.get(*chunk) == Some(&true)).collect()
    }

    fn sensing(&self) -> impl Iterator<Item = (&RuleKey, &Window)> {
        let rules = self.rules[self.gates.len()..].iter().zip(&self.senses);
        rules.filter_map(|(rule, sense)| match sense {
            Sense::Window(window) => Some((&rule.key, window)),
            Sense::Inputs(_) => None,
        })
    }

    /// Every window with its series and the time of its last reading that counted; [`NEVER`] when there was none.
    pub(super) fn windows_mut(
        &mut self,
    ) -> impl Iterator<Item = (SeriesId, Timestamp, &mut Window)> {
        let rules = self.rules[self.gates.len()..].iter().zip(&mut self.senses);
        let (watches, memories) = (&self.watches, &self.memories);
        rules.filter_map(move |(rule, sense)| {
            let (Sense::Window(window), Some(&series)) = (sense, rule.series.first()) else {
                return None;
            };
            let watch = watches.get(series.index())?;
            let last = match window.is_flat() {
                true => memories.get(watch.memory as usize).map_or(NEVER, |memory| memory.counted),
                false => watch.last_news,
            };
            Some((series, last, window))
        })
    }

    /// The silence rule's device and how long it may be silent; `None` for a limit or a state.
    pub(super) fn silence(&self, rule: u32) -> Option<(&Device, Duration)> {
        let device = self.silence.get((rule as usize).checked_sub(self.loud())?).copied()?;
        let AlertTest::NoData { after, .. } = self.rules[rule as usize].spec.test else {
            return None;
        };
        Some((&self.devices[device as usize], after))
    }

    /// The silence rule's device.
    pub(super) fn device_mut(&mut self, rule: u32) -> Option<&mut Device> {
        let device = self.silence.get((rule as usize).checked_sub(self.loud())?).copied()?;
        self.devices.get_mut(device as usize)
    }

    /// So many rules test what is said: the others test silence.
    fn loud(&self) -> usize {
        self.gates.len() + self.senses.len()
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

    fn add_sensing(&mut self, rules: Vec<Rule>) {
        let remembers = |rule: &&Rule| {
            matches!(rule.spec.test, AlertTest::Flat { .. } | AlertTest::Holds { .. })
        };
        let all = |rule: &Rule| match rule.spec.test {
            AlertTest::Holds { .. } => rule.series.clone(),
            _ => rule.series.first().copied().into_iter().collect(),
        };
        let mut remembered: Vec<SeriesId> = rules.iter().filter(remembers).flat_map(all).collect();
        remembered.sort_unstable();
        remembered.dedup();
        for (i, &series) in remembered.iter().enumerate() {
            self.watch_mut(series).memory = i as u32;
            self.memories.push(Memory::none(series));
        }

        let first = self.rules.len() as u32;
        let mut listeners: Vec<(SeriesId, u32)> = Vec::new();
        for (rule, number) in rules.into_iter().zip(first..) {
            let series = all(&rule);
            let memories: Vec<u32> =
                series.iter().map(|&series| self.watch_mut(series).memory).collect();
            // Everything that comes here keeps something; what would not would never be heard.
            let sense = Sense::of(&rule.spec.test, &memories);
            self.senses.push(sense.unwrap_or(Sense::Inputs(Box::default())));
            listeners.extend(series.into_iter().map(|series| (series, number)));
            self.rules.push(rule);
        }
        listeners.sort_unstable();
        listeners.dedup();
        for (i, &(series, rule)) in listeners.iter().enumerate() {
            let watch = self.watch_mut(series);
            if watch.listeners == 0 {
                watch.first_listener = i as u32;
            }
            watch.listeners += 1;
            self.listeners.push(rule);
        }
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
    /// The nearest limit of a test that a value alone can raise.
    fn of(test: &AlertTest) -> Option<Self> {
        match test {
            AlertTest::Limit { of: Signal::Value, side, rungs } => {
                let limits = rungs.iter().map(|rung| rung.limit);
                Some(match side {
                    Side::Above => Raise::Above(limits.fold(f64::INFINITY, f64::min)),
                    Side::Below => Raise::Below(limits.fold(f64::NEG_INFINITY, f64::max)),
                })
            }
            AlertTest::Equals { code, .. } => Some(Raise::Equals(*code)),
            AlertTest::Limit { .. }
            | AlertTest::Flat { .. }
            | AlertTest::Holds { .. }
            | AlertTest::NoData { .. } => None,
        }
    }
}
