//! What is put aside, in memory, and the questions that can be put to it: nothing here changes an alert.
//!
//! Takes shelves, marks, windows, and which devices are silent; answers which [`Standing`] a rule has at a moment, and when
//! time alone next changes something. What waits for the disk is noted here; `tables` writes it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::{Maintenance, Places, ShelfLimits, Site};
use crate::alert::rule::RuleKey;
use crate::alert::{Alert, AlertId, Cause, OutOfService, Shelf, Standing, Suppression};
use crate::model::{AssetId, DeviceId, Timestamp};

/// How many assets upstream are looked at: more is no town's network but a mistake.
const MAX_UPSTREAM: usize = 32;

/// What is out of service: a rule, or a whole device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Marked {
    Device(DeviceId),
    Rule(RuleKey),
}

/// A device whose gateway or upstream asset is back, and that has not been heard yet.
#[derive(Debug, Clone)]
pub(super) struct Grace {
    cause: Cause,
    until: Timestamp,
}

/// A row that is to be written with the next events, and its entry in the audit log when no event makes one.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) what: Changed,
    pub(super) entry: Option<(String, &'static str, String, Value, Timestamp)>,
}

#[derive(Debug)]
pub(super) enum Changed {
    Shelf(RuleKey),
    Mark(Marked),
    Window(u64),
}

/// Everything that silences.
#[derive(Debug)]
pub(in crate::alert) struct Standings {
    pub(super) limits: ShelfLimits,
    pub(super) places: Places,
    pub(super) shelves: BTreeMap<RuleKey, Shelf>,
    pub(super) marks: BTreeMap<Marked, OutOfService>,
    /// Windows that are not over.
    pub(in crate::alert) windows: BTreeMap<u64, Maintenance>,
    pub(super) next_window: u64,
    /// Devices whose silence stands.
    pub(super) silent: HashSet<DeviceId>,
    pub(super) graces: HashMap<DeviceId, Grace>,
    /// The last alerts of each root, as far as they may still stand.
    pub(super) groups: HashMap<String, Vec<AlertId>>,
    pub(super) pending: Vec<Pending>,
    /// So many of the ledger's unwritten events were looked at.
    pub(super) followed: usize,
    /// A gateway or an upstream asset fell silent or came back then: before the next write all open alerts are looked at,
    /// once for however many of them. A storm of silences must not look at all alerts for each.
    pub(super) stale: Option<Timestamp>,
    /// When time alone next changes something.
    pub(super) next: Option<Timestamp>,
}

impl Standings {
    /// Whether anything waits for the disk.
    pub(in crate::alert) fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When time alone next changes something.
    pub(in crate::alert) fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// What has changed is on disk.
    pub(in crate::alert) fn written(&mut self) {
        self.pending.clear();
        self.followed = 0;
        self.windows.retain(|_, window| window.ended_at.is_none());
    }

    /// What silences a rule now. `former` is what its alert knew of.
    pub(super) fn of(
        &self,
        key: &RuleKey,
        is_silence: bool,
        former: &Standing,
        now: Timestamp,
    ) -> Standing {
        let cause = self.cause(&key.device, is_silence, now);
        let suppressed = cause.map(|cause| match &former.suppressed {
            Some(known) if known.cause == cause => known.clone(),
            _ => Suppression { cause, at: now },
        });
        let device = Marked::Device(key.device.clone());
        let mark = self.marks.get(&device).or_else(|| self.marks.get(&Marked::Rule(key.clone())));
        Standing {
            shelved: self.shelves.get(key).filter(|shelf| shelf.until > now).cloned(),
            suppressed,
            out_of_service: mark.cloned(),
        }
    }

    fn cause(&self, device: &DeviceId, is_silence: bool, now: Timestamp) -> Option<Cause> {
        let site = self.places.sites.get(device);
        let window = self.windows.values().find(|window| {
            window.from <= now && now < window.end() && window.covers.has(device, site)
        });
        if let Some(window) = window {
            return Some(Cause::Maintenance(window.number as i64, window.reason.clone()));
        }
        if !is_silence {
            return None;
        }
        self.before(device, site).or_else(|| {
            let grace = self.graces.get(device).filter(|grace| now < grace.until);
            grace.map(|grace| grace.cause.clone())
        })
    }

    /// What stands before a device and is silent.
    fn before(&self, device: &DeviceId, site: Option<&Site>) -> Option<Cause> {
        let site = site?;
        if let Some(gateway) = &site.gateway
            && gateway != device
            && self.silent.contains(gateway)
        {
            return Some(Cause::Gateway(gateway.clone()));
        }
        let own = site.asset.as_ref()?;
        let mut furthest = None;
        let mut next = self.places.upstream.get(own);
        for _ in 0..MAX_UPSTREAM {
            let Some(asset) = next.filter(|asset| self.is_down(asset)) else { return furthest };
            if asset == own {
                // In a circle nobody is the cause, and nobody must be hidden.
                return None;
            }
            furthest = Some(Cause::Upstream(asset.clone()));
            next = self.places.upstream.get(asset);
        }
        furthest
    }

    /// Whether every device of an asset is silent.
    fn is_down(&self, asset: &AssetId) -> bool {
        let devices = self.places.devices_of.get(asset);
        devices.is_some_and(|devices| devices.iter().all(|device| self.silent.contains(device)))
    }

    /// Finds out when something ends or begins next. What was due and not looked at stays due: whether a tick came in
    /// between, or a restart, changes nothing.
    pub(super) fn look_ahead(&mut self, now: Timestamp) {
        let missed = self.next.filter(|next| *next <= now);
        let windows = self.windows.values().flat_map(|window| [window.from, window.end()]);
        let coming = windows
            .chain(self.shelves.values().map(|shelf| shelf.until))
            .chain(self.graces.values().map(|grace| grace.until))
            .filter(|at| *at > now)
            .min();
        self.next = missed.or(coming);
    }

    /// Keeps an active silence suppressed for its full time when what stood before it is back.
    pub(super) fn keep_grace(
        &mut self,
        alert: &Alert,
        former: &Standing,
        wanted: &mut Standing,
        now: Timestamp,
    ) {
        // The limit of a silence is the seconds that are allowed.
        let after = Duration::try_from_secs_f64(alert.limit.unwrap_or_default());
        let after = after.unwrap_or_default();
        let device = &alert.rule.device;
        if self.graces.contains_key(device)
            && self.before(device, self.places.sites.get(device)).is_some()
        {
            // Down again: what was left of the time is void, and when it is back all of it is given again.
            self.graces.remove(device);
        }
        let Some(known) = &former.suppressed else { return };
        let is_design = matches!(known.cause, Cause::Gateway(_) | Cause::Upstream(_));
        if wanted.suppressed.is_some() || !is_design || !alert.active {
            return;
        }
        if self.graces.remove(device).is_none() {
            let grace = Grace { cause: known.cause.clone(), until: now.plus(after) };
            self.graces.insert(device.clone(), grace);
            wanted.suppressed = former.suppressed.clone();
        }
    }
}
