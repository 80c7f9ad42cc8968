//! Holds the drafts of an import against the town and against each other.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;

use geo::Geometry;

use super::gateways::Gateways;
use super::report::{ImportRow, RowStatus};
use super::row::{AssetDraft, DeviceDraft, Head, ZoneDraft, hint};
use crate::model::{AssetId, AssetKind, DeviceId, ProfileId};
use crate::registry::State;
use crate::registry::db::UNNUMBERED;
use crate::registry::door::SERVICE_PREFIX;
use crate::registry::enrolment::{ENROLL, Lobby, is_enroll};
use crate::registry::rotation::DeviceKey;
use crate::registry::secrets::SecretHash;
use crate::registry::things::{Asset, Device, Zone};
use crate::registry::town::Town;

/// How many parents an asset may have above it.
const MAX_ANCESTORS: usize = 16;

/// What an import would do.
#[derive(Debug)]
pub(super) struct Plan<T> {
    /// Every row with its fate.
    pub(super) rows: Vec<ImportRow>,
    /// The things that are new or different.
    pub(super) changes: Vec<T>,
}

/// A plan of devices: secrets are made only when it is applied.
#[derive(Debug)]
pub(super) struct DevicePlan(pub(super) Plan<PlannedDevice>);

/// A device that is new or different.
#[derive(Debug)]
pub(super) struct PlannedDevice {
    /// Where its row is in the plan's rows.
    pub(super) at: usize,
    pub(super) device: Device,
    /// The row's, else the known one; `None` when one is to be made.
    pub(super) key: Option<DeviceKey>,
}

impl<T> Plan<T> {
    fn with_capacity(rows: usize) -> Self {
        Plan { rows: Vec::with_capacity(rows), changes: Vec::new() }
    }

    /// Whether any row is wrong.
    pub(super) fn is_rejected(&self) -> bool {
        self.rows.iter().any(|row| row.status == RowStatus::Rejected)
    }

    /// Adds a row; `thing` is what it says, when it says enough, and its fate.
    fn push<Id>(&mut self, head: Head<Id>, thing: Option<(RowStatus, T)>) {
        let mut status = RowStatus::Rejected;
        if let (true, Some((fate, thing))) = (head.errors.is_empty(), thing) {
            status = fate;
            if fate != RowStatus::Unchanged {
                self.changes.push(thing);
            }
        }
        let Head { row, text: id, errors, .. } = head;
        self.rows.push(ImportRow { row, id, status, errors, secret: None });
    }
}

/// Plans zones.
pub(super) fn zones(town: &Town, drafts: Vec<ZoneDraft>) -> Plan<Zone> {
    let first_rows = first_rows(drafts.iter().map(|draft| &draft.head));
    let mut plan = Plan::with_capacity(drafts.len());
    for ZoneDraft { mut head, name, geometry } in drafts {
        check_duplicate(&mut head, &first_rows);
        let zone = head.id.clone().zip(geometry).map(|(id, geometry)| {
            let zone = Zone { id, name, geometry };
            (fate(town.zones.get(&zone.id).map(|known| **known == zone)), zone)
        });
        plan.push(head, zone);
    }
    plan
}

/// Plans assets.
pub(super) fn assets(town: &Town, mut drafts: Vec<AssetDraft>) -> Plan<Asset> {
    let first_rows = first_rows(drafts.iter().map(|draft| &draft.head));
    let family = Family::new(town, &drafts);
    for draft in &mut drafts {
        check_duplicate(&mut draft.head, &first_rows);
        check_asset(town, draft);
        family.check(draft);
    }
    let mut plan = Plan::with_capacity(drafts.len());
    for draft in drafts {
        let AssetDraft { head, kind, name, zone, parent, upstream, geometry, properties } = draft;
        let known = head.id.as_ref().and_then(|id| town.assets.get(id));
        let asset = head.id.clone().zip(kind).zip(geometry).map(|((id, kind), geometry)| {
            let number = known.map_or(UNNUMBERED, |known| known.number);
            let mut properties = properties
                .or_else(|| known.map(|known| known.properties.clone()))
                .unwrap_or_default();
            if let Some(upstream) = upstream {
                properties.insert("upstream".to_owned(), upstream.as_str().into());
            }
            let asset = Asset { id, number, kind, name, zone, parent, geometry, properties };
            (fate(known.map(|known| is_same(town, known, &asset))), asset)
        });
        plan.push(head, asset);
    }
    plan
}

/// Whether an import says what is known; a zone that was found, not given, is as none.
fn is_same(town: &Town, known: &Asset, asset: &Asset) -> bool {
    town.given_zone(known) == asset.zone.as_ref()
        && known.kind == asset.kind
        && known.name == asset.name
        && known.parent == asset.parent
        && known.geometry == asset.geometry
        && known.properties == asset.properties
}

fn check_asset(town: &Town, draft: &mut AssetDraft) {
    let errors = &mut draft.head.errors;
    if let Some(zone) = draft.zone.as_ref().filter(|&zone| !town.zones.contains_key(zone)) {
        errors.push(format!("there is no zone `{zone}`; import the zones first"));
    }
    let (Some(kind), Some(geometry)) = (draft.kind, &draft.geometry) else { return };
    let (allowed, is_allowed) = match kind {
        AssetKind::Pipe => (
            "LineString or Point",
            matches!(geometry, Geometry::LineString(_) | Geometry::Point(_)),
        ),
        AssetKind::ParkingLot => {
            ("Polygon or Point", matches!(geometry, Geometry::Polygon(_) | Geometry::Point(_)))
        }
        _ => ("Point", matches!(geometry, Geometry::Point(_))),
    };
    if !is_allowed {
        errors.push(format!("a {kind} is a {allowed}, not a {}", shape_name(geometry)));
    }
    let known = draft.head.id.as_ref().and_then(|id| town.assets.get(id));
    let from_csv = draft.properties.is_none();
    if let Some(known) =
        known.filter(|known| from_csv && !matches!(known.geometry, Geometry::Point(_)))
    {
        let shape = shape_name(&known.geometry);
        errors.push(format!(
            "it is known as a {shape}, which a CSV would lose; import it as GeoJSON"
        ));
    }
}

fn shape_name(geometry: &Geometry<f64>) -> &'static str {
    match geometry {
        Geometry::Point(_) => "Point",
        Geometry::LineString(_) => "LineString",
        Geometry::Polygon(_) => "Polygon",
        Geometry::MultiPolygon(_) => "MultiPolygon",
        _ => "geometry of another kind",
    }
}

/// Kinds and parents as they would be after the import.
struct Family<'a> {
    town: &'a Town,
    drafts: HashMap<AssetId, (Option<AssetKind>, Option<AssetId>)>,
}

impl<'a> Family<'a> {
    fn new(town: &'a Town, drafts: &[AssetDraft]) -> Self {
        let members = drafts
            .iter()
            .filter_map(|draft| Some((draft.head.id.clone()?, (draft.kind, draft.parent.clone()))));
        Family { town, drafts: members.collect() }
    }

    /// The kind (if the draft's is readable) and the parent of an asset; `None` when there is no such asset.
    fn member<'b>(&'b self, id: &AssetId) -> Option<(Option<AssetKind>, Option<&'b AssetId>)> {
        if let Some((kind, parent)) = self.drafts.get(id) {
            return Some((*kind, parent.as_ref()));
        }
        self.town.assets.get(id).map(|known| (Some(known.kind), known.parent.as_ref()))
    }

    fn check(&self, draft: &mut AssetDraft) {
        if let Some(upstream) = &draft.upstream
            && (self.member(upstream).is_none() || Some(upstream) == draft.head.id.as_ref())
        {
            let error = format!("there is no other asset `{upstream}` to be upstream of it");
            draft.head.errors.push(error);
        }
        let (Some(parent), errors) = (&draft.parent, &mut draft.head.errors) else { return };
        let Some((parent_kind, _)) = self.member(parent) else {
            errors.push(format!("there is no asset `{parent}` to be its parent"));
            return;
        };
        if let (Some(AssetKind::ParkingBay), Some(kind)) = (draft.kind, parent_kind)
            && kind != AssetKind::ParkingLot
        {
            errors.push(format!(
                "the parent of a parking-bay is a parking-lot; `{parent}` is a {kind}"
            ));
        }
        let mut ancestor = Some(parent);
        for _ in 0..MAX_ANCESTORS {
            let Some(id) = ancestor else { return };
            if Some(id) == draft.head.id.as_ref() {
                errors.push(format!("its parent `{parent}` makes it its own ancestor"));
                return;
            }
            ancestor = self.member(id).and_then(|(_, parent)| parent);
        }
        if ancestor.is_some() {
            errors.push(format!(
                "more than {MAX_ANCESTORS} parents above it, or they go in a circle"
            ));
        }
    }
}

/// Plans devices.
pub(super) fn devices(
    state: &State,
    profiles: &[ProfileId],
    drafts: Vec<DeviceDraft>,
) -> DevicePlan {
    let first_rows = first_rows(drafts.iter().map(|draft| &draft.head));
    let mut plan = Plan::with_capacity(drafts.len());
    let gateways = Gateways::new(&state.town, &drafts);
    for mut draft in drafts {
        check_duplicate(&mut draft.head, &first_rows);
        check_device(state, profiles, &mut draft);
        gateways.check(&mut draft);
        let DeviceDraft { head, profile, name, asset, modbus, gateway, address, secret } = draft;
        let device = head.id.clone().zip(profile);
        let device = device.map(|(id, profile)| {
            // Its id is what it is called anyhow: the same thing has one spelling.
            let address = address.filter(|address| address.as_str() != id.as_str());
            Device { id, name, profile, asset, modbus, gateway, address }
        });
        let planned = device.map(|device| plan_device(state, plan.rows.len(), device, secret));
        plan.push(head, planned);
    }
    DevicePlan(plan)
}

/// Checks a single device that is not there yet, as a row is checked; returns it with everything that is wrong. The
/// caller has checked that its profile exists.
pub(in crate::registry) fn plan_one(
    state: &State,
    device: Device,
) -> (Option<Device>, Vec<String>) {
    let profile = device.profile.clone();
    // It may wait: that is what it is approved from.
    let (town, keys) = (Arc::clone(&state.town), state.keys.clone());
    let state = &State { town, keys, lobby: Lobby::default() };
    let DevicePlan(mut plan) =
        devices(state, &[profile], vec![DeviceDraft::from_device(device, None)]);
    let errors = plan.rows.pop().map(|row| row.errors).unwrap_or_default();
    (plan.changes.pop().map(|planned| planned.device), errors)
}

fn plan_device(
    state: &State,
    at: usize,
    device: Device,
    secret: Option<String>,
) -> (RowStatus, PlannedDevice) {
    let former = state.keys.of_device(&device.id);
    let key = match secret {
        Some(given) if !former.is_some_and(|key| key.is_present(given.as_bytes())) => {
            Some(DeviceKey::new(SecretHash::new(given.as_bytes())))
        }
        _ => former.cloned(),
    };
    let known = state.town.devices.get(&device.id);
    let fate = fate(known.map(|known| **known == device && former == key.as_ref()));
    (fate, PlannedDevice { at, device, key })
}

fn check_device(state: &State, profiles: &[ProfileId], draft: &mut DeviceDraft) {
    let town = &state.town;
    let errors = &mut draft.head.errors;
    if draft.head.id.as_ref().is_some_and(|id| id.as_str().starts_with(SERVICE_PREFIX)) {
        errors.push(format!("ids that start with {SERVICE_PREFIX} are for service accounts"));
    }
    let is_known = |id| town.devices.contains_key::<DeviceId>(id);
    if draft.head.id.as_ref().is_some_and(|id| is_enroll(id.as_str()) && !is_known(id)) {
        errors.push(format!("the id {ENROLL} is for devices that register themselves"));
    }
    if draft.head.id.as_ref().is_some_and(|id| state.lobby.is_waiting(id)) {
        errors.push("a device of this id waits for approval; approve or reject it".to_owned());
    }
    if let Some(profile) = draft.profile.as_ref().filter(|&profile| !profiles.contains(profile)) {
        let hint = hint(profile.as_str(), profiles.iter().map(ProfileId::as_str));
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        errors.push(format!("there is no profile `{profile}`{hint}"));
    }
    if let Some(asset) = draft.asset.as_ref().filter(|&asset| !town.assets.contains_key(asset)) {
        errors.push(format!("there is no asset `{asset}`; import the assets first"));
    }
}

/// The row in which each id comes first.
fn first_rows<'a, Id: Clone + Eq + Hash + 'a>(
    heads: impl Iterator<Item = &'a Head<Id>>,
) -> HashMap<Id, usize> {
    let mut first_rows = HashMap::new();
    for head in heads {
        if let Some(id) = &head.id {
            first_rows.entry(id.clone()).or_insert(head.row);
        }
    }
    first_rows
}

fn check_duplicate<Id: Eq + Hash + Display>(head: &mut Head<Id>, first_rows: &HashMap<Id, usize>) {
    if let Some(id) = &head.id
        && let Some(first) = first_rows.get(id).filter(|&&first| first != head.row)
    {
        head.errors.push(format!("`{id}` is in row {first} already"));
    }
}

/// What becomes of a row, from whether it is known as it is (`None`: not known at all).
fn fate(known_as_is: Option<bool>) -> RowStatus {
    match known_as_is {
        None => RowStatus::Created,
        Some(false) => RowStatus::Updated,
        Some(true) => RowStatus::Unchanged,
    }
}
