//! The whole town at one moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use geo::{Area, BoundingRect, Contains, Point};
use rstar::RTree;
use rstar::primitives::{GeomWithData, Rectangle};

use super::index::Index;
use super::things::{Asset, Device, Zone};
use crate::model::{AssetId, AssetNumber, Bbox, DeviceId, Position, ZoneId};

/// The whole town at one moment: immutable, shared, replaced as one by every change.
#[derive(Debug)]
pub struct Town {
    /// Counts changes from 1; a reader that saw a version need not look again.
    pub version: u64,
    /// Every device by its id.
    pub devices: HashMap<DeviceId, Arc<Device>>,
    /// Every asset by its id.
    pub assets: HashMap<AssetId, Arc<Asset>>,
    /// Every zone by its id.
    pub zones: HashMap<ZoneId, Arc<Zone>>,
    /// Assets whose zone was found, not given: they move with the zones' outlines.
    placed: HashSet<AssetId>,
    devices_of: HashMap<AssetId, Vec<Arc<Device>>>,
    index: Arc<Index>,
}

impl Town {
    /// A town of these things. An asset without a zone is put into the smallest zone that contains it.
    pub fn new(
        version: u64,
        devices: impl IntoIterator<Item = Device>,
        assets: impl IntoIterator<Item = Asset>,
        zones: impl IntoIterator<Item = Zone>,
    ) -> Self {
        let mut town = Town {
            version,
            devices: HashMap::new(),
            assets: HashMap::new(),
            zones: HashMap::new(),
            placed: HashSet::new(),
            devices_of: HashMap::new(),
            index: Arc::new(Index::new(std::iter::empty())),
        };
        town.put_zones(zones);
        town.put_assets(assets);
        town.put_devices(devices);
        town
    }

    /// The assets whose bounding boxes meet `bbox`, edges included, in the order of their numbers.
    pub fn assets_in(&self, bbox: Bbox) -> Vec<&Arc<Asset>> {
        self.index.within(bbox)
    }

    /// The `n` assets nearest to `position`, nearest first, with their distance in metres over ground (to the
    /// nearest part of a line or outline; 0 inside an outline).
    pub fn nearest(&self, position: Position, n: usize) -> Vec<(&Arc<Asset>, f64)> {
        self.index.nearest(position, n)
    }

    /// The asset that has this number on the map.
    pub fn asset_by_number(&self, number: AssetNumber) -> Option<&Arc<Asset>> {
        self.index.by_number(number)
    }

    /// The devices that observe an asset, in the order of their ids.
    pub fn devices_of(&self, asset: &AssetId) -> &[Arc<Device>] {
        self.devices_of.get(asset).map_or(&[], Vec::as_slice)
    }

    /// The zone that the asset's import gave; `None` when it was found by containment or there is none.
    pub(super) fn given_zone<'a>(&self, asset: &'a Asset) -> Option<&'a ZoneId> {
        asset.zone.as_ref().filter(|_| !self.placed.contains(&asset.id))
    }

    /// A copy to be changed into the next version. Cheap: the things themselves are shared.
    pub(super) fn next(&self, version: u64) -> Self {
        Town {
            version,
            devices: self.devices.clone(),
            assets: self.assets.clone(),
            zones: self.zones.clone(),
            placed: self.placed.clone(),
            devices_of: self.devices_of.clone(),
            index: Arc::clone(&self.index),
        }
    }

    /// Adds or replaces zones, and finds the zone anew of every asset that was not given one.
    pub(super) fn put_zones(&mut self, zones: impl IntoIterator<Item = Zone>) {
        self.zones.extend(zones.into_iter().map(|zone| (zone.id.clone(), Arc::new(zone))));
        let finder = ZoneFinder::new(self.zones.values());
        for asset in self.assets.values_mut() {
            if asset.zone.is_some() && !self.placed.contains(&asset.id) {
                continue;
            }
            let zone = finder.find(asset.position());
            note_placed(&mut self.placed, &asset.id, zone.is_some());
            if asset.zone != zone {
                *asset = Arc::new(Asset { zone, ..Asset::clone(asset) });
            }
        }
        self.index = Arc::new(Index::new(self.assets.values()));
    }

    /// Adds or replaces assets; their `zone` is the one that was given.
    pub(super) fn put_assets(&mut self, assets: impl IntoIterator<Item = Asset>) {
        let finder = ZoneFinder::new(self.zones.values());
        for mut asset in assets {
            let given = asset.zone.is_some();
            if !given {
                asset.zone = finder.find(asset.position());
            }
            note_placed(&mut self.placed, &asset.id, !given && asset.zone.is_some());
            self.assets.insert(asset.id.clone(), Arc::new(asset));
        }
        self.index = Arc::new(Index::new(self.assets.values()));
    }

    /// Adds or replaces devices.
    pub(super) fn put_devices(&mut self, devices: impl IntoIterator<Item = Device>) {
        self.devices.extend(devices.into_iter().map(|d| (d.id.clone(), Arc::new(d))));
        self.devices_of = HashMap::new();
        for device in self.devices.values() {
            if let Some(asset) = &device.asset {
                self.devices_of.entry(asset.clone()).or_default().push(Arc::clone(device));
            }
        }
        for devices in self.devices_of.values_mut() {
            devices.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        }
    }
}

fn note_placed(placed: &mut HashSet<AssetId>, asset: &AssetId, is_placed: bool) {
    if is_placed {
        placed.insert(asset.clone());
    } else {
        placed.remove(asset);
    }
}

/// A zone with its bounding box and its area (in square degrees: only to compare).
type ZoneEntry<'a> = GeomWithData<Rectangle<[f64; 2]>, (f64, &'a Zone)>;

/// Finds the zone of a position.
struct ZoneFinder<'a> {
    tree: RTree<ZoneEntry<'a>>,
}

impl<'a> ZoneFinder<'a> {
    fn new(zones: impl Iterator<Item = &'a Arc<Zone>>) -> Self {
        let entries = zones
            .filter_map(|zone| {
                let rect = zone.geometry.bounding_rect()?;
                let (low, high) = (rect.min(), rect.max());
                let corners = Rectangle::from_corners([low.x, low.y], [high.x, high.y]);
                Some(GeomWithData::new(corners, (zone.geometry.unsigned_area(), &**zone)))
            })
            .collect();
        ZoneFinder { tree: RTree::bulk_load(entries) }
    }

    /// The smallest zone that contains the position (a village lies within its town); by id among equals.
    fn find(&self, position: Position) -> Option<ZoneId> {
        let point = Point::new(position.lon(), position.lat());
        self.tree
            .locate_all_at_point([point.x(), point.y()])
            .map(|entry| entry.data)
            .filter(|(_, zone)| zone.geometry.contains(&point))
            .min_by(|(a, first), (b, second)| a.total_cmp(b).then_with(|| first.id.cmp(&second.id)))
            .map(|(_, zone)| zone.id.clone())
    }
}
