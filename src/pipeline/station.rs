//! Devices at work: the registry's device joined with its profile, its series and what is known of it now.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::alert::book::Subject;
use crate::model::{AssetNumber, DeviceId, PointIndex, Sample, SeriesId, Timestamp};
use crate::normalize::Track;
use crate::profile::{self, Point, Profile, ProfileSet};
use crate::registry::{Asset, Device, DeviceAddress, Town};
use crate::store::keep::{Keep, Kind};
use crate::store::{Nature, SeriesKey, Store, StoreError};

/// How many payloads that did not decode are kept for each device, and how much of each: enough to see what a new
/// firmware sends, bounded for a device that sends nothing else.
const UNDECODED_KEPT: usize = 16;
const UNDECODED_BYTES: usize = 1_024;

/// A device at work. Immutable but for its memory, which outlives a rebuilt table.
#[derive(Debug)]
pub struct Station {
    /// The device.
    pub device: Arc<Device>,
    /// The asset that it observes.
    pub asset: Option<Arc<Asset>>,
    /// Its profile.
    pub profile: Arc<Profile>,
    /// The series of each point, by [`PointIndex`].
    pub series: Box<[SeriesId]>,
    memory: Arc<Memory>,
}

/// What changes from message to message.
#[derive(Debug)]
struct Memory {
    track: Mutex<Track>,
    undecoded: Mutex<VecDeque<Undecoded>>,
    status: Mutex<Option<LinkStatus>>,
    /// Shared with a former memory of the same device: what it said once holds whatever reads it.
    decoder: Arc<profile::Memory>,
    /// Microseconds; `i64::MIN` for never.
    heard: AtomicI64,
    /// Shared with a former memory of the same device, whose sessions still count on it.
    links: Arc<AtomicU32>,
}

/// A payload that a profile could not decode, kept for a look.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Undecoded {
    /// When it came.
    pub received_at: Timestamp,
    /// Its topic.
    pub topic: String,
    /// Why, as a word for counters.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// The payload's first bytes.
    #[serde(skip)]
    pub payload: Vec<u8>,
    /// How long it was.
    pub size: usize,
}

/// What a device, or its last will, said on its status topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// When.
    pub at: Timestamp,
    /// What.
    pub payload: Vec<u8>,
}

/// All stations; replaced as one when the registry or the profiles change.
#[derive(Debug, Default)]
pub struct StationTable {
    /// Counts tables: a session that holds a station looks again when this has changed.
    pub version: u64,
    /// The version of the town that it was built from.
    pub town_version: u64,
    /// How long the store keeps what; the same for all tables.
    keep: Arc<Keep>,
    by_device: HashMap<DeviceId, usize>,
    by_asset: HashMap<AssetNumber, Vec<Arc<Station>>>,
    stations: Vec<Arc<Station>>,
    /// By gateway.
    behind: HashMap<DeviceId, Listed>,
    /// By [`SeriesId`]: which station, which point.
    owners: Vec<Option<SeriesOwner>>,
}

/// The devices that a gateway may publish for.
#[derive(Debug, Default)]
pub struct Listed {
    /// By id and by address.
    names: HashMap<Box<str>, Arc<Station>>,
    profiles: Vec<Arc<Profile>>,
}

impl Listed {
    /// The device that the gateway calls so.
    pub fn get(&self, name: &str) -> Option<&Arc<Station>> {
        self.names.get(name).or_else(|| self.names.get(&*DeviceAddress::plain(name)))
    }

    /// Every profile of theirs, once.
    pub fn profiles(&self) -> &[Arc<Profile>] {
        &self.profiles
    }

    fn add(&mut self, station: &Arc<Station>) {
        let device = &station.device;
        for name in [device.id.as_str(), device.name_at_gateway()] {
            self.names.insert(name.into(), Arc::clone(station));
        }
        if !self.profiles.iter().any(|profile| Arc::ptr_eq(profile, &station.profile)) {
            self.profiles.push(Arc::clone(&station.profile));
        }
    }
}

/// Whose series it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeriesOwner {
    pub(super) station: u32,
    pub(super) point: PointIndex,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is whole after every statement: a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Station {
    /// As the rule book looks at it.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            device: &self.device,
            asset: self.asset.as_deref(),
            profile: &self.profile,
            series: &self.series,
        }
    }

    /// When anything was last heard from it.
    pub fn last_heard(&self) -> Option<Timestamp> {
        match self.memory.heard.load(Ordering::Relaxed) {
            i64::MIN => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }

    /// Whether it is connected now: an MQTT session, or answering on its bus.
    pub fn is_connected(&self) -> bool {
        self.memory.links.load(Ordering::Relaxed) > 0
    }

    /// The last payloads that did not decode, newest first.
    pub fn undecoded(&self) -> Vec<Undecoded> {
        locked(&self.memory.undecoded).iter().cloned().collect()
    }

    /// How many of them are kept.
    pub fn undecoded_count(&self) -> usize {
        locked(&self.memory.undecoded).len()
    }

    /// What its status topic holds.
    pub fn status(&self) -> Option<LinkStatus> {
        locked(&self.memory.status).clone()
    }

    /// Replaces what its status topic holds.
    pub fn set_status(&self, status: LinkStatus) {
        *locked(&self.memory.status) = Some(status);
    }

    /// Whether a message that names its devices means this one by `name`.
    pub fn is_called(&self, name: &str) -> bool {
        let plain = DeviceAddress::plain(name);
        let names = [self.device.id.as_str(), self.device.name_at_gateway()];
        names.iter().any(|own| *own == name || *own == plain)
    }

    /// Counts a link that came up; the returned guard counts it down again.
    pub fn link(self: &Arc<Self>) -> LinkGuard {
        self.memory.links.fetch_add(1, Ordering::Relaxed);
        LinkGuard(Arc::clone(&self.memory.links))
    }

    /// Whether its headline point is a state: then the map shows the state itself, not only its grade.
    pub(super) fn shows_state(&self) -> bool {
        let headline = usize::from(self.profile.headline.0);
        self.profile.points.get(headline).is_some_and(|point| point.states.is_some())
    }

    pub(super) fn heard(&self, at: Timestamp) {
        self.memory.heard.store(at.as_micros(), Ordering::Relaxed);
    }

    pub(super) fn track(&self) -> MutexGuard<'_, Track> {
        locked(&self.memory.track)
    }

    /// What its profile's decoder remembers from message to message.
    pub fn memory_of_decoder(&self) -> &profile::Memory {
        &self.memory.decoder
    }

    pub(super) fn keep_undecoded(&self, mut undecoded: Undecoded) {
        undecoded.payload.truncate(UNDECODED_BYTES);
        let mut kept = locked(&self.memory.undecoded);
        kept.truncate(UNDECODED_KEPT - 1);
        kept.push_front(undecoded);
    }
}

/// A link that is up, for as long as this lives.
#[derive(Debug)]
pub struct LinkGuard(Arc<AtomicU32>);

impl Drop for LinkGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the store must know of a point: its value holds until the device counts as stale, which state is "occupied", and
/// how long it is kept.
fn nature(profile: &Profile, point: &Point, keep: &Keep) -> Nature {
    let occupied = point.states.iter().flatten().find(|state| state.name == "occupied");
    let hold = profile.staleness.stale_after.min(Nature::MAX_HOLD);
    let kind = if point.states.is_some() { Kind::State } else { Kind::Level };
    let (class, minutes) = keep.class(&point.name, &point.unit, kind);
    Nature { hold, occupied: occupied.map(|state| state.code), class, minutes }
}

impl StationTable {
    /// A table without stations, and what the store is to be told with those that follow it.
    pub fn keeping(keep: Keep) -> Self {
        StationTable { keep: Arc::new(keep), ..StationTable::default() }
    }

    /// Joins the town with the profiles and the store's series. A device whose profile is not in force is left out; the
    /// caller finds it by its absence. `latest` is what the store knows of a series, to seed a new station's track with.
    ///
    /// # Errors
    /// When the store cannot number a new series.
    pub fn build(
        town: &Town,
        profiles: &ProfileSet,
        store: &dyn Store,
        latest: &dyn Fn(SeriesId) -> Option<Sample>,
        previous: &StationTable,
    ) -> Result<Self, StoreError> {
        let mut devices: Vec<_> = town
            .devices
            .values()
            .filter_map(|device| Some((device, profiles.profiles.get(&device.profile)?)))
            .collect();
        devices.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        let keys: Vec<SeriesKey> = devices
            .iter()
            .flat_map(|(device, profile)| {
                profile.points.iter().map(|point| SeriesKey {
                    device: device.id.clone(),
                    metric: point.name.clone(),
                })
            })
            .collect();
        let numbers = store.series(&keys)?;
        let mut numbers = numbers.as_slice();
        let mut table = StationTable {
            version: previous.version + 1,
            town_version: town.version,
            keep: Arc::clone(&previous.keep),
            ..StationTable::default()
        };
        let mut natures = Vec::with_capacity(keys.len());
        for (device, profile) in devices {
            let (series, rest) = numbers.split_at(profile.points.len());
            numbers = rest;
            natures.extend(
                (series.iter().copied())
                    .zip(profile.points.iter().map(|point| nature(profile, point, &table.keep))),
            );
            let asset = device.asset.as_ref().and_then(|id| town.assets.get(id)).cloned();
            table.add(Station {
                memory: memory(previous.get(device.id.as_str()), profile, series, latest),
                device: Arc::clone(device),
                asset,
                profile: Arc::clone(profile),
                series: series.into(),
            });
        }
        store.describe(&natures)?;
        Ok(table)
    }

    fn add(&mut self, station: Station) {
        let station = Arc::new(station);
        let index = self.stations.len();
        for (point, series) in station.series.iter().enumerate() {
            if self.owners.len() <= series.index() {
                self.owners.resize(series.index() + 1, None);
            }
            self.owners[series.index()] =
                Some(SeriesOwner { station: index as u32, point: PointIndex(point as u16) });
        }
        if let Some(asset) = &station.asset {
            self.by_asset.entry(asset.number).or_default().push(Arc::clone(&station));
        }
        if let Some(gateway) = &station.device.gateway {
            self.behind.entry(gateway.clone()).or_default().add(&station);
        }
        self.by_device.insert(station.device.id.clone(), index);
        self.stations.push(station);
    }

    /// The station of a device.
    pub fn get(&self, device: &str) -> Option<&Arc<Station>> {
        self.by_device.get(device).map(|&index| &self.stations[index])
    }

    /// Every station, by device id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Station>> {
        self.stations.iter()
    }

    /// The devices that a gateway may publish for; `None` for a device that is no gateway.
    pub fn behind(&self, gateway: &DeviceId) -> Option<&Listed> {
        self.behind.get(gateway)
    }

    /// Every gateway whose own profile is in force, with the devices that it may publish for.
    pub fn gateways(&self) -> impl Iterator<Item = (&Arc<Station>, &Listed)> {
        self.behind.iter().filter_map(|(id, listed)| Some((self.get(id.as_str())?, listed)))
    }

    /// The stations that observe an asset.
    pub fn of_asset(&self, asset: AssetNumber) -> &[Arc<Station>] {
        self.by_asset.get(&asset).map_or(&[], Vec::as_slice)
    }

    pub(super) fn assets(&self) -> impl Iterator<Item = AssetNumber> {
        self.by_asset.keys().copied()
    }

    pub(super) fn owner(&self, series: SeriesId) -> Option<SeriesOwner> {
        self.owners.get(series.index()).copied().flatten()
    }

    pub(super) fn station(&self, index: u32) -> &Arc<Station> {
        &self.stations[index as usize]
    }

    /// How many stations there are.
    pub fn len(&self) -> usize {
        self.stations.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stations.is_empty()
    }
}

/// The former station's memory when it still fits, else a fresh one that knows what the store knows.
fn memory(
    former: Option<&Arc<Station>>,
    profile: &Arc<Profile>,
    series: &[SeriesId],
    latest: &dyn Fn(SeriesId) -> Option<Sample>,
) -> Arc<Memory> {
    if let Some(former) = former
        && Arc::ptr_eq(&former.profile, profile)
    {
        return Arc::clone(&former.memory);
    }
    let mut track = Track::new(profile);
    let mut heard = i64::MIN;
    for (point, sample) in series.iter().enumerate().filter_map(|(i, &s)| Some((i, latest(s)?))) {
        track.seed(PointIndex(point as u16), &sample);
        heard = heard.max(sample.received_at.as_micros());
    }
    // A changed profile changes what the device's readings mean, not what it said of itself.
    let status = former.and_then(|former| former.status());
    heard = heard.max(former.map_or(i64::MIN, |f| f.memory.heard.load(Ordering::Relaxed)));
    Arc::new(Memory {
        track: Mutex::new(track),
        undecoded: Mutex::default(),
        status: Mutex::new(status),
        decoder: former.map_or_else(Arc::default, |former| Arc::clone(&former.memory.decoder)),
        heard: AtomicI64::new(heard),
        links: former.map_or_else(Arc::default, |former| Arc::clone(&former.memory.links)),
    })
}
