//! Who has silenced what: shelves, marks out of service, maintenance windows, and what is silent by design because
//! something before it is.
//!
//! Conditions go on being judged under all of these; only their announcement waits. A shelf and a mark belong to the rule,
//! not to the alert that they were put on: they outlive it, and the rule's next alert is born under them. When the last of
//! them ends and the condition is active, the alert is announced as if it were new: it is unacknowledged again.
//!
//! # Suppressed by design
//! A device that cannot be heard says nothing of what it observes, so only its *silence* is suppressed: when the gateway
//! that speaks for it is silent itself, or an asset upstream of its own (`upstream` among the asset's properties) is down,
//! which means that every device there is silent. What stood before it went silent stands on. When gateway or asset are
//! back, their devices get their full time to be heard before their silence is announced; otherwise one repaired gateway
//! would ring a hundred times. A maintenance window suppresses every rule of what it covers.
//!
//! An alert that returns while it is not announced needs nobody's acknowledgement: the hub gives it.
//!
//! # First in its group
//! Of the alerts of one root (asset; device without one) that are raised within ten minutes of each other while others
//! stand, the first one is marked: it is most likely the cause.
//!
//! # kill -9
//! Shelves, marks and windows are rows, written in the transaction of the events that they make. Suppression has no row: it
//! follows from the alerts and the places. What had a grace when the hub stopped gets a whole one when it starts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;
use std::time::Duration;

use rusqlite::{Connection, Row, Transaction, params};
use serde::Serialize;
use serde_json::{Value, json};

use super::engine::Engine;
use super::ledger::What;
use super::rule::RuleKey;
use super::tables;
use super::{Alert, AlertError, AlertId, Cause, OutOfService, Shelf, Standing, Suppression};
use crate::audit;
use crate::model::{AssetId, DeviceId, Severity, Timestamp, ZoneId};

/// Alerts of one root that are raised within so long belong together.
const GROUP: Duration = Duration::from_secs(10 * 60);

/// How many assets upstream are looked at: more is no town's network but a mistake.
const MAX_UPSTREAM: usize = 32;

/// The longest maintenance window: what is out for longer is out of service.
pub const MAX_MAINTENANCE: Duration = Duration::from_secs(31 * 24 * 3600);

/// The longest shelf by the alert's severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShelfLimits {
    /// Of critical alerts.
    pub critical: Duration,
    /// Of major ones.
    pub major: Duration,
    /// Of all others.
    pub other: Duration,
}

/// Where devices stand: what the town says of them.
#[derive(Debug, Clone, Default)]
pub struct Places {
    sites: HashMap<DeviceId, Site>,
    gateways: HashSet<DeviceId>,
    upstream: HashMap<AssetId, AssetId>,
    /// Assets that others hang on.
    heads: HashSet<AssetId>,
    devices_of: HashMap<AssetId, Vec<DeviceId>>,
}

/// A device's place.
#[derive(Debug, Clone)]
pub struct Site {
    /// The device.
    pub device: DeviceId,
    /// The gateway that speaks for it.
    pub gateway: Option<DeviceId>,
    /// The asset that it observes.
    pub asset: Option<AssetId>,
    /// The asset upstream of that.
    pub upstream: Option<AssetId>,
    /// The zone of its asset.
    pub zone: Option<ZoneId>,
}

/// What somebody wants with an alert's rule.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The version that was looked at; `None` does not ask.
    pub version: Option<u32>,
    /// Who.
    pub who: String,
    /// Why.
    pub reason: String,
}

/// What a maintenance window covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Covered {
    /// Every device whose asset is listed under it.
    Zone(ZoneId),
    /// Every device that observes it.
    Asset(AssetId),
    /// One device.
    Device(DeviceId),
}

/// How alerts stand, to list them by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// Open, and nothing keeps them from ringing.
    Annunciated,
    /// Shelved.
    Shelved,
    /// Suppressed by design.
    Suppressed,
    /// Out of service.
    OutOfService,
}

/// A text that names no standing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no standing; use annunciated, shelved, suppressed or out_of_service")]
pub struct UnknownAside {
    /// The text that was given.
    pub found: String,
}

impl FromStr for Aside {
    type Err = UnknownAside;

    fn from_str(text: &str) -> Result<Self, UnknownAside> {
        match text {
            "annunciated" => Ok(Aside::Annunciated),
            "shelved" => Ok(Aside::Shelved),
            "suppressed" => Ok(Aside::Suppressed),
            "out_of_service" => Ok(Aside::OutOfService),
            _ => Err(UnknownAside { found: text.to_owned() }),
        }
    }
}

impl Aside {
    /// The condition on the alert table.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Aside::Annunciated => "open = 1 AND standing IS NULL",
            Aside::Shelved => "open = 1 AND json_extract(standing, '$.shelved') IS NOT NULL",
            Aside::Suppressed => "open = 1 AND json_extract(standing, '$.suppressed') IS NOT NULL",
            Aside::OutOfService => {
                "open = 1 AND json_extract(standing, '$.out_of_service') IS NOT NULL"
            }
        }
    }
}

/// A maintenance window: alerts of what it covers are suppressed from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Maintenance {
    /// Its number.
    pub number: u64,
    /// What it covers.
    #[serde(flatten)]
    pub covers: Covered,
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who made it.
    pub by: String,
    /// When.
    pub made_at: Timestamp,
    /// Who ended it before its time.
    pub ended_by: Option<String>,
    /// When.
    pub ended_at: Option<Timestamp>,
}

/// What somebody plans.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is covered.
    pub covers: Covered,
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// What is out of service: a rule, or a whole device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Marked {
    Device(DeviceId),
    Rule(RuleKey),
}

/// A device whose gateway or upstream asset is back, and that has not been heard yet.
#[derive(Debug, Clone)]
struct Grace {
    cause: Cause,
    until: Timestamp,
}

/// A row that is to be written with the next events, and its entry in the audit log when no event makes one.
#[derive(Debug)]
struct Pending {
    what: Changed,
    entry: Option<(String, &'static str, String, Value, Timestamp)>,
}

#[derive(Debug)]
enum Changed {
    Shelf(RuleKey),
    Mark(Marked),
    Window(u64),
}

/// Everything that silences.
#[derive(Debug)]
pub(super) struct Standings {
    limits: ShelfLimits,
    places: Places,
    shelves: BTreeMap<RuleKey, Shelf>,
    marks: BTreeMap<Marked, OutOfService>,
    /// Windows that are not over.
    windows: BTreeMap<u64, Maintenance>,
    next_window: u64,
    /// Devices whose silence stands.
    silent: HashSet<DeviceId>,
    graces: HashMap<DeviceId, Grace>,
    /// The last alerts of each root, as far as they may still stand.
    groups: HashMap<String, Vec<AlertId>>,
    pending: Vec<Pending>,
    /// So many of the ledger's unwritten events were looked at.
    followed: usize,
    /// A gateway or an upstream asset fell silent or came back then: before the next write all open alerts are looked at,
    /// once for however many of them. A storm of silences must not look at all alerts for each.
    stale: Option<Timestamp>,
    /// When time alone next changes something.
    next: Option<Timestamp>,
}

impl Default for ShelfLimits {
    fn default() -> Self {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        ShelfLimits { critical: hours(1), major: hours(8), other: hours(24) }
    }
}

impl ShelfLimits {
    /// The longest shelf of an alert of this severity.
    pub fn of(&self, severity: Severity) -> Duration {
        match severity {
            Severity::Critical => self.critical,
            Severity::Major => self.major,
            Severity::Minor | Severity::Info => self.other,
        }
    }
}

impl Places {
    /// The places of a town's devices.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let mut places = Places::default();
        for site in sites {
            places.gateways.extend(site.gateway.clone());
            if let Some(asset) = &site.asset {
                places.devices_of.entry(asset.clone()).or_default().push(site.device.clone());
                if let Some(upstream) = &site.upstream {
                    places.upstream.insert(asset.clone(), upstream.clone());
                    places.heads.insert(upstream.clone());
                }
            }
            places.sites.insert(site.device.clone(), site);
        }
        places
    }

    /// Whether others hang on this device being heard.
    fn is_watched(&self, device: &DeviceId) -> bool {
        let asset = self.sites.get(device).and_then(|site| site.asset.as_ref());
        self.gateways.contains(device) || asset.is_some_and(|asset| self.heads.contains(asset))
    }
}

impl Covered {
    fn has(&self, device: &DeviceId, site: Option<&Site>) -> bool {
        match self {
            Covered::Device(covered) => covered == device,
            Covered::Asset(covered) => site.is_some_and(|s| s.asset.as_ref() == Some(covered)),
            Covered::Zone(covered) => site.is_some_and(|s| s.zone.as_ref() == Some(covered)),
        }
    }
}

impl Maintenance {
    fn end(&self) -> Timestamp {
        self.ended_at.map_or(self.until, |ended| ended.min(self.until))
    }
}

impl Standings {
    /// Takes up what is on disk. `open` are the open alerts.
    pub(super) fn load<'a>(
        db: &Connection,
        open: impl Iterator<Item = &'a Alert>,
    ) -> rusqlite::Result<Self> {
        let mut standings = Standings {
            limits: ShelfLimits::default(),
            places: Places::default(),
            shelves: BTreeMap::new(),
            marks: BTreeMap::new(),
            windows: BTreeMap::new(),
            next_window: 1,
            silent: HashSet::new(),
            graces: HashMap::new(),
            groups: HashMap::new(),
            pending: Vec::new(),
            followed: 0,
            stale: None,
            next: None,
        };
        for alert in open {
            if alert.active && is_silence(alert) {
                standings.silent.insert(alert.rule.device.clone());
            }
            standings.groups.entry(root_of(alert)).or_default().push(alert.id);
        }
        standings.shelves = db
            .prepare("SELECT * FROM alert_shelf")?
            .query_map([], |row| Ok((tables::key_of(row)?, shelf_of(row)?)))?
            .collect::<Result<_, _>>()?;
        standings.marks = db
            .prepare("SELECT * FROM alert_out_of_service")?
            .query_map([], |row| Ok((marked_of(row)?, out_of(row)?)))?
            .collect::<Result<_, _>>()?;
        for window in db
            .prepare("SELECT * FROM maintenance WHERE ended_at IS NULL")?
            .query_map([], window_of)?
        {
            let window = window?;
            standings.windows.insert(window.number, window);
        }
        standings.next_window = db
            .query_row("SELECT coalesce(max(number), 0) + 1 FROM maintenance", [], |row| {
                row.get::<_, i64>(0)
            })
            .map(|next| next as u64)?;
        standings.look_ahead(Timestamp::from_micros(i64::MIN));
        Ok(standings)
    }

    /// Whether anything waits for the disk.
    pub(super) fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When time alone next changes something.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// Writes what has changed, in the transaction of the events.
    pub(super) fn write(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        for Pending { what, entry } in &self.pending {
            match what {
                Changed::Shelf(key) => write_shelf(tx, key, self.shelves.get(key))?,
                Changed::Mark(marked) => write_mark(tx, marked, self.marks.get(marked))?,
                Changed::Window(number) => {
                    if let Some(window) = self.windows.get(number) {
                        write_window(tx, window)?;
                    }
                }
            }
            if let Some((actor, action, subject, detail, at)) = entry {
                let detail = detail.clone();
                audit::append(tx, &audit::Entry { at: *at, actor, action, subject, detail })?;
            }
        }
        Ok(())
    }

    /// What has changed is on disk.
    pub(super) fn written(&mut self) {
        self.pending.clear();
        self.followed = 0;
        self.windows.retain(|_, window| window.ended_at.is_none());
    }

    /// What silences a rule now. `former` is what its alert knew of.
    fn of(&self, key: &RuleKey, is_silence: bool, former: &Standing, now: Timestamp) -> Standing {
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

    fn look_ahead(&mut self, now: Timestamp) {
        let windows = self.windows.values().flat_map(|window| [window.from, window.end()]);
        self.next = windows
            .chain(self.shelves.values().map(|shelf| shelf.until))
            .chain(self.graces.values().map(|grace| grace.until))
            .filter(|at| *at > now)
            .min();
    }
}

impl Engine {
    /// How long an alert may be shelved; until this is called, as by default.
    pub fn set_shelf_limits(&mut self, limits: ShelfLimits) {
        self.standings.limits = limits;
    }

    /// Replaces where devices stand. In memory until [`Engine::commit`], as all that follows here.
    pub fn set_places(&mut self, places: Places, now: Timestamp) {
        self.standings.places = places;
        self.restand_all(now);
    }

    /// Keeps an alert's rule from being announced until `until`. `most` is the worst severity that may be shelved.
    ///
    /// # Errors
    /// When there is no such alert, it is not at the wish's version or too severe, or `until` is over or too far away.
    pub fn shelve(
        &mut self,
        id: AlertId,
        wish: &Wish,
        until: Timestamp,
        most: Severity,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alert_for(id, wish.version)?;
        let severity = alert.severity;
        if severity > most {
            return Err(AlertError::TooSevere { id, severity });
        }
        let longest = self.standings.limits.of(severity);
        if until <= now || until.since(now) > longest {
            return Err(AlertError::BadShelf { id, severity, longest });
        }
        let Wish { who, reason, .. } = wish;
        let shelf = Shelf { by: who.clone(), reason: reason.clone(), at: now, until };
        self.standings.shelves.insert(alert.rule.clone(), shelf);
        self.silenced(alert, Changed::Shelf, "alert.shelved", wish, now)
    }

    /// Ends a shelf before its time.
    ///
    /// # Errors
    /// When there is no such alert, it is not at the wish's version, or its rule is not shelved.
    pub fn unshelve(
        &mut self,
        id: AlertId,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alert_for(id, wish.version)?;
        if self.standings.shelves.remove(&alert.rule).is_none() {
            return Err(AlertError::NotSo { id, so: "shelved" });
        }
        self.silenced(alert, Changed::Shelf, "alert.unshelved", wish, now)
    }

    /// Takes an alert's rule out of service, or its whole device: until somebody puts it back.
    ///
    /// # Errors
    /// When there is no such alert, or it is not at the wish's version.
    pub fn take_out_of_service(
        &mut self,
        id: AlertId,
        whole_device: bool,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alert_for(id, wish.version)?;
        let marked = marked(&alert, whole_device);
        let Wish { who, reason, .. } = wish;
        let mark = OutOfService { by: who.clone(), reason: reason.clone(), at: now };
        self.standings.marks.insert(marked.clone(), mark);
        self.silenced(alert, |_| Changed::Mark(marked), "alert.out_of_service", wish, now)
    }

    /// Puts an alert's rule, or its whole device, back into service.
    ///
    /// # Errors
    /// When there is no such alert, it is not at the wish's version, or was not taken out so.
    pub fn put_in_service(
        &mut self,
        id: AlertId,
        whole_device: bool,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alert_for(id, wish.version)?;
        let marked = marked(&alert, whole_device);
        if self.standings.marks.remove(&marked).is_none() {
            let so = if whole_device {
                "out of service as a whole device"
            } else {
                "out of service by its rule alone"
            };
            return Err(AlertError::NotSo { id, so });
        }
        self.silenced(alert, |_| Changed::Mark(marked), "alert.in_service", wish, now)
    }

    /// Plans a maintenance window; one that begins in the past begins now.
    ///
    /// # Errors
    /// When it ends before it begins or is over, or lasts longer than [`MAX_MAINTENANCE`].
    pub fn plan_maintenance(
        &mut self,
        plan: Plan,
        now: Timestamp,
    ) -> Result<Maintenance, AlertError> {
        let Plan { covers, from, until, reason, by } = plan;
        let from = from.max(now);
        if until <= from || until.since(from) > MAX_MAINTENANCE {
            return Err(AlertError::BadWindow);
        }
        let number = self.standings.next_window;
        self.standings.next_window += 1;
        let window = Maintenance {
            number,
            covers,
            from,
            until,
            reason,
            by,
            made_at: now,
            ended_by: None,
            ended_at: None,
        };
        self.window_changed(window.clone(), "maintenance.plan", &window.by, now);
        Ok(window)
    }

    /// Ends a maintenance window before its time.
    ///
    /// # Errors
    /// When there is none of this number that is not over.
    pub fn end_maintenance(
        &mut self,
        number: u64,
        who: &str,
        now: Timestamp,
    ) -> Result<Maintenance, AlertError> {
        let window = self.standings.windows.get(&number);
        let window = window.filter(|window| now < window.end()).cloned();
        let mut window = window.ok_or(AlertError::NoWindow(number))?;
        window.ended_by = Some(who.to_owned());
        window.ended_at = Some(now);
        self.window_changed(window.clone(), "maintenance.end", who, now);
        Ok(window)
    }

    fn window_changed(
        &mut self,
        window: Maintenance,
        action: &'static str,
        who: &str,
        now: Timestamp,
    ) {
        let number = window.number;
        let detail = serde_json::to_value(&window).unwrap_or_default();
        self.standings.windows.insert(number, window);
        let entry = Some((who.to_owned(), action, number.to_string(), detail, now));
        self.standings.pending.push(Pending { what: Changed::Window(number), entry });
        self.restand_all(now);
    }

    /// The alert, open or not, at this version.
    fn alert_for(&self, id: AlertId, version: Option<u32>) -> Result<Alert, AlertError> {
        let alert = match self.ledger.get(id) {
            Some(alert) => alert.clone(),
            None => tables::find(&self.db, id)?.ok_or(AlertError::NotFound(id))?,
        };
        match version {
            Some(given) if given != alert.version => {
                Err(AlertError::VersionConflict { id, current: alert.version, given })
            }
            _ => Ok(alert),
        }
    }

    /// A person changed what silences a rule: its row, and the events of the open alerts that it concerns.
    fn silenced(
        &mut self,
        alert: Alert,
        changed: impl FnOnce(RuleKey) -> Changed,
        action: &'static str,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let what = changed(alert.rule.clone());
        let concerned: Vec<AlertId> = match &what {
            Changed::Mark(Marked::Device(device)) => self
                .ledger
                .open()
                .filter(|open| open.rule.device == *device)
                .map(|a| a.id)
                .collect(),
            _ => self.ledger.open().filter(|open| open.rule == alert.rule).map(|a| a.id).collect(),
        };
        let before = self.ledger.events().len();
        for id in concerned {
            self.restand(id, now, Some(wish));
        }
        // Events of a person stand in the audit log; what made none gets an entry of its own.
        let is_told = self.ledger.events().len() > before;
        let entry = (!is_told).then(|| {
            let detail = json!({ "rule": &alert.rule, "reason": wish.reason });
            (wish.who.clone(), action, alert.id.0.to_string(), detail, now)
        });
        self.standings.pending.push(Pending { what, entry });
        self.standings.look_ahead(now);
        Ok(match self.ledger.get(alert.id) {
            Some(open) => open.clone(),
            None => {
                let standing =
                    self.standings.of(&alert.rule, is_silence(&alert), &alert.standing, now);
                Alert { standing, ..alert }
            }
        })
    }

    /// Lets time pass for what silences.
    pub(super) fn tick_standing(&mut self, now: Timestamp) {
        if self.standings.next.is_some_and(|next| next <= now) {
            let over = self.standings.shelves.iter().filter(|(_, shelf)| shelf.until <= now);
            let over: Vec<RuleKey> = over.map(|(key, _)| key.clone()).collect();
            for key in over {
                self.standings.shelves.remove(&key);
                let what = Changed::Shelf(key);
                self.standings.pending.push(Pending { what, entry: None });
            }
            self.restand_all(now);
            self.standings.windows.retain(|_, window| now < window.until);
            self.standings.look_ahead(now);
        }
    }

    /// Looks at what conditions did since the last look.
    #[inline]
    pub(super) fn follow_events(&mut self) {
        while let Some(event) = self.ledger.events().get(self.standings.followed) {
            let (id, what, at) = (event.alert, event.what, event.at);
            self.standings.followed += 1;
            match what {
                What::Raised => self.on_raised(id, true, at),
                What::RaisedAgain => self.on_raised(id, false, at),
                What::Returned | What::RuleRemoved => self.on_returned(id, at),
                What::SeverityUp => self.on_severity_up(id, at),
                _ => {}
            }
        }
    }

    /// Brings what is put aside up to what conditions did; before every write.
    pub(super) fn settle_standings(&mut self) {
        self.follow_events();
        if let Some(at) = self.standings.stale.take() {
            self.restand_all(at);
            self.follow_events();
        }
    }

    /// An alert was raised (`is_new`: not one that came back).
    fn on_raised(&mut self, id: AlertId, is_new: bool, at: Timestamp) {
        let Some(alert) = self.ledger.get(id) else { return };
        let (device, is_silence, root) =
            (alert.rule.device.clone(), is_silence(alert), root_of(alert));
        if is_new {
            let group = self.standings.groups.entry(root).or_default();
            let ledger = &self.ledger;
            group.retain(|id| ledger.get(*id).is_some_and(Alert::is_open));
            let is_first = !group.iter().filter_map(|id| ledger.get(*id)).any(|other| {
                other.is_annunciated() && other.active && at.since(other.raised_at) <= GROUP
            });
            group.push(id);
            if is_first {
                self.ledger.mark_first_in_group(id);
            }
        }
        if is_silence {
            self.standings.silent.insert(device.clone());
        }
        self.restand(id, at, None);
        if is_silence {
            self.on_silence(&device, at);
        }
    }

    /// An alert's condition is over.
    fn on_returned(&mut self, id: AlertId, at: Timestamp) {
        let Some(alert) = self.ledger.get(id) else { return };
        let (device, is_silence) = (alert.rule.device.clone(), is_silence(alert));
        if !alert.standing.is_clear() && alert.acknowledged_at.is_none() {
            self.ledger.change(id, What::Acknowledged, at, None, None, None, |alert| {
                alert.acknowledged_at = Some(at);
                alert.acknowledged_by = Some(audit::HUB.to_owned());
                alert.note = None;
            });
        }
        if is_silence {
            self.standings.silent.remove(&device);
            self.standings.graces.remove(&device);
            self.on_silence(&device, at);
        }
    }

    /// An alert became worse: a shelf that is longer than its new severity allows is cut.
    fn on_severity_up(&mut self, id: AlertId, at: Timestamp) {
        let Some(alert) = self.ledger.get(id) else { return };
        let longest = self.standings.limits.of(alert.severity);
        let Some(shelf) = self.standings.shelves.get_mut(&alert.rule) else { return };
        let end = shelf.at.plus(longest);
        if end < shelf.until {
            shelf.until = end;
            let what = Changed::Shelf(alert.rule.clone());
            self.standings.pending.push(Pending { what, entry: None });
            self.restand(id, at, None);
            self.standings.look_ahead(at);
        }
    }

    fn on_silence(&mut self, device: &DeviceId, at: Timestamp) {
        if self.standings.places.is_watched(device) {
            self.standings.stale = Some(at);
        }
    }

    fn restand_all(&mut self, now: Timestamp) {
        let open: Vec<AlertId> = self.ledger.open().map(|alert| alert.id).collect();
        for id in open {
            self.restand(id, now, None);
        }
        self.standings.look_ahead(now);
    }

    /// Gives an open alert the standing that it should have, with an event for each difference.
    fn restand(&mut self, id: AlertId, now: Timestamp, wish: Option<&Wish>) {
        let Some(alert) = self.ledger.get(id).filter(|alert| alert.is_open()) else { return };
        let former = alert.standing.clone();
        let is_silence = is_silence(alert);
        let mut wanted = self.standings.of(&alert.rule, is_silence, &former, now);
        self.standings.keep_grace(alert, &former, &mut wanted, now);
        if wanted == former {
            return;
        }
        let (who, why) = match wish {
            Some(wish) => (Some(wish.who.as_str()), Some(wish.reason.as_str())),
            None => (None, None),
        };
        let mut steps: Vec<(What, Option<Value>, Standing)> = Vec::new();
        let mut standing = former;
        if standing.out_of_service != wanted.out_of_service {
            standing.out_of_service = wanted.out_of_service;
            steps.push((
                if standing.out_of_service.is_some() {
                    What::OutOfService
                } else {
                    What::InService
                },
                detail(&standing.out_of_service),
                standing.clone(),
            ));
        }
        if standing.shelved != wanted.shelved {
            standing.shelved = wanted.shelved;
            let what = if standing.shelved.is_some() { What::Shelved } else { What::Unshelved };
            steps.push((what, detail(&standing.shelved), standing.clone()));
        }
        if standing.suppressed != wanted.suppressed {
            standing.suppressed = wanted.suppressed;
            let what =
                if standing.suppressed.is_some() { What::Suppressed } else { What::Unsuppressed };
            steps.push((what, detail(&standing.suppressed), standing.clone()));
        }
        for (what, detail, standing) in steps {
            let by_person = matches!(
                what,
                What::Shelved | What::Unshelved | What::OutOfService | What::InService
            );
            let who = who.filter(|_| by_person);
            let why = why.filter(|_| by_person);
            self.ledger.change(id, what, now, who, why, detail, |alert| {
                alert.standing = standing;
                if alert.is_annunciated() && alert.active {
                    // Announced as if new.
                    alert.acknowledged_at = None;
                    alert.acknowledged_by = None;
                    alert.note = None;
                }
            });
        }
    }
}

impl Standings {
    /// Keeps an active silence suppressed for its full time when what stood before it is back.
    fn keep_grace(
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

fn is_silence(alert: &Alert) -> bool {
    alert.kind == "no_data"
}

fn root_of(alert: &Alert) -> String {
    match &alert.asset {
        Some(asset) => format!("asset:{asset}"),
        None => format!("device:{}", alert.rule.device),
    }
}

fn marked(alert: &Alert, whole_device: bool) -> Marked {
    match whole_device {
        true => Marked::Device(alert.rule.device.clone()),
        false => Marked::Rule(alert.rule.clone()),
    }
}

fn detail<T: Serialize>(part: &Option<T>) -> Option<Value> {
    part.as_ref().and_then(|part| serde_json::to_value(part).ok())
}

fn write_shelf(tx: &Transaction<'_>, key: &RuleKey, shelf: Option<&Shelf>) -> rusqlite::Result<()> {
    let (device, metric) = (key.device.as_str(), tables::metric_text(key));
    match shelf {
        Some(shelf) => tx.execute(
            "INSERT OR REPLACE INTO alert_shelf (device, metric, name, by, reason, at, until)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                device,
                metric,
                key.name,
                shelf.by,
                shelf.reason,
                shelf.at.as_micros(),
                shelf.until.as_micros()
            ],
        )?,
        None => tx.execute(
            "DELETE FROM alert_shelf WHERE device = ? AND metric = ? AND name = ?",
            params![device, metric, key.name],
        )?,
    };
    Ok(())
}

fn write_mark(
    tx: &Transaction<'_>,
    marked: &Marked,
    mark: Option<&OutOfService>,
) -> rusqlite::Result<()> {
    let (device, metric, name) = match marked {
        Marked::Device(device) => (device.as_str(), "", ""),
        Marked::Rule(key) => (key.device.as_str(), tables::metric_text(key), key.name.as_str()),
    };
    match mark {
        Some(mark) => tx.execute(
            "INSERT OR REPLACE INTO alert_out_of_service (device, metric, name, by, reason, at)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![device, metric, name, mark.by, mark.reason, mark.at.as_micros()],
        )?,
        None => tx.execute(
            "DELETE FROM alert_out_of_service WHERE device = ? AND metric = ? AND name = ?",
            params![device, metric, name],
        )?,
    };
    Ok(())
}

fn write_window(tx: &Transaction<'_>, window: &Maintenance) -> rusqlite::Result<()> {
    let (zone, asset, device) = match &window.covers {
        Covered::Zone(zone) => (Some(zone.as_str()), None, None),
        Covered::Asset(asset) => (None, Some(asset.as_str()), None),
        Covered::Device(device) => (None, None, Some(device.as_str())),
    };
    tx.execute(
        "INSERT OR REPLACE INTO maintenance
             (number, zone, asset, device, begins_at, ends_at, reason, by, made_at, ended_by, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            window.number as i64,
            zone,
            asset,
            device,
            window.from.as_micros(),
            window.until.as_micros(),
            window.reason,
            window.by,
            window.made_at.as_micros(),
            window.ended_by,
            window.ended_at.map(Timestamp::as_micros),
        ],
    )?;
    Ok(())
}

/// Maintenance windows that end after `since`, newest first, at most `limit`; with their own connection.
///
/// # Errors
/// When SQLite fails.
pub fn maintenance(
    db: &Connection,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Maintenance>, AlertError> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM maintenance WHERE coalesce(ended_at, ends_at) > ? ORDER BY number DESC LIMIT ?",
    )?;
    let windows = statement.query_map(params![since.as_micros(), limit as i64], window_of)?;
    Ok(windows.collect::<Result<_, _>>()?)
}

/// The maintenance window of this number, over or not.
///
/// # Errors
/// When SQLite fails.
pub fn find_maintenance(db: &Connection, number: u64) -> Result<Option<Maintenance>, AlertError> {
    let Ok(number) = i64::try_from(number) else { return Ok(None) };
    let mut statement = db.prepare_cached("SELECT * FROM maintenance WHERE number = ?")?;
    Ok(statement.query_map([number], window_of)?.next().transpose()?)
}

fn shelf_of(row: &Row<'_>) -> rusqlite::Result<Shelf> {
    Ok(Shelf {
        by: row.get("by")?,
        reason: row.get("reason")?,
        at: Timestamp::from_micros(row.get("at")?),
        until: Timestamp::from_micros(row.get("until")?),
    })
}

fn out_of(row: &Row<'_>) -> rusqlite::Result<OutOfService> {
    Ok(OutOfService {
        by: row.get("by")?,
        reason: row.get("reason")?,
        at: Timestamp::from_micros(row.get("at")?),
    })
}

fn marked_of(row: &Row<'_>) -> rusqlite::Result<Marked> {
    let key = tables::key_of(row)?;
    Ok(if key.name.is_empty() { Marked::Device(key.device) } else { Marked::Rule(key) })
}

fn window_of(row: &Row<'_>) -> rusqlite::Result<Maintenance> {
    let text = |name| row.get::<_, Option<String>>(name);
    let covers = match (text("zone")?, text("asset")?, text("device")?) {
        (Some(zone), ..) => Covered::Zone(tables::parse(&zone)?),
        (None, Some(asset), _) => Covered::Asset(tables::parse(&asset)?),
        (None, None, device) => Covered::Device(tables::parse(&device.unwrap_or_default())?),
    };
    let time = |name| row.get(name).map(Timestamp::from_micros);
    Ok(Maintenance {
        number: row.get::<_, i64>("number")? as u64,
        covers,
        from: time("begins_at")?,
        until: time("ends_at")?,
        reason: row.get("reason")?,
        by: row.get("by")?,
        made_at: time("made_at")?,
        ended_by: row.get("ended_by")?,
        ended_at: row.get::<_, Option<i64>>("ended_at")?.map(Timestamp::from_micros),
    })
}
